package socket

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// result is what comes of a case of the suite.
type result string

// Results. The contract has one close code, 4004, for whatever breaks the protocol, where RFC 6455 has several.
const (
	passes   result = "passes"
	instead2 result = "refused with 4004 by contract, where the suite expects 1002"
	instead7 result = "refused with 4004 by contract, where the suite expects 1007"
	// The suite calls this "non-strict", and lets it pass.
	late7    result = "refused with 4004 by contract, where the suite expects 1007; when the message is whole, not at the first bad byte"
	textOnly result = "refused with 4004 by contract: the service speaks text only"
	unjudged result = "the suite does not judge"
	declined result = "does not apply: the offer of compression is declined"
)

// autobahnCase is one case of the Autobahn Testsuite, by its number.
type autobahnCase struct {
	number string
	// what the client sends.
	what   string
	result result
	// script makes what is sent and what must come back: a case may be of megabytes. It is nil for what does not apply.
	script func() []exchange
	// end is the close frame that must come, as fuzzer.read gives it: last of all, with nothing behind it but the end of the
	// stream. When it is "" the client closes with 1000 and must be answered in kind, or has broken the protocol and must be
	// closed with 4004, as the result has it.
	end string
	// lossy cases may miss all but the first frame of what the last exchange wants.
	lossy bool
}

// exchange is what the client writes, a write a piece, and the frames that must then come, in this order, before it goes on.
type exchange struct {
	send [][]byte
	want []string
}

// sends is a script of one exchange.
func sends(send [][]byte, want ...string) func() []exchange {
	return func() []exchange { return []exchange{{send, want}} }
}

// autobahnSections are the suite's cases in its order, by section.
func autobahnSections() [][]autobahnCase {
	return [][]autobahnCase{
		messageCases(), pingCases(), reservedBitCases(), opcodeCases(), fragmentCases(), utf8Cases(), closeCases(), limitCases(),
		autoFragmentCases(), compressionCases(),
	}
}

// offers are what the suite's clients ask for in sections 12 and 13: the one of 12 is the first.
var offers = []string{
	"permessage-deflate; client_no_context_takeover; client_max_window_bits",
	"permessage-deflate; client_no_context_takeover; client_max_window_bits; server_no_context_takeover",
	"permessage-deflate; client_no_context_takeover; client_max_window_bits; server_max_window_bits=9",
	"permessage-deflate; client_no_context_takeover; client_max_window_bits; server_max_window_bits=15",
	"permessage-deflate; client_no_context_takeover; client_max_window_bits; server_no_context_takeover; server_max_window_bits=9",
	"permessage-deflate; client_no_context_takeover; client_max_window_bits; server_no_context_takeover; server_max_window_bits=15",
	"permessage-deflate; server_no_context_takeover; server_max_window_bits=9, permessage-deflate; server_no_context_takeover, permessage-deflate",
}

// longest message of the suite, in bytes: it must be taken, and its echo need not go through a small buffer.
const longest = 16 << 20

// few is how many exchanges of a case are had in single bytes.
const few = 10

// TestAutobahn runs every case that applies twice: written as the suite writes it, and in single bytes.
func TestAutobahn(t *testing.T) {
	t.Parallel()
	for _, section := range autobahnSections() {
		first, _, _ := strings.Cut(section[0].number, ".")
		t.Run("section "+first, func(t *testing.T) {
			t.Parallel()
			s := serve(t, echoing, limited(longest), func(c *Config, _ *recorder) { c.SendBuffer = longest })
			for _, c := range section {
				if c.script == nil {
					continue
				}
				if err := s.try(t, c, c.script()); err != nil {
					t.Errorf("%s, %s: %v", c.number, c.what, err)
				}
				script := c.script()
				script = script[:min(few, len(script))]
				for i := range script {
					script[i].send = bytewise(script[i].send)
				}
				if err := s.try(t, c, script); err != nil {
					t.Errorf("%s, %s, in single bytes: %v", c.number, c.what, err)
				}
			}
		})
	}
}

// try runs a case on a connection of its own.
func (s *server) try(t *testing.T, c autobahnCase, script []exchange) error {
	end, why := c.end, Client
	switch {
	case end != "":
	case c.result == passes:
		script = append(script, exchange{send: pieces(closeOf(codeOf(1000)))})
		end = "close 1000"
	default:
		end, why = "close 4004 with a reason", BadFrame
	}
	f, rec := s.fuzz(t, offers[0])
	for _, x := range script {
		for _, piece := range x.send {
			if _, err := f.Write(piece); err != nil {
				return err
			}
		}
		for i, want := range x.want {
			if c.lossy && i > 0 {
				break
			}
			if got, err := f.read(); err != nil || got != want {
				return fmt.Errorf("got %.40q, %d bytes, %v; want %.40q, %d bytes", got, len(got), err, want, len(want))
			}
		}
	}
	got, err := f.read()
	if last := script[len(script)-1].want; c.lossy && got == last[len(last)-1] {
		got, err = f.read()
	}
	if err != nil || got != end {
		return fmt.Errorf("it ended with %.40q, %v, want %q", got, err, end)
	}
	if got, err := f.read(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("behind the close frame came %.40q, %v", got, err)
	}
	_ = f.Close()
	if got := receive(t, rec.ended); got != why {
		return fmt.Errorf("it ended because of %v, want %v", got, why)
	}
	return nil
}

// TestNoCompression has every offer of sections 12 and 13 declined, and messages then go as they are.
func TestNoCompression(t *testing.T) {
	t.Parallel()
	s := serve(t, echoing)
	for _, offer := range offers {
		f, rec := s.fuzz(t, offer)
		if _, err := f.Write(textOf("as it is")); err != nil {
			t.Fatal(err)
		}
		if got, err := f.read(); got != "text as it is" || err != nil {
			t.Errorf("after %q came %q, %v", offer, got, err)
		}
		_ = f.Close()
		receive(t, rec.ended)
	}
}

// TestFrameLimit refuses what is longer than a gateway takes at its header, wherever the limit is met.
func TestFrameLimit(t *testing.T) {
	t.Parallel()
	const limit = 8 << 10
	s := serve(t, echoing, limited(limit))
	for name, c := range map[string]autobahnCase{
		"as long as may be":     {result: passes, script: sends(pieces(textOf(sized(limit))), "text "+sized(limit))},
		"one more":              {result: instead2, script: sends(pieces(textOf(sized(limit + 1))[:8]))},
		"the last fragment":     {result: instead2, script: sends(append(fragmented(opText, sized(limit), 1000), lastOf("x")), "text "+sized(limit))},
		"fragments without end": {result: instead2, script: sends(pieces(beginOf(sized(limit)), moreOf("x")[:6]))},
		"the longest there is":  {result: instead2, script: sends(pieces([]byte{0x81, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255}, []byte{1, 2, 3, 4}))},
	} {
		if err := s.try(t, c, c.script()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
