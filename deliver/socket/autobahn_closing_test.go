package socket

import (
	"fmt"
	"strings"
)

// closeCases are section 7. Who closes with a code is answered with it, who closes without one without one.
func closeCases() []autobahnCase {
	normal := codeOf(1000)
	bye := closeOf(normal)
	const long = 256 << 10
	all := []autobahnCase{
		{number: "7.1.1", what: "a text, then a close frame", result: passes, script: sends(pieces(textOf("hello")), "text hello")},
		{number: "7.1.2", what: "two close frames", result: passes, script: sends(pieces(bye, closeOf(""))), end: "close 1000"},
		{number: "7.1.3", what: "a close frame, then a ping", result: passes, script: sends(pieces(bye, pingOf(""))), end: "close 1000"},
		{number: "7.1.4", what: "a close frame, then a text", result: passes, script: sends(pieces(bye, textOf("hello"))), end: "close 1000"},
		{number: "7.1.5", what: "a fragment, a close frame, the last fragment", result: passes, script: sends(pieces(beginOf("one "), bye, lastOf("two"))), end: "close 1000"},
		{
			// The echo of the short text waits behind that of the long one, and a close frame goes before what only waits.
			number: "7.1.6", what: "a text of 256 KiB, a short one, a close frame, a ping", result: unjudged, end: "close 1000", lossy: true,
			script: sends(pieces(textOf(sized(long)), textOf("hello"), bye, pingOf("")), "text "+sized(long), "text hello"),
		},
		{number: "7.3.1", what: "an empty close frame", result: passes, script: sends(pieces(closeOf(""))), end: "close"},
		{number: "7.3.2", what: "a close frame with 1 byte", result: instead2, script: sends(pieces(closeOf("x")))},
		{number: "7.3.3", what: "a close frame with a code", result: passes, script: sends(pieces(bye)), end: "close 1000"},
		{number: "7.3.4", what: "a close frame with a code and a reason", result: passes, script: sends(pieces(closeOf(normal + "good bye"))), end: "close 1000"},
		{number: "7.3.5", what: "a close frame with a code and a reason of 123 bytes", result: passes, script: sends(pieces(closeOf(normal + strings.Repeat("x", 123)))), end: "close 1000"},
		{number: "7.3.6", what: "a close frame with a code and a reason of 124 bytes", result: instead2, script: sends(pieces(closeOf(normal + strings.Repeat("x", 124))))},
		{number: "7.5.1", what: "a close frame with a reason that is not UTF-8", result: instead7, script: sends(pieces(closeOf(normal + broken)))},
	}
	add := func(number string, i int, code uint16, r result, end string) {
		all = append(all, autobahnCase{
			number: fmt.Sprint(number, i+1), what: fmt.Sprintf("a close frame with the code %d", code), result: r,
			script: sends(pieces(closeOf(codeOf(code)))), end: end,
		})
	}
	for i, code := range []uint16{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999} {
		add("7.7.", i, code, passes, closed(code, ""))
	}
	for i, code := range []uint16{0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999} {
		add("7.9.", i, code, instead2, "")
	}
	for i, code := range []uint16{5000, 65535} {
		add("7.13.", i, code, unjudged, closed(code, ""))
	}
	return all
}
