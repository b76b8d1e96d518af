package bulk

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
)

// Standard is the name of standard input or output.
const Standard = "-"

// source is an input that is read from some record on.
type source struct {
	*records
	// parse reads a record.
	parse func([]byte) (User, error)
	// header is the form of a CSV file, nil for NDJSON.
	header *csvForm
	// read counts what was taken from the file itself, in bytes; compressed ones where it is compressed.
	read  *counter
	close func() error
}

// counter counts the bytes that are read through it.
type counter struct {
	io.Reader
	n atomic.Int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// place is a point between two records.
type place struct {
	// Offset is in bytes, of what was decompressed where the file is compressed.
	Offset int64 `json:"offset"`
	// Lines is how many line ends are before it.
	Lines int `json:"lines"`
}

// openFile opens a file at a place. The header of CSV is read from its beginning at any rate.
func openFile(name string, f Format, separator byte, from place) (*source, error) {
	s, err := openFileAt(name, f, separator, place{}, nil)
	if err != nil || from.Offset <= s.offset {
		return s, err
	}
	header := s.header
	if err := s.close(); err != nil {
		return nil, err
	}
	return openFileAt(name, f, separator, from, header)
}

func openFileAt(name string, f Format, separator byte, from place, header *csvForm) (*source, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open the file to import: %w", err)
	}
	s, err := open(file, f, separator, from, header)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), file.Close())
	}
	s.close = file.Close
	return s, nil
}

// byteOrderMark is what some programs put before a text in UTF-8.
const byteOrderMark = "\ufeff"

// open reads a stream from a place on; what is compressed by gzip is known by its first bytes. The header is read when it
// is not given.
func open(r io.Reader, f Format, separator byte, from place, header *csvForm) (*source, error) {
	s := &source{read: &counter{Reader: r}, header: header, close: func() error { return nil }}
	b := bufio.NewReaderSize(s.read, maxRecord)
	if magic, _ := b.Peek(2); string(magic) == "\x1f\x8b" {
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, fmt.Errorf("decompress: %w", err)
		}
		b = bufio.NewReaderSize(z, maxRecord)
	}
	if from.Offset == 0 {
		if mark, _ := b.Peek(len(byteOrderMark)); string(mark) == byteOrderMark {
			n, _ := b.Discard(len(mark)) // they are in the buffer
			from.Offset = int64(n)
		}
	} else if _, err := io.CopyN(io.Discard, b, from.Offset); err != nil {
		return nil, fmt.Errorf("go on at byte %d: %w", from.Offset, err)
	}
	s.records = newRecords(b, f, from.Offset, from.Lines)
	if f == NDJSON {
		s.parse = parseNDJSON
		return s, nil
	}
	if s.header == nil {
		first, err := s.next()
		if errors.Is(err, io.EOF) {
			return nil, errors.New("there is no header")
		}
		if err != nil {
			return nil, err
		}
		if s.header, err = readHeader(first.text, separator); err != nil {
			return nil, err
		}
	}
	s.parse = s.header.parse
	return s, nil
}

func (s *source) place() place { return place{s.offset, s.lines} }

// user reads a record.
func (s *source) user(r record) (User, error) {
	if r.long {
		return User{}, fmt.Errorf("longer than %d bytes", maxRecord)
	}
	u, err := s.parse(r.text)
	if err != nil {
		return u, err
	}
	return u, u.Check()
}

// identity tells one input from another.
type identity struct {
	Size int64 `json:"size"`
	// Modified is in nanoseconds since 1970.
	Modified int64 `json:"modified"`
	// Head is the SHA-256 of the first 64 KiB, in hexadecimal.
	Head string `json:"head"`
}

func identify(name string) (identity, error) {
	var id identity
	file, err := os.Open(name)
	if err != nil {
		return id, fmt.Errorf("open the file to import: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return id, fmt.Errorf("look at the file to import: %w", err)
	}
	if !info.Mode().IsRegular() {
		return id, fmt.Errorf("%s is not a regular file: give it as standard input, with %s for the file", name, Standard)
	}
	h := sha256.New()
	if _, err := io.CopyN(h, file, 64<<10); err != nil && !errors.Is(err, io.EOF) {
		return id, fmt.Errorf("read the file to import: %w", err)
	}
	return identity{info.Size(), info.ModTime().UnixNano(), hex.EncodeToString(h.Sum(nil))}, nil
}

// interruptible reads r until the context ends, even where a read of r does not return: such a read is left behind, for the
// process to end with. Closing ends it as well.
func interruptible(ctx context.Context, r io.Reader) io.ReadCloser {
	out, in := io.Pipe()
	stop := context.AfterFunc(ctx, func() { _ = out.CloseWithError(ctx.Err()) }) // it never fails
	go func() {
		defer stop()
		_, err := io.Copy(in, r)
		_ = in.CloseWithError(err) // nil is the end; it never fails
	}()
	return out
}
