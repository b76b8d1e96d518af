package wire

import "strings"

// Family is a stream's name without the numbers of an app and shard: USERS for USERS_7_0. There are few of them.
func Family(stream string) string {
	name, number, ok := strings.Cut(stream, "_")
	if ok && number != "" && number[0] >= '0' && number[0] <= '9' {
		return name
	}
	return stream
}
