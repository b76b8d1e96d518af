package socket

import "fmt"

// limitCases are section 9, with a limit on messages that lets the longest of them pass. Where it is about how the bytes
// are chopped, the message is of 64 KiB in place of 1 MiB.
func limitCases() (all []autobahnCase) {
	const kib, mib = 1 << 10, 1 << 20
	size := func(n int) string {
		if n >= mib {
			return fmt.Sprintf("%d MiB", n/mib)
		}
		if n >= kib {
			return fmt.Sprintf("%d KiB", n/kib)
		}
		return fmt.Sprintf("%d bytes", n)
	}
	// Each part of the section has a twin that sends binary messages: they are refused at their first header.
	twins := func(part int, what string, params []int, n func(param int) int, send func(op byte, body string, param int) [][]byte) {
		for i, p := range params {
			all = append(all, autobahnCase{
				number: fmt.Sprintf("9.%d.%d", part, i+1), what: fmt.Sprintf("a text of %s%s", size(n(p)), fmt.Sprintf(what, size(p))), result: passes,
				script: func() []exchange { return sends(send(opText, sized(n(p)), p), "text "+sized(n(p)))() },
			})
		}
		for i, p := range params {
			all = append(all, autobahnCase{
				number: fmt.Sprintf("9.%d.%d", part+1, i+1), what: fmt.Sprintf("a binary message of %s%s", size(n(p)), fmt.Sprintf(what, size(p))), result: textOnly,
				script: func() []exchange { return sends(send(opBinary, sized(n(p)), p))() },
			})
		}
	}
	fixed := func(n int) func(int) int { return func(int) int { return n } }
	twins(1, "%.0s", []int{64 * kib, 256 * kib, mib, 4 * mib, 8 * mib, 16 * mib}, func(n int) int { return n },
		func(op byte, body string, _ int) [][]byte { return pieces(clientFrame(true, 0, op, body)) })
	twins(3, " in fragments of %s", []int{64, 256, kib, 4 * kib, 16 * kib, 64 * kib, 256 * kib, mib, 4 * mib}, fixed(4*mib),
		func(op byte, body string, n int) [][]byte { return chopped(concat(fragmented(op, body, n)...), 64*kib) })
	twins(5, " in writes of %s", []int{64, 128, 256, 512, kib, 2 * kib}, fixed(64*kib),
		func(op byte, body string, n int) [][]byte { return chopped(clientFrame(true, 0, op, body), n) })
	for i, n := range []int{0, 16, 64, 256, kib, 4 * kib} {
		all = append(all, autobahnCase{
			number: fmt.Sprint("9.7.", i+1), what: fmt.Sprintf("a thousand texts of %s, each when the one before has come back", size(n)), result: passes,
			script: func() (script []exchange) {
				for range 1000 {
					script = append(script, sends(pieces(textOf(sized(n))), "text "+sized(n))()...)
				}
				return script
			},
		})
	}
	for i, n := range []int{0, 16, 64, 256, kib, 4 * kib} {
		all = append(all, autobahnCase{
			number: fmt.Sprint("9.8.", i+1), what: fmt.Sprintf("a thousand binary messages of %s, each when the one before has come back", size(n)), result: textOnly,
			script: sends(pieces(binaryOf(sized(n)))),
		})
	}
	return all
}

// autoFragmentCases are section 10.
func autoFragmentCases() []autobahnCase {
	return []autobahnCase{{
		number: "10.1.1", what: "a text of 64 KiB in fragments of 1300 bytes", result: passes,
		script: sends(fragmented(opText, sized(64<<10), 1300), "text "+sized(64<<10)),
	}}
}

// compressionCases are sections 12 and 13: by what is compressed, and by what the client offers. TestNoCompression is about
// all of them.
func compressionCases() (all []autobahnCase) {
	add := func(section, parts int, what string) {
		for i := range parts {
			for j := range 18 {
				all = append(all, autobahnCase{number: fmt.Sprintf("%d.%d.%d", section, i+1, j+1), what: what, result: declined})
			}
		}
	}
	add(12, 5, "compressed messages, by their content")
	add(13, len(offers), "compressed messages, by the terms of the compression")
	return all
}
