package socket

import "fmt"

// greeting has characters of one to three bytes, word of two, and broken a surrogate in the midst of good text.
const (
	greeting = "Grüße, 世界 — κόσμε!"
	word     = "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5" // κόσμε, as Kuhn's test has it
	broken   = word + "\xed\xa0\x80" + "edited"
	beyond   = word + "\xf4\x90\x80\x80" + "edited" // U+110000, bad from its second byte on
)

// sequences are the suite's sections 6.5 to 6.23. What they send is from Markus Kuhn's "UTF-8 decoder capability and stress
// test", but for the first two and the last. A * before a text says that it is not UTF-8.
var sequences = []struct {
	what  string
	texts []string
}{
	{"valid UTF-8", []string{"hello$world", "hello¢world", "hello€world", "hello𤭢world", word}},
	{"a part of a valid text, cut behind or within a character", prefixes(word)},
	{"the first character of each length", []string{"\x00", "\u0080", "\u0800", "\U00010000"}},
	{"the first sequence of five and of six bytes", []string{"*\xf8\x88\x80\x80\x80", "*\xfc\x84\x80\x80\x80\x80"}},
	{"the last character of each length", []string{"\x7f", "\u07ff", "\uffff", "\U0010ffff"}},
	{"the last sequence of four, of five and of six bytes", []string{"*\xf7\xbf\xbf\xbf", "*\xfb\xbf\xbf\xbf\xbf", "*\xfd\xbf\xbf\xbf\xbf\xbf"}},
	{"a character at other boundaries, the last beyond them", []string{"\ud7ff", "\ue000", "\ufffd", "\U0010ffff", "*\xf4\x90\x80\x80"}},
	{"continuation bytes that continue nothing", []string{
		"*\x80", "*\xbf", "*\x80\xbf", "*\x80\xbf\x80", "*\x80\xbf\x80\xbf", "*\x80\xbf\x80\xbf\x80", "*\x80\xbf\x80\xbf\x80\xbf", "*" + run(0x80, 0xbe, ""),
	}},
	{"first bytes with a space behind each", []string{
		"*" + run(0xc0, 0xde, " "), "*" + run(0xe0, 0xee, " "), "*" + run(0xf0, 0xf6, " "), "*" + run(0xf8, 0xfa, " "), "*" + run(0xfc, 0xfc, " "),
	}},
	{"a character without its last byte", starred(cut)},
	{"all of those in a row", []string{"*" + string(concatStrings(cut))}},
	{"bytes that are in no character", []string{"*\xfe", "*\xff", "*\xfe\xfe\xff\xff"}},
	{"an overlong slash", []string{"*\xc0\xaf", "*\xe0\x80\xaf", "*\xf0\x80\x80\xaf", "*\xf8\x80\x80\x80\xaf", "*\xfc\x80\x80\x80\x80\xaf"}},
	{"the last overlong sequence of each length", []string{"*\xc1\xbf", "*\xe0\x9f\xbf", "*\xf0\x8f\xbf\xbf", "*\xf8\x87\xbf\xbf\xbf", "*\xfc\x83\xbf\xbf\xbf\xbf"}},
	{"an overlong NUL", []string{"*\xc0\x80", "*\xe0\x80\x80", "*\xf0\x80\x80\x80", "*\xf8\x80\x80\x80\x80", "*\xfc\x80\x80\x80\x80\x80"}},
	{"a surrogate", []string{
		"*\xed\xa0\x80", "*\xed\xad\xbf", "*\xed\xae\x80", "*\xed\xaf\xbf", "*\xed\xb0\x80", "*\xed\xbe\x80", "*\xed\xbf\xbf",
	}},
	{"a pair of surrogates", []string{
		"*\xed\xa0\x80\xed\xb0\x80", "*\xed\xa0\x80\xed\xbf\xbf", "*\xed\xad\xbf\xed\xb0\x80", "*\xed\xad\xbf\xed\xbf\xbf",
		"*\xed\xae\x80\xed\xb0\x80", "*\xed\xae\x80\xed\xbf\xbf", "*\xed\xaf\xbf\xed\xb0\x80", "*\xed\xaf\xbf\xed\xbf\xbf",
	}},
	{"a code point that is no character, which is valid UTF-8", noncharacters()},
	{"one of the specials, U+FFF9 to U+FFFF", []string{"\ufff9", "\ufffa", "\ufffb", "\ufffc", "\ufffd", "\ufffe", "\uffff"}},
}

// cut are characters of two to six bytes without their last, all of whose other bits are 0, and then 1.
var cut = []string{
	"\xc0", "\xe0\x80", "\xf0\x80\x80", "\xf8\x80\x80\x80", "\xfc\x80\x80\x80\x80",
	"\xdf", "\xef\xbf", "\xf7\xbf\xbf", "\xfb\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf",
}

// prefixes are a text of one byte, of two, and so on.
func prefixes(of string) (all []string) {
	whole := map[int]bool{len(of): true} // lengths that end behind a character
	for i := range of {
		whole[i] = true
	}
	for n := 1; n <= len(of); n++ {
		if whole[n] {
			all = append(all, of[:n])
		} else {
			all = append(all, "*"+of[:n])
		}
	}
	return all
}

// run is every byte from one to another, with a text behind each.
func run(from, to byte, behind string) string {
	var b []byte
	for c := from; c <= to; c++ {
		b = append(append(b, c), behind...)
	}
	return string(b)
}

func starred(texts []string) (all []string) {
	for _, s := range texts {
		all = append(all, "*"+s)
	}
	return all
}

func concatStrings(texts []string) (b []byte) {
	for _, s := range texts {
		b = append(b, s...)
	}
	return b
}

// noncharacters are U+FFFE and U+FFFF, and in the order of their bytes the like at the ends of the other planes.
func noncharacters() []string {
	all := []string{"\ufffe", "\uffff"}
	for plane := rune(1); plane <= 16; plane++ {
		all = append(all, string(plane<<16|0xfffe), string(plane<<16|0xffff))
	}
	return all
}

// utf8Cases are section 6. A message is judged when it is whole: a client that sends bad text is cut off either way, and
// what it has sent until then was bounded by Config.FrameLimit.
func utf8Cases() []autobahnCase {
	single := func(s string) [][]byte { return fragmented(opText, s, 1) }
	// That a ping is answered says that what came before it was borne.
	patiently := func(first, second, third string) func() []exchange {
		return func() []exchange {
			return []exchange{
				{pieces(beginOf(first), pingOf("1")), []string{"pong 1"}},
				{pieces(moreOf(second), pingOf("2")), []string{"pong 2"}},
				{pieces(lastOf(third)), nil},
			}
		}
	}
	// A frame in three pieces leaves no room for a ping.
	inThree := func(first, second int) func() []exchange {
		f := textOf(beyond)
		at := len(f) - len(beyond)
		return sends(pieces(f[:at+first], f[at+first:at+second], f[at+second:]))
	}
	all := []autobahnCase{
		{number: "6.1.1", what: "an empty text", result: passes, script: sends(pieces(textOf("")), "text ")},
		{number: "6.1.2", what: "a text in three empty fragments", result: passes, script: sends(pieces(beginOf(""), moreOf(""), lastOf("")), "text ")},
		{number: "6.1.3", what: "a text in three fragments, the first and the last empty", result: passes, script: sends(pieces(beginOf(""), moreOf("middle"), lastOf("")), "text middle")},
		{number: "6.2.1", what: "a text with characters of several bytes", result: passes, script: sends(pieces(textOf(greeting)), "text "+greeting)},
		{number: "6.2.2", what: "such a text in two fragments, cut between characters", result: passes, script: sends(pieces(beginOf("Grüß"), lastOf("e, 世界")), "text Grüße, 世界")},
		{number: "6.2.3", what: "such a text in fragments of one byte", result: passes, script: sends(single(greeting), "text "+greeting)},
		{number: "6.2.4", what: "another such text in fragments of one byte", result: passes, script: sends(single(word), "text "+word)},
		{number: "6.3.1", what: "a text with a surrogate", result: instead7, script: sends(pieces(textOf(broken)))},
		{number: "6.3.2", what: "a text with a surrogate in fragments of one byte", result: instead7, script: sends(single(broken))},
		{number: "6.4.1", what: "a text in three fragments, the second bad, with a pause behind each", result: late7, script: patiently(word, beyond[11:15], "edited")},
		{number: "6.4.2", what: "a text in three fragments, bad at the one byte of the second, with a pause behind each", result: late7, script: patiently(beyond[:12], beyond[12:13], beyond[13:])},
		{number: "6.4.3", what: "a text in one frame of three writes, the second bad", result: late7, script: inThree(11, 15)},
		{number: "6.4.4", what: "a text in one frame of three writes, bad at the one byte of the second", result: late7, script: inThree(12, 13)},
	}
	for i, s := range sequences {
		for j, text := range s.texts {
			c := autobahnCase{number: fmt.Sprintf("6.%d.%d", i+5, j+1), what: s.what, result: passes, script: sends(pieces(textOf(text)), "text "+text)}
			if text[0] == '*' {
				c.result, c.script = instead7, sends(pieces(textOf(text[1:])))
			}
			all = append(all, c)
		}
	}
	return all
}
