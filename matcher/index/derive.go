package index

import (
	"encoding/binary"
	"sync"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/pkg/push"
)

// derivation makes the postings of an index that has its dictionary, its users and its forward store.
type derivation struct {
	x     *Index
	width uint32
	half  uint32      // the first user of the second half: a multiple of 64
	n     [2][]uint32 // postings of each half, by term
}

func newDerivation(x *Index, width uint32) derivation {
	return derivation{x: x, width: width, half: (width/2 + 63) &^ 63}
}

// room makes room to count the postings of every term.
func (f *derivation) room() {
	for i := range f.n {
		f.n[i] = make([]uint32, len(f.x.terms.all))
	}
}

// each calls do for each of one half, in their order.
func (f *derivation) each(half int, do func(u uint32)) {
	it := f.x.all.Iterator()
	if half == 1 {
		it.AdvanceIfNeeded(f.half)
	}
	for it.HasNext() && (half == 1 || it.PeekNext() < f.half) {
		do(it.Next())
	}
}

// count counts the postings of one half of the users.
func (f *derivation) count(half int) {
	n := f.n[half]
	f.each(half, func(u uint32) {
		at := f.x.forward.at(u)
		if at == 0 {
			return
		}
		_, body := f.x.forward.whole(at - 1)
		for id := uint32(0); len(body) > 0; {
			d, k := binary.Uvarint(body)
			body = body[k:]
			id += uint32(d)
			n[id]++
		}
	})
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
func (f *derivation) derive() {
	p, all := &f.x.postings, f.x.terms.all
	targets := [2][]target{make([]target, len(all)), make([]target, len(all))}
	long := uint32(0)
	var ends []uint32 // by number of the bitmap
	for id, first := range f.n[0] {
		n, to := first+f.n[1][id], target{}
		switch t := &all[id]; {
		case n == 0: // an id without term
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
		f.each(half, func(u uint32) { f.place(u, targets[half], ordinals, &has) })
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
func (f *derivation) place(u uint32, targets []target, ordinals []uint32, has *[push.AttrSlots][]uint64) {
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
