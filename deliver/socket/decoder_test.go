package socket

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

const fuzzLimit = 300

// feed gives b to a decoder in pieces of the sizes that cut returns, as reads would, and returns what came out of it:
// frames, written down, and whether the client was at fault.
func feed(t *testing.T, b []byte, cut func(left int) int) (out []byte, bad bool) {
	d := decoder{limit: fuzzLimit}
	var in *input
	for len(b) > 0 {
		n := cut(len(b))
		var read []byte
		if in != nil {
			read = append(read, in.raw...)
		}
		read = append(read, b[:n]...)
		b = b[n:]
		for {
			op, payload, rest, err := d.next(&in, read)
			if errors.Is(err, errMore) {
				keep(&in, rest)
				break
			}
			if err != nil {
				return out, true
			}
			if limit := map[ws.OpCode]int{ws.OpText: fuzzLimit, ws.OpPing: 125, ws.OpClose: 125}[op]; len(payload) > limit {
				t.Errorf("%v of %d bytes", op, len(payload))
			}
			if op == ws.OpText && !utf8.Valid(payload) {
				t.Errorf("text %q", payload)
			}
			out = append(append(out, byte(op), byte(len(payload)>>8), byte(len(payload))), payload...)
			if op == ws.OpClose {
				return out, false
			}
			read = rest
		}
		if in != nil && (len(in.raw) >= fuzzLimit+ws.MaxHeaderSize || len(in.text) > fuzzLimit) {
			t.Errorf("%d and %d bytes are kept", len(in.raw), len(in.text))
		}
		if in != nil && len(in.raw) == 0 && !in.fragmented {
			t.Error("an input is kept for nothing")
		}
	}
	return out, false
}

// naive reads the same frames by the letter of RFC 6455, with all of the bytes before it.
func naive(b []byte) (out []byte, bad bool) {
	var message []byte
	var within bool
	put := func(op byte, payload []byte) {
		out = append(append(out, op, byte(len(payload)>>8), byte(len(payload))), payload...)
	}
	for {
		if len(b) < 2 {
			return out, false
		}
		first, n, head := b[0], int(b[1]&0x7f), 2
		switch {
		case n == 126 && len(b) < 4, n == 127 && len(b) < 10:
			return out, false
		case n == 126:
			n, head = int(b[2])<<8|int(b[3]), 4
		case n == 127:
			n, head = 0, 10
			for _, c := range b[2:10] {
				n = min(n<<8|int(c), 1<<40)
			}
		}
		if b[1]&0x80 != 0 {
			head += 4
		}
		if len(b) < head {
			return out, false
		}
		op, last := first&15, first&fin != 0
		control := op&8 != 0
		switch {
		case b[1]&0x80 == 0, first&0x70 != 0, op != 0 && op != text && op != closer && op != pinger && op != ponger:
			return out, true
		case control && (!last || n > 125):
			return out, true
		case op == text && within, op == 0 && !within, !control && len(message)+n > fuzzLimit:
			return out, true
		case len(b) < head+n:
			return out, false
		}
		var payload []byte
		for i, c := range b[head : head+n] {
			payload = append(payload, c^b[head-4+i%4])
		}
		b = b[head+n:]
		switch op {
		case closer:
			code := 0
			if n > 1 {
				code = int(payload[0])<<8 | int(payload[1])
			}
			known := code >= 1000 && code <= 1003 || code >= 1007 && code <= 1011 || code >= 3000
			if n == 1 || n > 1 && (!known || !utf8.Valid(payload[2:])) {
				return out, true
			}
			put(op, payload)
			return out, false
		case pinger:
			put(op, payload)
		case 0, text:
			message, within = append(message, payload...), !last
			if last {
				if !utf8.Valid(message) {
					return out, true
				}
				put(text, message)
				message = nil
			}
		}
	}
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte{})
	f.Add(masked(fin|text, "hello"))
	f.Add(concat(masked(text, "a"), masked(fin|pinger, "p"), masked(0, "b"), masked(fin, "c"), masked(fin|closer, "\x03\xe8bye")))
	f.Add(masked(fin|text, string(make([]byte, fuzzLimit+1))))
	f.Add([]byte{fin | text, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4})
	f.Add([]byte{fin | text, 0xfe, 0, 1, 0, 0, 0, 0, 'x'})
	f.Fuzz(func(t *testing.T, b []byte) { compare(t, b) })
}

// compare holds the decoder against the oracle, however the bytes are cut.
func compare(t *testing.T, b []byte) {
	want, fault := naive(b)
	rng := rand.New(rand.NewPCG(uint64(len(b)), 0))
	for how, cut := range map[string]func(int) int{
		"at once":      func(left int) int { return left },
		"byte by byte": func(int) int { return 1 },
		"in pieces":    func(left int) int { return min(left, 1+rng.IntN(40)) },
	} {
		got, bad := feed(t, b, cut)
		if !bytes.Equal(got, want) || bad != fault {
			t.Errorf("%x %s: %x, fault %v; the oracle says %x, fault %v", b, how, got, bad, want, fault)
		}
	}
}

// TestFrames is FuzzFrames on frames that are mostly right.
func TestFrames(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	for range 3000 {
		var b []byte
		for range rng.IntN(8) {
			op := []byte{0, 0, text, text, pinger, ponger, closer, byte(rng.IntN(16))}[rng.IntN(8)]
			if rng.IntN(3) > 0 || op >= 8 {
				op |= fin
			}
			payload := bytes.Repeat([]byte("é"), rng.IntN(80))
			if op&15 == closer {
				payload = append([]byte{byte(rng.IntN(13)), byte(rng.IntN(256))}, payload[:min(len(payload), 100)]...)
			}
			b = append(b, masked(op, string(payload[:len(payload)-min(len(payload), rng.IntN(2))]))...)
		}
		if len(b) > 0 && rng.IntN(4) == 0 {
			b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
		}
		compare(t, b)
	}
}
