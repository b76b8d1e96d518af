package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"unsafe"

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
	f := &file{r: r, width: width, half: (width/2 + 63) &^ 63, x: New()}
	if err := f.read(); err != nil {
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
	r     io.Reader
	width uint32
	x     *Index
	buf   []byte
	users roaring.IntPeekable // who is next
	half  uint32              // the first user of the second half: a multiple of 64
	n     [2][]uint32         // postings of each half, by term
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
			d.freed = append(d.freed, uint32(len(d.all)))
			d.all = append(d.all, term{kind: noTerm})
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
		name := stored[head:]
		b = b[len(stored):]
		off := d.names.alloc(len(stored))
		copy(d.names.run(off, len(stored)), stored)
		d.all = append(d.all, term{name: off, hash: d.hash(k, unsafe.String(unsafe.SliceData(name), len(name))), kind: k})
	}
	return nil
}

// all reads who the users are.
func (f *file) all(b []byte) error {
	users, err := wire.DecodeBitmap(b, f.width)
	if err != nil {
		return fmt.Errorf("%w: the users: %w", ErrCorrupt, err)
	}
	if err := f.x.terms.build(); err != nil {
		return err
	}
	f.x.all, f.users = users, users.Iterator()
	for i := range f.n {
		f.n[i] = make([]uint32, len(f.x.terms.all))
	}
	return nil
}

// build makes the table of a dictionary that has none.
func (d *terms) build() error {
	size := len(d.table)
	for len(d.all)-len(d.freed) > size/5*4 {
		size *= 2
	}
	d.table = make([]uint32, size)
	for id := range d.all {
		t := &d.all[id]
		if t.kind == noTerm {
			continue
		}
		name := d.name(uint32(id))
		if _, twice := d.find(t.hash, t.kind, unsafe.String(unsafe.SliceData(name), len(name))); twice {
			return fmt.Errorf("%w: a term stands there twice", ErrCorrupt)
		}
		d.place(uint32(id))
	}
	return nil
}

// runs reads a block of users' terms.
func (f *file) runs(b []byte) error {
	forward := &f.x.forward
	for len(b) > 0 {
		if !f.users.HasNext() {
			return fmt.Errorf("%w: more users than there are", ErrCorrupt)
		}
		u := f.users.Next()
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
	if l <= 0 || k+l != len(b) || terms != uint64(len(f.x.terms.all)) || users != f.x.all.GetCardinality() || f.users.HasNext() {
		return fmt.Errorf("%w: its end is not that of what stands before it", ErrCorrupt)
	}
	for id, n := range f.n[0] {
		if none := f.x.terms.all[id].kind == noTerm; none != (n+f.n[1][id] == 0) {
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

// target is where a term's next ordinal goes. The pass over all postings touches one of them for each, wherever in memory
// that is: so they are short, and hold all that the pass must know.
type target struct {
	at   uint32 // in the arena of lists, or among the ordinals of the bitmaps
	kind kind
	form uint8 // 0: one ordinal, 1: a list, 2: a bitmap
}

// derive makes the postings from the forward store, by counting sort: users come in their order, and so each term's do. The
// two halves of the users go beside one another, as what they write is apart.
func (f *file) derive() {
	p, all := &f.x.postings, f.x.terms.all
	targets := [2][]target{make([]target, len(all)), make([]target, len(all))}
	long := uint32(0)
	var ends []uint32 // by number of the bitmap
	for id, first := range f.n[0] {
		n, to := first+f.n[1][id], target{}
		switch t := &all[id]; {
		case t.kind == noTerm:
			*t = term{}
		case n == 1:
			t.n, to = 1, target{0, t.kind, 0}
		case n <= maxList:
			t.at, t.n = p.lists.alloc(int(n)), uint16(n)
			to = target{t.at, t.kind, 1}
		default:
			t.at, t.n = uint32(len(ends)), isBig
			to = target{long, t.kind, 2}
			long += n
			ends = append(ends, long)
		}
		targets[0][id] = to
		to.at += first
		targets[1][id] = to
	}
	ordinals := make([]uint32, long)
	var has [push.AttrSlots][]uint64
	for i := range has {
		has[i] = make([]uint64, (f.width+63)/64)
	}
	both(func(half int) {
		it := f.x.all.Iterator()
		if half == 1 {
			it.AdvanceIfNeeded(f.half)
		}
		for it.HasNext() && (half == 1 || it.PeekNext() < f.half) {
			f.place(it.Next(), targets[half], ordinals, &has)
		}
	})
	for i := range has {
		f.x.has[i] = roaring.FromDense(has[i], true)
	}
	p.bigs = make([]big, len(ends))
	both(func(half int) {
		for i := half; i < len(ends); i += 2 {
			start := uint32(0)
			if i > 0 {
				start = ends[i-1]
			}
			bits := roaring.New()
			bits.AddMany(ordinals[start:ends[i]])
			p.bigs[i] = big{bits: bits, n: ends[i] - start}
		}
	})
}

// both does two halves of some work beside one another.
func both(do func(half int)) {
	var wg sync.WaitGroup
	wg.Go(func() { do(0) })
	do(1)
	wg.Wait()
}

// place puts a user among the postings of its terms.
func (f *file) place(u uint32, targets []target, ordinals []uint32, has *[push.AttrSlots][]uint64) {
	at := f.x.forward.at(u)
	if at == 0 {
		return
	}
	_, body := f.x.forward.whole(at - 1)
	for id := uint32(0); len(body) > 0; {
		d, k := uint64(body[0]), 1
		if d >= 0x80 {
			d, k = binary.Uvarint(body)
		}
		body = body[k:]
		id += uint32(d)
		to := &targets[id]
		if to.kind != tagKind {
			has[to.kind][u>>6] |= 1 << (u & 63)
		}
		switch to.form {
		case 0:
			f.x.terms.all[id].at = u
		case 1:
			f.x.postings.lists.chunks[to.at>>chunkBits][to.at&(chunkLen-1)] = u
			to.at++
		case 2:
			ordinals[to.at] = u
			to.at++
		}
	}
}
