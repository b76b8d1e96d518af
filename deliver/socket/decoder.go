package socket

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// errMore is returned by next when the bytes end within a frame: no fault, more must come.
var errMore = errors.New("the frame is not complete")

// Faults of clients, beside those that package ws names.
var (
	errBinary = errors.New("binary messages are not spoken here")
	errUTF8   = errors.New("the text is not UTF-8")
	errClose  = errors.New("the close frame is malformed")
)

// input is the unfinished part of what a client has sent. It exists only while there is one.
type input struct {
	raw        []byte // bytes of the incomplete frame, still masked
	text       []byte // payload of the fragments so far
	fragmented bool   // a fragmented message is under way
}

// decoder takes client frames off a buffer. It is a loop's, used for all of its connections one after the other.
type decoder struct {
	limit  int // longest message
	reader bytes.Reader
	header [ws.MaxHeaderSize]byte
}

// next takes frames off b up to one that needs an answer: a whole text message (OpText), a ping, or a close. Pongs and
// fragments are taken and passed over. It returns what follows in rest; with errMore, rest is the incomplete frame, for
// keep. Any other error is the client's fault, and in tells nothing any more. The payload aliases b or in, and is
// unmasked in place.
func (d *decoder) next(in **input, b []byte) (op ws.OpCode, payload, rest []byte, err error) {
	for {
		d.reader.Reset(b)
		h, err := ws.ReadHeaderBuffer(&d.reader, d.header[:0])
		switch {
		case errors.Is(err, ws.ErrHeaderLengthMSB), errors.Is(err, ws.ErrHeaderLengthUnexpected):
			return 0, nil, nil, err
		case err != nil: // the reader came to the end of b
			return 0, nil, b, errMore
		}
		if err := d.check(*in, h); err != nil {
			return 0, nil, nil, err
		}
		rest = b[len(b)-d.reader.Len():]
		if h.Length > int64(len(rest)) {
			return 0, nil, b, errMore
		}
		payload, rest = rest[:h.Length:h.Length], rest[h.Length:]
		ws.Cipher(payload, h.Mask, 0)

		switch h.OpCode {
		case ws.OpPing:
			return ws.OpPing, payload, rest, nil
		case ws.OpClose:
			return ws.OpClose, payload, rest, checkClose(payload)
		case ws.OpText, ws.OpContinuation:
			if text, whole := join(in, h.Fin, payload); whole {
				if !utf8.Valid(text) {
					return 0, nil, nil, errUTF8
				}
				return ws.OpText, text, rest, nil
			}
		}
		b = rest
	}
}

// check refuses a frame by its header, before any of its payload is kept.
func (d *decoder) check(in *input, h ws.Header) error {
	state := ws.StateServerSide
	have := 0
	if in != nil && in.fragmented {
		state = state.Set(ws.StateFragmented)
		have = len(in.text)
	}
	if err := ws.CheckHeader(h, state); err != nil {
		return err
	}
	if h.OpCode == ws.OpBinary {
		return errBinary
	}
	if !h.OpCode.IsControl() && h.Length > int64(d.limit-have) {
		return fmt.Errorf("the message is longer than %d bytes", d.limit)
	}
	return nil
}

// join adds a fragment to its message, which it returns once it is whole. A message in one frame is not copied.
func join(in **input, fin bool, payload []byte) (text []byte, whole bool) {
	first := *in == nil || !(*in).fragmented
	switch {
	case first && fin:
		return payload, true
	case *in == nil:
		*in = new(input)
	}
	i := *in
	i.fragmented = !fin
	i.text = append(i.text, payload...)
	if fin {
		text, i.text = i.text, nil
	}
	return text, fin
}

// keep remembers the incomplete frame for the next read, or lets go of everything when there is none.
func keep(in **input, rest []byte) {
	switch {
	case len(rest) > 0 && *in == nil:
		*in = &input{raw: append([]byte(nil), rest...)}
	case len(rest) > 0:
		(*in).raw = append((*in).raw[:0], rest...)
	case *in != nil && (*in).fragmented:
		(*in).raw = nil
	default:
		*in = nil
	}
}

// checkClose refuses the bodies that a close frame must not have.
func checkClose(body []byte) error {
	if len(body) == 0 {
		return nil
	}
	if len(body) == 1 {
		return errClose
	}
	code, reason := ws.ParseCloseFrameData(body)
	if err := ws.CheckCloseFrameData(code, reason); err != nil {
		return fmt.Errorf("%w: %w", errClose, err)
	}
	return nil
}
