package index

import (
	"cmp"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
)

// set is a result on its way: a sorted list, or a bitmap. One that is not owned is the index's memory, only to be read.
// The operations may use up the sets that they are given, where those are owned.
type set struct {
	bits  *roaring.Bitmap // nil: the set is list
	list  []uint32
	owned bool
}

func (s set) size() uint64 {
	if s.bits != nil {
		return s.bits.GetCardinality()
	}
	return uint64(len(s.list))
}

func (s set) empty() bool {
	if s.bits != nil {
		return s.bits.IsEmpty()
	}
	return len(s.list) == 0
}

// room is where a list made from this one may be written: the list itself if it is owned.
func (s set) room() []uint32 {
	if s.owned {
		return s.list[:0]
	}
	return make([]uint32, 0, len(s.list))
}

// filter appends to into the members of list that are in s, or with want false those that are not.
func (s set) filter(into, list []uint32, want bool) []uint32 {
	if s.bits != nil {
		for _, u := range list {
			if s.bits.Contains(u) == want {
				into = append(into, u)
			}
		}
		return into
	}
	rest := s.list
	for _, u := range list {
		var found bool
		rest, found = skip(rest, u)
		if found == want {
			into = append(into, u)
		}
	}
	return into
}

// skip drops what is below u from a sorted list, and says whether u comes next. Steps double, so that a short list
// walks a long one in leaps.
func skip(list []uint32, u uint32) (rest []uint32, found bool) {
	step := 1
	for step < len(list) && list[step] < u {
		step *= 2
	}
	lo := step / 2
	i, found := slices.BinarySearch(list[lo:min(step+1, len(list))], u)
	return list[lo+i:], found
}

func intersect(a, b set) set {
	switch {
	case a.bits == nil && b.bits == nil && len(a.list) > len(b.list), a.bits != nil && b.bits == nil:
		a, b = b, a
	}
	if a.bits == nil {
		return set{list: b.filter(a.room(), a.list, true), owned: true}
	}
	if !a.owned && b.owned {
		a, b = b, a
	}
	if !a.owned {
		return set{bits: roaring.And(a.bits, b.bits), owned: true}
	}
	a.bits.And(b.bits)
	return a
}

// common is the size of the intersection, which is not made.
func common(a, b set) uint64 {
	if a.bits != nil && b.bits != nil {
		return a.bits.AndCardinality(b.bits)
	}
	return intersect(set{a.bits, a.list, false}, set{b.bits, b.list, false}).size()
}

func minus(a, b set) set {
	switch {
	case a.bits == nil:
		return set{list: b.filter(a.room(), a.list, false), owned: true}
	case b.bits != nil && a.owned:
		a.bits.AndNot(b.bits)
		return a
	case b.bits != nil:
		return set{bits: roaring.AndNot(a.bits, b.bits), owned: true}
	case !a.owned:
		a = set{bits: a.bits.Clone(), owned: true}
	}
	for _, u := range b.list {
		a.bits.Remove(u)
	}
	return a
}

// union joins bitmaps largest first, so that the result is dense early and the others are written into it. Few and short
// lists stay a list, which is what a later intersection likes best.
func union(sets []set) set {
	var bitmaps []*roaring.Bitmap
	var lists [][]uint32
	listed := 0
	for _, s := range sets {
		if s.bits != nil {
			bitmaps = append(bitmaps, s.bits)
		} else {
			lists = append(lists, s.list)
			listed += len(s.list)
		}
	}
	if len(bitmaps) == 0 && listed <= maxList {
		list := slices.Concat(lists...)
		slices.Sort(list)
		return set{list: slices.Compact(list), owned: true}
	}
	slices.SortFunc(bitmaps, func(a, b *roaring.Bitmap) int { return cmp.Compare(b.GetCardinality(), a.GetCardinality()) })
	joined := roaring.FastOr(bitmaps...)
	for _, l := range lists {
		joined.AddMany(l)
	}
	return set{bits: joined, owned: true}
}
