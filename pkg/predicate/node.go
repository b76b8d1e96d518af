// Package predicate is the tree of a push's condition: what it may say, its simplest form, its canonical spelling, and
// its meaning for one user. It is pure and knows nothing of users in number; package matcher/index evaluates the same
// tree for a whole shard, and Match here is what that must agree with.
//
// A condition comes in as JSON (ParseCondition), is checked against the contract and becomes a tree (FromCondition),
// travels as a string (String, Parse), and is answered for a user (Match).
package predicate

import (
	"cmp"
	"slices"
	"strings"
)

// Node is one of All, None, Tag, Attr, HasAttr, And, Or and Not; the set is closed. A nil Node means None wherever one
// is taken: of the two constants it is the one that cannot push to anybody by mistake.
//
// Trees are values: nothing in this package changes a node that it was given, and results may share nodes with arguments.
type Node interface{ rank() int }

type (
	// All holds for every account of the app.
	All struct{}
	// None holds for nobody.
	None struct{}
	// Tag holds for the users that carry the tag. Names are bytes, compared exactly.
	Tag struct{ Name string }
	// HasAttr holds for the users that have a value in the slot, whatever it is.
	HasAttr struct{ Slot uint8 }
	// Attr holds for the users whose value in the slot is this one. A user has at most one value a slot, and the empty
	// value is none, so Attr with an empty Value holds for nobody.
	Attr struct {
		Slot  uint8
		Value string
	}
	// Not holds where Kid does not.
	Not struct{ Kid Node }
	// And holds where every kid does; without kids that is everywhere.
	And struct{ Kids []Node }
	// Or holds where one kid does; without kids that is nowhere.
	Or struct{ Kids []Node }
)

// rank orders nodes of different kinds in Compare.
func (All) rank() int     { return 1 }
func (None) rank() int    { return 2 }
func (Tag) rank() int     { return 3 }
func (HasAttr) rank() int { return 4 }
func (Attr) rank() int    { return 5 }
func (Not) rank() int     { return 6 }
func (And) rank() int     { return 7 }
func (Or) rank() int      { return 8 }

// Compare is a total order on trees, the one that Simplify sorts kids in; 0 means that the two are the same tree.
func Compare(a, b Node) int {
	a, b = orNone(a), orNone(b)
	if c := cmp.Compare(a.rank(), b.rank()); c != 0 {
		return c
	}
	switch a := a.(type) {
	case Tag:
		return strings.Compare(a.Name, b.(Tag).Name)
	case HasAttr:
		return cmp.Compare(a.Slot, b.(HasAttr).Slot)
	case Attr:
		b := b.(Attr)
		return cmp.Or(cmp.Compare(a.Slot, b.Slot), strings.Compare(a.Value, b.Value))
	case Not:
		return Compare(a.Kid, b.(Not).Kid)
	case And:
		return slices.CompareFunc(a.Kids, b.(And).Kids, Compare)
	case Or:
		return slices.CompareFunc(a.Kids, b.(Or).Kids, Compare)
	}
	return 0
}

func orNone(n Node) Node {
	if n == nil {
		return None{}
	}
	return n
}

// Subject is one user, as far as a condition can ask about them.
type Subject interface {
	HasTag(name string) bool
	// Attr is the user's value in the slot, and the empty string where there is none.
	Attr(slot uint8) string
}

// Match says whether the condition holds for one user. It is the definition of what a tree means.
func Match(n Node, s Subject) bool {
	switch n := n.(type) {
	case All:
		return true
	case Tag:
		return s.HasTag(n.Name)
	case HasAttr:
		return s.Attr(n.Slot) != ""
	case Attr:
		return n.Value != "" && s.Attr(n.Slot) == n.Value
	case Not:
		return !Match(n.Kid, s)
	case And:
		for _, k := range n.Kids {
			if !Match(k, s) {
				return false
			}
		}
		return true
	case Or:
		for _, k := range n.Kids {
			if Match(k, s) {
				return true
			}
		}
	}
	return false
}
