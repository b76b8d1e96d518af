package index

import (
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
)

const (
	// maxList is the longest list; one posting more makes a bitmap. Below it a bitmap of a million users costs more
	// than the list does, and inserting into the list costs no more than a few cache lines moved.
	maxList = 1024
	// minBig is the fewest postings that a bitmap keeps before it becomes a list again. It is far below maxList so
	// that a term which wavers does not change form each time.
	minBig = maxList / 2
	isBig  = 0xffff
)

// postings are the ordinals of each term, in the form that suits their number. term.at is the one ordinal itself, or the
// offset of a sorted list in the arena, or the number of a bitmap.
type postings struct {
	lists arena[uint32]
	bigs  []big
	freed []uint32 // numbers of bigs to use again
}

// big is a long postings list; n is its cardinality.
type big struct {
	bits *roaring.Bitmap
	n    uint32
}

// list is the ordinals of a term that is not big. The arena's memory or not, it is only to be read.
func (p *postings) list(t *term) []uint32 {
	switch t.n {
	case 0:
		return nil
	case 1:
		return []uint32{t.at}
	}
	return p.lists.run(t.at, int(t.n))
}

// add puts an ordinal among a term's.
func (p *postings) add(t *term, u uint32) {
	if t.n == isBig {
		b := &p.bigs[t.at]
		if b.bits.CheckedAdd(u) {
			b.n++
		}
		return
	}
	if t.n == 0 {
		t.at, t.n = u, 1
		return
	}
	one := [1]uint32{t.at}
	list := one[:]
	if t.n > 1 {
		list = p.lists.run(t.at, int(t.n))
	}
	i, found := len(list), false
	if list[i-1] >= u { // most often ordinals come in their order
		i, found = slices.BinarySearch(list, u)
	}
	if found {
		return
	}
	if len(list) == maxList {
		p.promote(t, list, u)
		return
	}
	p.resize(t, list, len(list)+1, i, i)
	p.lists.run(t.at, int(t.n))[i] = u
}

// remove takes an ordinal away from a term's, and says whether the term has any left.
func (p *postings) remove(t *term, u uint32) bool {
	switch t.n {
	case 0:
		return false
	case 1:
		if t.at == u {
			t.n = 0
		}
		return t.n > 0
	case isBig:
		b := &p.bigs[t.at]
		if b.bits.CheckedRemove(u) {
			if b.n--; b.n < minBig {
				p.demote(t)
			}
		}
		return true
	}
	list := p.lists.run(t.at, int(t.n))
	if i, found := slices.BinarySearch(list, u); found {
		p.resize(t, list, len(list)-1, i, i+1)
	}
	return true
}

// resize gives the term's list the length n, keeping list[:keep] in front and list[rest:] at the end; what is between
// is left for the caller to write.
func (p *postings) resize(t *term, list []uint32, n, keep, rest int) {
	old, was := t.at, len(list)
	if n == 1 {
		if keep == 0 {
			t.at = list[rest]
		} else {
			t.at = list[0]
		}
		p.lists.release(old, was)
		t.n = 1
		return
	}
	_, from := sizeClass(was)
	_, to := sizeClass(n)
	if was > 1 && from == to {
		whole := p.lists.run(old, max(was, n))
		copy(whole[n-(was-rest):n], whole[rest:was])
		t.n = uint16(n)
		return
	}
	t.at = p.lists.alloc(n)
	// The first chunk may have moved, but list still holds what it held.
	fresh := p.lists.run(t.at, n)
	copy(fresh, list[:keep])
	copy(fresh[n-(was-rest):], list[rest:])
	t.n = uint16(n)
	if was > 1 {
		p.lists.release(old, was)
	}
}

// promote turns a full list into a bitmap, with one ordinal more.
func (p *postings) promote(t *term, list []uint32, u uint32) {
	b := big{bits: roaring.BitmapOf(list...), n: uint32(len(list)) + 1}
	b.bits.Add(u)
	p.lists.release(t.at, len(list))
	t.n = isBig
	if n := len(p.freed); n > 0 {
		t.at, p.freed = p.freed[n-1], p.freed[:n-1]
		p.bigs[t.at] = b
		return
	}
	t.at = uint32(len(p.bigs))
	p.bigs = append(p.bigs, b)
}

// demote turns a bitmap that has shrunk into a list.
func (p *postings) demote(t *term) {
	b, number := p.bigs[t.at], t.at
	t.at, t.n = p.lists.alloc(int(b.n)), uint16(b.n)
	into := p.lists.run(t.at, int(b.n))
	it := b.bits.ManyIterator()
	for len(into) > 0 {
		k := it.NextMany(into)
		into = into[k:]
	}
	p.bigs[number] = big{}
	p.freed = append(p.freed, number)
}

func (p *postings) bytes() int {
	n := p.lists.bytes() + cap(p.bigs)*16 + cap(p.freed)*4
	for _, b := range p.bigs {
		if b.bits != nil {
			n += bitmapBytes(b.bits)
		}
	}
	return n
}

// bitmapBytes estimates what a bitmap takes in memory: its content, and what Go and roaring add for each container.
func bitmapBytes(b *roaring.Bitmap) int {
	const perBitmap, perContainer = 128, 72
	s := b.Stats()
	return perBitmap + perContainer*int(s.Containers) +
		int(s.ArrayContainerBytes+s.BitmapContainerBytes+s.RunContainerBytes)
}
