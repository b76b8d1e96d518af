// Package wire owns everything that crosses a process: subjects, stream settings, headers, byte layouts and client
// frames. A subject or a layout anywhere else is a fault.
//
// Layouts carry a version byte first; a reader refuses a version that it does not know with ErrVersion rather than guess.
// Bytes that do not decode are ErrCorrupt, wrapped with what was wrong. Every layout has golden vectors in testdata and a
// fuzz round-trip.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Errors of every decoder in this package.
var (
	// ErrVersion is returned for a layout version that this build does not know.
	ErrVersion = errors.New("unknown layout version")
	// ErrCorrupt is returned for bytes that are not of the layout.
	ErrCorrupt = errors.New("corrupt layout")
)

// reader walks a layout; its first fault sticks, so that callers check once at the end.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrCorrupt, what)
	}
	r.b = nil
}

// version takes the version byte and checks it.
func (r *reader) version(want byte) {
	if len(r.b) == 0 {
		r.fail("empty")
		return
	}
	if r.b[0] != want {
		r.err, r.b = fmt.Errorf("%w: %d, want %d", ErrVersion, r.b[0], want), nil
		return
	}
	r.b = r.b[1:]
}

func (r *reader) uvarint(what string) uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail(what)
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint(what string) int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail(what)
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count takes the number of things that follow: at least one, at most limit, and no more than there are bytes.
func (r *reader) count(what string, limit int) int {
	n := r.uvarint(what)
	if n == 0 || n > uint64(limit) || n > uint64(len(r.b)) {
		r.fail(what)
		return 0
	}
	return int(n)
}

// byte takes one byte.
func (r *reader) byte(what string) byte {
	if len(r.b) == 0 {
		r.fail(what)
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

// bytes takes a length and that many bytes, of which there may be at most limit. It aliases the input.
func (r *reader) bytes(what string, limit int) []byte {
	n := r.uvarint(what)
	if n > uint64(limit) || n > uint64(len(r.b)) {
		r.fail(what)
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

// textReader is a reader of a layout that holds many strings.
type textReader struct {
	reader
	all string // the input: one copy, of which every string is a part
}

func newTextReader(b []byte) textReader { return textReader{reader{b: b}, string(b)} }

// text is bytes as a string, which is a part of all.
func (r *textReader) text(what string, limit int) string {
	v := r.bytes(what, limit)
	end := len(r.all) - len(r.b)
	if len(v) == 0 { // at the end of the input, or after a fault
		return ""
	}
	return r.all[end-len(v) : end]
}

// end checks that nothing is left over.
func (r *reader) end() error {
	if r.err == nil && len(r.b) > 0 {
		r.fail("bytes left over")
	}
	return r.err
}

func appendBytes[T ~string | ~[]byte](b []byte, v T) []byte {
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}
