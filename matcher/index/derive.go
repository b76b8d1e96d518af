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
	users *roaring.Bitmap
	width uint32
	half  uint32      // the first user of the second half: a multiple of 64
	n     [2][]uint32 // postings of each half, by term
}

func newDerivation(x *Index, width uint32) derivation {
	return derivation{x: x, users: roaring.New(), width: width, half: (width/2 + 63) &^ 63}
}

// room makes room to count the postings of every term.
func (f *derivation) room() {
	for i := range f.n {
		f.n[i] = make([]uint32, f.x.terms.n)
	}
}

// each calls do for each of one half, in their order.
func (f *derivation) each(half int, do func(u uint32)) {
	it := f.users.Iterator()
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
	at   uint32 // among the ordinals of all terms that have several
	kind kind
	one  bool // the term's only one: it goes into the term itself
}

// derive makes the postings from the forward store, by counting sort: users come in their order, and so each term's do. The
// two halves of the users go beside one another, as what they write is apart.
func (f *derivation) derive() {
	p, d := &f.x.postings, &f.x.terms
	targets := [2][]target{make([]target, d.n), make([]target, d.n)}
	several := uint32(0)
	var lists, tables []section
	for id, first := range f.n[0] {
		n, to := first+f.n[1][id], target{}
		switch t := d.at(uint32(id)); {
		case n == 0: // an id without term
		case n == 1:
			t.n, to = 1, target{0, t.kind, true}
		default:
			to = target{several, t.kind, false}
			s := section{uint32(id), several, several + n}
			if several += n; n <= maxList && f.width <= listWidth {
				lists = append(lists, s)
			} else {
				tables = append(tables, s)
			}
		}
		targets[0][id] = to
		to.at += first
		targets[1][id] = to
	}
	ordinals := make([]uint32, several)
	var has [push.AttrSlots][]words
	for i := range has {
		has[i] = make([]words, (f.width+spanLen-1)/spanLen)
	}
	both(func(half int) {
		f.each(half, func(u uint32) { f.place(u, targets[half], ordinals, &has) })
	})
	for i := range has {
		p.setWords(&f.x.has[i], has[i])
	}
	all := make([]words, (f.width+spanLen-1)/spanLen)
	for it := f.users.Iterator(); it.HasNext(); {
		u := it.Next()
		all[u>>spanBits][u>>6&(spanWords-1)] |= 1 << (u & 63)
	}
	p.setWords(&f.x.users, all)
	for _, s := range lists {
		p.setList(d.at(s.id), ordinals[s.start:s.end])
	}
	for _, s := range tables {
		t := d.at(s.id)
		t.at, t.n = p.reserve(ordinals[s.start:s.end]), isTable
	}
	both(func(half int) {
		for i := half; i < len(tables); i += 2 {
			s := tables[i]
			p.fill(p.table(d.at(s.id).at), ordinals[s.start:s.end])
		}
	})
}

// section is where among the ordinals those of a term stand that has several.
type section struct{ id, start, end uint32 }

// both does two halves of some work beside one another.
func both(do func(half int)) {
	var wg sync.WaitGroup
	wg.Go(func() { do(0) })
	do(1)
	wg.Wait()
}

// place puts a user among the postings of its terms.
func (f *derivation) place(u uint32, targets []target, ordinals []uint32, has *[push.AttrSlots][]words) {
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
			has[to.kind][u>>spanBits][u>>6&(spanWords-1)] |= 1 << (u & 63)
		}
		if to.one {
			f.x.terms.at(id).at = u
			continue
		}
		ordinals[to.at] = u
		to.at++
	}
}
