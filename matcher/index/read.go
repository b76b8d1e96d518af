package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// Errors of Read.
var (
	// ErrVersion is returned for a file of a version that this build does not know.
	ErrVersion = errors.New("unknown version of an index")
	// ErrCorrupt is returned for bytes that are no index, or not all of one.
	ErrCorrupt = errors.New("corrupt index")
)

// maxName is longer than any name of a term.
const maxName = 1 << 10

// Read makes an index from what Write wrote, for a shard of the given width. It reads to the end, needs memory in
// proportion to what it has read, and gives an index whole or not at all.
func Read(r io.Reader, width uint32) (*Index, error) {
	head := make([]byte, len(fileHead))
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, broken("head", err)
	}
	if last := len(head) - 1; string(head[:last]) != fileHead[:last] {
		return nil, fmt.Errorf("%w: it does not begin as one", ErrCorrupt)
	} else if head[last] != fileHead[last] {
		return nil, fmt.Errorf("%w: %d, want %d", ErrVersion, head[last], fileHead[last])
	}
	f := &file{r: r, derivation: newDerivation(New(), width)}
	err := f.read()
	if f.table != nil { // also of a file that is broken: nothing goes on behind Read
		if failed := <-f.table; err == nil {
			err = failed
		}
	}
	if err != nil {
		return nil, err
	}
	f.derive()
	return f.x, nil
}

// broken tells bytes that are missing from bytes that could not be had.
func broken(what string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends in its %s", ErrCorrupt, what)
	}
	return fmt.Errorf("read the %s of an index: %w", what, err)
}

// file is an index that is being read.
type file struct {
	derivation
	r    io.Reader
	buf  []byte
	next roaring.IntPeekable // who is
	// table gives how the making of the dictionary's table ended, which the users' terms, that are ids, need not wait for; nil
	// until it begins.
	table chan error
}

// block reads one, and gives what it holds.
func (f *file) block() (of byte, content []byte, err error) {
	var head [blockHeader]byte
	if _, err := io.ReadFull(f.r, head[:]); err != nil {
		return 0, nil, broken("blocks", err)
	}
	size := binary.LittleEndian.Uint32(head[1:])
	if size > maxBlock {
		return 0, nil, fmt.Errorf("%w: a block of %d bytes", ErrCorrupt, size)
	}
	if cap(f.buf) < int(size) {
		f.buf = make([]byte, size)
	}
	content = f.buf[:size]
	if _, err := io.ReadFull(f.r, content); err != nil {
		return 0, nil, broken("blocks", err)
	}
	if blockSum(head[:5], content) != binary.LittleEndian.Uint32(head[5:]) {
		return 0, nil, fmt.Errorf("%w: a block's checksum is wrong", ErrCorrupt)
	}
	return head[0], content, nil
}

// order is what may follow a block.
var order = map[byte]string{0: "na", blockTerms: "na", blockAll: "ue", blockUsers: "ue"}

func (f *file) read() error {
	for last := byte(0); ; {
		of, content, err := f.block()
		if err != nil {
			return err
		}
		if !allowed(order[last], of) {
			return fmt.Errorf("%w: a block %q behind one %q", ErrCorrupt, of, last)
		}
		switch last = of; of {
		case blockTerms:
			err = f.terms(content)
		case blockAll:
			err = f.all(content)
		case blockUsers:
			err = f.runs(content)
		case blockEnd:
			return f.end(content)
		}
		if err != nil {
			return err
		}
	}
}

func allowed(next string, of byte) bool {
	for i := range len(next) {
		if next[i] == of {
			return true
		}
	}
	return false
}

// terms reads a block of the dictionary, whose table is made when all are there.
func (f *file) terms(b []byte) error {
	d := &f.x.terms
	for len(b) > 0 {
		k := kind(b[0])
		b = b[1:]
		if k == noTerm {
			d.freed = append(d.freed, d.append(term{kind: noTerm}))
			continue
		}
		if int(k) >= push.AttrSlots && k != tagKind {
			return fmt.Errorf("%w: a term of kind %d", ErrCorrupt, k)
		}
		n, head := binary.Uvarint(b)
		if head <= 0 || n > maxName || n > uint64(len(b)-head) {
			return fmt.Errorf("%w: a term's name", ErrCorrupt)
		}
		stored := b[:head+int(n)]
		b = b[len(stored):]
		off := d.names.alloc(len(stored))
		copy(d.names.run(off, len(stored)), stored)
		d.append(term{name: off, kind: k})
	}
	return nil
}

// all reads who the users are.
func (f *file) all(b []byte) error {
	users, err := wire.DecodeBitmap(b, f.width)
	if err != nil {
		return fmt.Errorf("%w: the users: %w", ErrCorrupt, err)
	}
	f.table = make(chan error, 1)
	go func() { f.table <- f.x.terms.build() }()
	f.users, f.next = users, users.Iterator()
	f.room()
	return nil
}

// build makes the table of a dictionary that has none.
func (d *terms) build() error {
	for id := range uint32(d.n) {
		t := d.at(id)
		if t.kind == noTerm {
			continue
		}
		text := d.text(id)
		h := d.hash(t.kind, text)
		if _, twice := d.find(h, t.kind, text); twice {
			return fmt.Errorf("%w: a term stands there twice", ErrCorrupt)
		}
		d.place(h, id)
	}
	return nil
}

// runs reads a block of users' terms.
func (f *file) runs(b []byte) error {
	forward := &f.x.forward
	for len(b) > 0 {
		if !f.next.HasNext() {
			return fmt.Errorf("%w: more users than there are", ErrCorrupt)
		}
		u := f.next.Next()
		count := f.n[0]
		if u >= f.half {
			count = f.n[1]
		}
		n, head := binary.Uvarint(b)
		if head <= 0 || n > chunkLen/2 || n > uint64(len(b)-head) {
			return fmt.Errorf("%w: the length of a user's terms", ErrCorrupt)
		}
		run := b[:head+int(n)]
		b = b[len(run):]
		if n == 0 {
			continue
		}
		id := uint64(0)
		for i, body := 0, run[head:]; len(body) > 0; i++ {
			d, k := binary.Uvarint(body)
			if k <= 0 || i > 0 && d == 0 || d >= uint64(len(count)) {
				return fmt.Errorf("%w: a user's terms", ErrCorrupt)
			}
			body = body[k:]
			if id += d; id >= uint64(len(count)) {
				return fmt.Errorf("%w: a user has a term that is not there", ErrCorrupt)
			}
			count[id]++ // end checks that it is a term's
		}
		off := forward.runs.alloc(len(run))
		copy(forward.runs.run(off, len(run)), run)
		forward.set(u, off+1)
	}
	return nil
}

// end checks that all is there that was written.
func (f *file) end(b []byte) error {
	terms, k := binary.Uvarint(b)
	if k <= 0 {
		return fmt.Errorf("%w: its end", ErrCorrupt)
	}
	users, l := binary.Uvarint(b[k:])
	if l <= 0 || k+l != len(b) || terms != uint64(f.x.terms.n) || users != f.users.GetCardinality() || f.next.HasNext() {
		return fmt.Errorf("%w: its end is not that of what stands before it", ErrCorrupt)
	}
	for id, n := range f.n[0] {
		if none := f.x.terms.at(uint32(id)).kind == noTerm; none != (n+f.n[1][id] == 0) {
			return fmt.Errorf("%w: a term that nobody has, or that is not there", ErrCorrupt)
		}
	}
	switch n, err := f.r.Read(make([]byte, 1)); { // a reader that checks what it read says so at its end
	case n > 0:
		return fmt.Errorf("%w: bytes behind its end", ErrCorrupt)
	case err != nil && !errors.Is(err, io.EOF):
		return fmt.Errorf("read the end of an index: %w", err)
	}
	return nil
}
