package index

import (
	"cmp"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/pkg/predicate"
)

// Eval gives the users for whom the condition holds, by their places within the shard. The bitmap is the caller's own, and
// run-optimized: ready to be published.
func (x *Index) Eval(n predicate.Node) *roaring.Bitmap {
	b := x.evalOwned(n)
	b.RunOptimize()
	return b
}

func (x *Index) evalOwned(n predicate.Node) *roaring.Bitmap {
	x.mu.RLock()
	defer x.mu.RUnlock()
	switch s := x.eval(n); {
	case s.bits == nil:
		return roaring.BitmapOf(s.list...)
	case s.owned:
		return s.bits
	default:
		return s.bits.Clone()
	}
}

// Count is how many users the condition holds for, without making the bitmap where that can be avoided.
func (x *Index) Count(n predicate.Node) uint64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.count(n)
}

func (x *Index) count(n predicate.Node) uint64 {
	switch n := n.(type) {
	case predicate.Not:
		return x.all.GetCardinality() - x.count(n.Kid)
	case predicate.And:
		if len(n.Kids) == 2 {
			return common(x.eval(n.Kids[0]), x.eval(n.Kids[1]))
		}
	case predicate.Or:
		if len(n.Kids) == 2 {
			a, b := x.eval(n.Kids[0]), x.eval(n.Kids[1])
			return a.size() + b.size() - common(a, b)
		}
	}
	return x.eval(n).size()
}

// eval needs mu held, and what it gives is good only until mu is released, unless it is owned.
func (x *Index) eval(n predicate.Node) set {
	switch n := n.(type) {
	case predicate.All:
		return set{bits: x.all}
	case predicate.Tag:
		return x.lookupTerm(tagKind, n.Name)
	case predicate.Attr:
		// A slot that no record has must not be taken for the tags.
		if int(n.Slot) < len(x.has) {
			return x.lookupTerm(kind(n.Slot), n.Value)
		}
	case predicate.HasAttr:
		if int(n.Slot) < len(x.has) {
			return set{bits: x.has[n.Slot]}
		}
	case predicate.Not:
		return minus(set{bits: x.all}, x.eval(n.Kid))
	case predicate.And:
		return x.and(n.Kids)
	case predicate.Or:
		sets := make([]set, len(n.Kids))
		for i, k := range n.Kids {
			sets[i] = x.eval(k)
		}
		return union(sets)
	}
	return set{}
}

func (x *Index) lookupTerm(k kind, name string) set {
	id, ok := x.terms.find(x.terms.hash(k, name), k, name)
	if !ok {
		return set{}
	}
	t := &x.terms.all[id]
	if t.n == isBig {
		return set{bits: x.postings.bigs[t.at].bits}
	}
	return set{list: x.postings.list(t)}
}

// and takes what costs nothing first: the sets that the index has, smallest first. Kids that must be computed, and
// those to be taken away, come after, and not at all once nobody is left.
func (x *Index) and(kids []predicate.Node) set {
	ready := make([]set, 0, len(kids))
	var compound, negated []predicate.Node
	for _, k := range kids {
		switch k := k.(type) {
		case predicate.And, predicate.Or:
			compound = append(compound, k)
		case predicate.Not:
			negated = append(negated, k.Kid)
		default:
			ready = append(ready, x.eval(k))
		}
	}
	slices.SortFunc(ready, func(a, b set) int { return cmp.Compare(a.size(), b.size()) })
	var cur set
	switch {
	case len(ready) > 0:
		cur, ready = ready[0], ready[1:]
	case len(compound) > 0:
		cur, compound = x.eval(compound[0]), compound[1:]
	default:
		cur = set{bits: x.all}
	}
	for _, s := range ready {
		if cur.empty() {
			return set{}
		}
		cur = intersect(cur, s)
	}
	for _, k := range compound {
		if cur.empty() {
			return set{}
		}
		cur = intersect(cur, x.eval(k))
	}
	for _, k := range negated {
		if cur.empty() {
			return set{}
		}
		cur = minus(cur, x.eval(k))
	}
	return cur
}
