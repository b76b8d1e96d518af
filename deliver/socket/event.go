package socket

import (
	"bytes"
	"strconv"
)

// Bounds of the pause that a client of an event stream makes before it comes back, in milliseconds.
const (
	retryMin = 500
	retryMax = 5000
)

// appendEvent appends a message as an event: its name, its id unless that is zero, and the text, line by line, because a
// line break of any kind would end its field. The client gets them all as \n.
func appendEvent(b []byte, event string, id uint64, text []byte) []byte {
	b = append(b, "event: "...)
	b = append(b, event...)
	if id != 0 {
		b = append(b, "\nid: "...)
		b = strconv.AppendUint(b, id, 10)
	}
	for more := true; more; {
		var line []byte
		line, text, more = cutLine(text)
		b = append(b, "\ndata: "...)
		b = append(b, line...)
	}
	return append(b, "\n\n"...)
}

// cutLine takes the first line off a text, and says whether there was a break behind it: \r\n, \n or \r.
func cutLine(text []byte) (line, rest []byte, more bool) {
	i := bytes.IndexAny(text, "\r\n")
	if i < 0 {
		return text, nil, false
	}
	line, rest = text[:i], text[i+1:]
	if text[i] == '\r' && len(rest) > 0 && rest[0] == '\n' {
		rest = rest[1:]
	}
	return line, rest, true
}
