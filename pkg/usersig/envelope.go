package usersig

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"io"
	"sync"
)

const (
	// MaxLen is the length in bytes of the longest UserSig that is looked at.
	MaxLen = 8 << 10
	// maxText bounds, in bytes, what a UserSig inflates to: deflate shrinks by up to a thousand.
	maxText = 16 << 10
)

// deflaters are kept for the next UserSig: each has some 800 KB of tables.
var deflaters = sync.Pool{New: func() any { return zlib.NewWriter(io.Discard) }}

// pack makes a UserSig of its JSON text.
func pack(text []byte) (string, error) {
	if len(text) > maxText {
		return "", fmt.Errorf("its JSON has %d bytes, and may have at most %d", len(text), maxText)
	}
	var b bytes.Buffer
	w := deflaters.Get().(*zlib.Writer)
	defer deflaters.Put(w)
	w.Reset(&b)
	if _, err := w.Write(text); err != nil {
		return "", fmt.Errorf("compress its JSON: %w", err)
	}
	if err := w.Close(); err != nil {
		return "", fmt.Errorf("compress its JSON: %w", err)
	}
	sig := envelope.EncodeToString(b.Bytes())
	if len(sig) > MaxLen {
		return "", fmt.Errorf("it has %d bytes, and may have at most %d", len(sig), MaxLen)
	}
	return sig, nil
}

// inflater is a zlib reader with its input and output. They are kept for the next UserSig, because the window of a zlib
// reader (32 KiB) is a hundred times what it inflates here.
type inflater struct {
	in     bytes.Reader
	zlib   io.ReadCloser // nil until the first valid header
	packed [MaxLen]byte
	text   [maxText + 1]byte
}

var inflaters = sync.Pool{New: func() any { return new(inflater) }}

// unpack gives the JSON text of a UserSig, or ErrMalformed.
func unpack(sig string) ([]byte, error) {
	if len(sig) > MaxLen {
		return nil, fmt.Errorf("%w: it has %d bytes, and may have at most %d", ErrMalformed, len(sig), MaxLen)
	}
	f := inflaters.Get().(*inflater)
	defer inflaters.Put(f)
	n, err := envelope.Decode(f.packed[:], []byte(sig))
	if err != nil {
		return nil, fmt.Errorf("%w: it is not base64 with '+', '/' and '=' replaced by '*', '-' and '_'", ErrMalformed)
	}
	text, err := f.inflate(f.packed[:n])
	if err != nil {
		return nil, fmt.Errorf("%w: it is not the base64 of a zlib stream", ErrMalformed)
	}
	if len(text) > maxText {
		return nil, fmt.Errorf("%w: it inflates to more than %d bytes", ErrMalformed, maxText)
	}
	return bytes.Clone(text), nil
}

// inflate reads a whole zlib stream with its checksum, or more than maxText bytes of it. The result is valid until the
// next call.
func (f *inflater) inflate(packed []byte) ([]byte, error) {
	f.in.Reset(packed)
	var err error
	if f.zlib == nil {
		f.zlib, err = zlib.NewReader(&f.in)
	} else {
		err = f.zlib.(zlib.Resetter).Reset(&f.in, nil)
	}
	if err != nil {
		return nil, err
	}
	n := 0
	for n < len(f.text) {
		m, err := f.zlib.Read(f.text[n:])
		n += m
		if err == io.EOF {
			return f.text[:n], nil
		}
		if err != nil {
			return nil, err
		}
	}
	return f.text[:n], nil
}
