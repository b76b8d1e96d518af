package predicate

import "slices"

// Simplify gives the tree that means the same and has constants folded, nested Ands and Ors merged, kids sorted and
// without repeats, double negations gone, and kids that other kids make superfluous or impossible resolved (a tag and
// not that tag, two values of one slot, a value and its slot's presence). Conditions that differ only in how they were
// written mostly become one tree, and so one cache key; it does not promise that equivalent trees always do.
//
// Simplify(Simplify(n)) is Simplify(n). Time is quadratic in the kids of one node, which Parse bounds.
func Simplify(n Node) Node {
	switch n := orNone(n).(type) {
	case Attr:
		if n.Value == "" {
			return None{}
		}
		return n
	case Not:
		return negate(Simplify(n.Kid))
	case And:
		return junction(n.Kids, true)
	case Or:
		return junction(n.Kids, false)
	default:
		return n
	}
}

// negate is Not of a simplified node, simplified.
func negate(n Node) Node {
	switch n := n.(type) {
	case All:
		return None{}
	case None:
		return All{}
	case Not:
		return n.Kid
	default:
		return Not{n}
	}
}

// junction simplifies an And or an Or. They are duals: what one needs all of, the other needs one of, so each case is
// written once, with the constant that changes nothing (neutral) and the one that decides (absorbing).
func junction(kids []Node, and bool) Node {
	var neutral, absorbing Node = None{}, All{}
	if and {
		neutral, absorbing = absorbing, neutral
	}
	var flat []Node
	for _, k := range kids {
		switch k := Simplify(k).(type) {
		case And:
			if and {
				flat = append(flat, k.Kids...)
			} else {
				flat = append(flat, k)
			}
		case Or:
			if and {
				flat = append(flat, k)
			} else {
				flat = append(flat, k.Kids...)
			}
		case All, None:
			if k == absorbing {
				return absorbing
			}
		default:
			flat = append(flat, k)
		}
	}
	slices.SortFunc(flat, Compare)
	flat = slices.CompactFunc(flat, func(a, b Node) bool { return Compare(a, b) == 0 })
	for i, a := range flat {
		for _, b := range flat[i+1:] {
			if and && implies(a, negate(b)) || !and && implies(negate(a), b) {
				return absorbing
			}
		}
	}
	superfluous := func(i int) bool {
		for j, b := range flat {
			if j != i && (and && implies(b, flat[i]) || !and && implies(flat[i], b)) {
				return true
			}
		}
		return false
	}
	kept := make([]Node, 0, len(flat))
	for i, a := range flat {
		if !superfluous(i) {
			kept = append(kept, a)
		}
	}
	switch {
	case len(kept) == 0:
		return neutral
	case len(kept) == 1:
		return kept[0]
	case and:
		return And{kept}
	default:
		return Or{kept}
	}
}

// implies says that a cannot hold without b, where that is plain from the two nodes alone. Between different nodes it
// is a strict order, so that of two kids at most one is dropped for the other.
func implies(a, b Node) bool {
	if Compare(a, b) == 0 {
		return true
	}
	if b, ok := b.(Not); ok {
		switch a := a.(type) {
		case Not:
			return implies(b.Kid, a.Kid)
		case Attr:
			o, ok := b.Kid.(Attr)
			return ok && o.Slot == a.Slot && o.Value != a.Value
		}
		return false
	}
	if a, ok := a.(Attr); ok {
		h, ok := b.(HasAttr)
		return ok && h.Slot == a.Slot
	}
	return false
}
