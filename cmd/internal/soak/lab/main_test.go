package lab

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// Inner programs are this one within Enter: what they do is named by the first argument.
var inner = map[string]func() error{"network": tryNetwork, "disk": tryDisk, "fails": func() error { return fmt.Errorf("as it was told") }}

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && inner[os.Args[1]] != nil {
		if err := inner[os.Args[1]](); err != nil {
			fmt.Println(err)
			os.Exit(7)
		}
		return
	}
	goleak.VerifyTestMain(m)
}
