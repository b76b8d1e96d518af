package socket

import (
	"fmt"
	"strings"
)

// messageCases are section 1.
func messageCases() (all []autobahnCase) {
	sizes := []int{0, 125, 126, 127, 128, 65535, 65536, 65536}
	for i, n := range sizes {
		c := autobahnCase{number: fmt.Sprint("1.1.", i+1), what: fmt.Sprintf("a text of %d bytes", n), result: passes}
		c.script = sends(pieces(textOf(sized(n))), "text "+sized(n))
		if i == 7 {
			c.what += ", written 997 bytes at a time"
			c.script = sends(chopped(textOf(sized(n)), 997), "text "+sized(n))
		}
		all = append(all, c)
	}
	for i, n := range sizes {
		c := autobahnCase{number: fmt.Sprint("1.2.", i+1), what: fmt.Sprintf("a binary message of %d bytes", n), result: textOnly}
		body := strings.Repeat("\xfe", n)
		c.script = sends(pieces(binaryOf(body)))
		if i == 7 {
			c.what += ", written 997 bytes at a time"
			c.script = sends(chopped(binaryOf(body), 997))
		}
		all = append(all, c)
	}
	return all
}

// pingCases are section 2.
func pingCases() []autobahnCase {
	odd, full := "\x00\xff\xfe\xfd\xfc\xfb\x00\xff", strings.Repeat("\xfe", 125)
	var ten [][]byte
	var pongs []string
	for i := range 10 {
		body := fmt.Sprint("ping ", i)
		ten, pongs = append(ten, pingOf(body)), append(pongs, "pong "+body)
	}
	return []autobahnCase{
		{number: "2.1", what: "an empty ping", result: passes, script: sends(pieces(pingOf("")), "pong ")},
		{number: "2.2", what: "a ping with a text", result: passes, script: sends(pieces(pingOf("are you there")), "pong are you there")},
		{number: "2.3", what: "a ping with bytes that are not UTF-8", result: passes, script: sends(pieces(pingOf(odd)), "pong "+odd)},
		{number: "2.4", what: "a ping with 125 bytes", result: passes, script: sends(pieces(pingOf(full)), "pong "+full)},
		{number: "2.5", what: "a ping with 126 bytes", result: instead2, script: sends(pieces(pingOf(full + "\xfe")))},
		{number: "2.6", what: "a ping with 125 bytes, in single bytes", result: passes, script: sends(chopped(pingOf(full), 1), "pong "+full)},
		{number: "2.7", what: "an empty pong that nobody asked for", result: passes, script: sends(pieces(pongOf("")))},
		{number: "2.8", what: "a pong with a text that nobody asked for", result: passes, script: sends(pieces(pongOf("here I am")))},
		{number: "2.9", what: "such a pong, then a ping", result: passes, script: sends(pieces(pongOf("here I am"), pingOf("and you")), "pong and you")},
		{number: "2.10", what: "ten pings", result: passes, script: sends(ten, pongs...)},
		{number: "2.11", what: "ten pings, in single bytes", result: passes, script: sends(chopped(concat(ten...), 1), pongs...)},
	}
}

// withBits is a frame with reserved bits.
func withBits(bits, op byte, payload string) []byte { return clientFrame(true, bits, op, payload) }

// reservedBitCases are section 3. A ping behind the fault must not be answered.
func reservedBitCases() []autobahnCase {
	const hello = "hello"
	good, ping := textOf(hello), pingOf("")
	return []autobahnCase{
		{number: "3.1", what: "a text with reserved bit 3", result: instead2, script: sends(pieces(withBits(1, opText, hello)))},
		{number: "3.2", what: "a text, then one with reserved bit 2, then a ping", result: instead2, script: sends(pieces(concat(good, withBits(2, opText, hello), ping)), "text hello")},
		{number: "3.3", what: "a text, then one with reserved bits 2 and 3, then a ping, a write each", result: instead2, script: sends(pieces(good, withBits(3, opText, hello), ping), "text hello")},
		{number: "3.4", what: "a text, then one with reserved bit 1, then a ping, in single bytes", result: instead2, script: sends(chopped(concat(good, withBits(4, opText, hello), ping), 1), "text hello")},
		{number: "3.5", what: "a binary message with reserved bits 1 and 3", result: instead2, script: sends(pieces(withBits(5, opBinary, "\x00\xff\xfe")))},
		{number: "3.6", what: "a ping with reserved bits 1 and 2", result: instead2, script: sends(pieces(withBits(6, opPing, hello)))},
		{number: "3.7", what: "a close frame with all reserved bits", result: instead2, script: sends(pieces(withBits(7, opClose, "")))},
	}
}

// opcodeCases are section 4: the opcodes that RFC 6455 keeps for later.
func opcodeCases() (all []autobahnCase) {
	for i, first := range []byte{3, 11} {
		kind := []string{"data", "control"}[i]
		for j := range byte(5) {
			op, body := first+j, []string{"", "body", "", "body", "body"}[j]
			c := autobahnCase{number: fmt.Sprintf("4.%d.%d", i+1, j+1), what: fmt.Sprintf("a frame of the reserved %s opcode %d", kind, op), result: instead2}
			if body != "" {
				c.what += " with a body"
			}
			odd := clientFrame(true, 0, op, body)
			all3 := concat(textOf("hello"), odd, pingOf(""))
			switch {
			case j < 2:
				c.script = sends(pieces(odd))
			case j < 4:
				c.what = "a text, then " + c.what + ", then a ping"
				c.script = sends(pieces(all3), "text hello")
			default:
				c.what = "a text, then " + c.what + ", then a ping, in single bytes"
				c.script = sends(chopped(all3, 1), "text hello")
			}
			all = append(all, c)
		}
	}
	return all
}

// fragmentCases are section 5.
func fragmentCases() []autobahnCase {
	two := pieces(beginOf("one "), lastOf("two"))
	around := pieces(beginOf("one "), pingOf("between"), lastOf("two"))
	// What has nothing to continue, as the last of its message and not, and the text behind it.
	lone, loner := pieces(lastOf("of nothing"), textOf("hello")), pieces(moreOf("of nothing"), textOf("hello"))
	five := func() []exchange {
		return []exchange{
			{pieces(concat(beginOf("1"), moreOf("2"), pingOf("first"))), []string{"pong first"}},
			{pieces(concat(moreOf("3"), moreOf("4"), pingOf("second"), lastOf("5"))), []string{"pong second", "text 12345"}},
		}
	}
	apart := func() []exchange {
		return []exchange{
			{pieces(beginOf("1"), moreOf("2"), pingOf("first")), []string{"pong first"}},
			{pieces(moreOf("3"), moreOf("4"), pingOf("second"), lastOf("5")), []string{"pong second", "text 12345"}},
		}
	}
	one := func(of [][]byte) [][]byte { return pieces(concat(of...)) }
	single := func(of [][]byte) [][]byte { return chopped(concat(of...), 1) }
	return []autobahnCase{
		{number: "5.1", what: "a ping in two fragments", result: instead2, script: sends(pieces(clientFrame(false, 0, opPing, "one "), lastOf("two")))},
		{number: "5.2", what: "a pong in two fragments", result: instead2, script: sends(pieces(clientFrame(false, 0, opPong, "one "), lastOf("two")))},
		{number: "5.3", what: "a text in two fragments", result: passes, script: sends(one(two), "text one two")},
		{number: "5.4", what: "a text in two fragments, a write each", result: passes, script: sends(two, "text one two")},
		{number: "5.5", what: "a text in two fragments, in single bytes", result: passes, script: sends(single(two), "text one two")},
		{number: "5.6", what: "a text in two fragments with a ping between", result: passes, script: sends(one(around), "pong between", "text one two")},
		{number: "5.7", what: "a text in two fragments with a ping between, a write each", result: passes, script: sends(around, "pong between", "text one two")},
		{number: "5.8", what: "a text in two fragments with a ping between, in single bytes", result: passes, script: sends(single(around), "pong between", "text one two")},
		{number: "5.9", what: "a last fragment of nothing, then a text", result: instead2, script: sends(one(lone))},
		{number: "5.10", what: "a last fragment of nothing, then a text, a write each", result: instead2, script: sends(lone)},
		{number: "5.11", what: "a last fragment of nothing, then a text, in single bytes", result: instead2, script: sends(single(lone))},
		{number: "5.12", what: "a further fragment of nothing, then a text", result: instead2, script: sends(one(loner))},
		{number: "5.13", what: "a further fragment of nothing, then a text, a write each", result: instead2, script: sends(loner)},
		{number: "5.14", what: "a further fragment of nothing, then a text, in single bytes", result: instead2, script: sends(single(loner))},
		{number: "5.15", what: "a text in two fragments, a further fragment of nothing, a text", result: instead2, script: sends(one(append(pieces(two...), loner...)), "text one two")},
		{number: "5.16", what: "twice: a further fragment of nothing, a text in two fragments", result: instead2, script: sends(pieces(moreOf("x"), two[0], two[1], moreOf("x"), two[0], two[1]))},
		{number: "5.17", what: "twice: a last fragment of nothing, a text in two fragments", result: instead2, script: sends(pieces(lastOf("x"), two[0], two[1], lastOf("x"), two[0], two[1]))},
		{number: "5.18", what: "a text in two fragments that both begin it", result: instead2, script: sends(pieces(concat(beginOf("one "), textOf("two"))))},
		{number: "5.19", what: "a text in five fragments with two pings between, the second part once the first ping is answered", result: passes, script: five},
		{number: "5.20", what: "the same, a write each", result: passes, script: apart},
	}
}
