package index

import (
	"cmp"
	"slices"

	"github.com/carillon-push/carillon/pkg/predicate"
)

// op is what a node of a plan does.
type op uint8

const (
	opNone  op = iota
	opList     // a term that has a list
	opTable    // a term that has a table, or everybody
	opNot      // everybody but the one kid
	opAnd      // kids are in the order in which they are best asked; those from negated on are to be taken away
	opOr
)

// node is a predicate as the index knows it: its terms are found, and its kids sorted. Memory of the index in it is good
// as long as the index is locked for reading.
type node struct {
	op      op
	negated int32 // among the kids
	kids    []*node
	most    int // users at most
	leaves  int

	table table

	list list
	one  [2]uint16 // backs a list of one
	span int
	from int      // of the list, what comes in later spans
	now  []uint16 // what the list has in that span
}

// plan makes the nodes of one predicate.
type plan struct {
	x     *Index
	nodes []*node // backs what was made, and is used again
	used  int
	kids  []*node // backs the kids of all nodes
	all   *node
}

func (p *plan) reset(x *Index) {
	p.x, p.used, p.kids = x, 0, p.kids[:0]
	p.all = p.term(&x.users)
}

func (p *plan) node(o op) *node {
	if p.used == len(p.nodes) {
		p.nodes = append(p.nodes, new(node))
	}
	n := p.nodes[p.used]
	p.used++
	n.op, n.kids, n.negated, n.most, n.leaves, n.table, n.list, n.span, n.from, n.now = o, nil, 0, 0, 1, nil, list{}, -1, 0, nil
	return n
}

// term is the leaf of a term's postings.
func (p *plan) term(t *term) *node {
	if t.n == isTable {
		n := p.node(opTable)
		n.table = p.x.postings.table(t.at)
		n.most = n.table.len()
		return n
	}
	if t.n == 0 {
		return p.node(opNone)
	}
	n := p.node(opList)
	n.list = p.x.postings.list(t, &n.one)
	n.most = n.list.len()
	return n
}

// named is the leaf of the term of that name.
func (p *plan) named(k kind, name string) *node {
	d := &p.x.terms
	id, ok := d.find(d.hash(k, name), k, name)
	if !ok {
		return p.node(opNone)
	}
	return p.term(d.at(id))
}

// make needs mu and the dictionary held.
func (p *plan) make(n predicate.Node) *node {
	switch n := n.(type) {
	case predicate.All:
		return p.all
	case predicate.Tag:
		return p.named(tagKind, n.Name)
	case predicate.Attr:
		// A slot that no record has must not be taken for the tags.
		if int(n.Slot) < len(p.x.has) {
			return p.named(kind(n.Slot), n.Value)
		}
	case predicate.HasAttr:
		if int(n.Slot) < len(p.x.has) {
			return p.term(&p.x.has[n.Slot])
		}
	case predicate.Not:
		return p.not(p.make(n.Kid))
	case predicate.And:
		return p.and(n.Kids)
	case predicate.Or:
		return p.or(n.Kids)
	}
	return p.node(opNone)
}

func (p *plan) not(kid *node) *node {
	switch kid.op {
	case opNone:
		return p.all
	case opNot:
		return kid.kids[0] // whatever holds, holds for users
	}
	n := p.node(opNot)
	n.kids, n.most, n.leaves = p.hold(kid), p.all.most, kid.leaves
	return n
}

// hold keeps kids.
func (p *plan) hold(kids ...*node) []*node {
	at := len(p.kids)
	p.kids = append(p.kids, kids...)
	return p.kids[at:len(p.kids):len(p.kids)]
}

// gather makes the kids of an And or Or.
func (p *plan) gather(kids []predicate.Node) []*node {
	var some [16]*node
	made := some[:0]
	for _, k := range kids {
		made = append(made, p.make(k))
	}
	return p.hold(made...)
}

// and orders what must hold by how few users it leaves, leaves of the tree first; everybody is left out. Behind it comes what must not hold,
// the most first.
func (p *plan) and(kids []predicate.Node) *node {
	n := p.node(opAnd)
	n.kids, n.most, n.leaves = p.gather(kids), p.all.most, 0
	n.kids = slices.DeleteFunc(n.kids, func(k *node) bool { return k == p.all })
	slices.SortFunc(n.kids, func(a, b *node) int {
		if c := cmp.Compare(a.turn(), b.turn()); c != 0 {
			return c
		}
		if a.op == opNot {
			return cmp.Compare(b.kids[0].most, a.kids[0].most)
		}
		return cmp.Compare(a.most, b.most)
	})
	n.negated = int32(len(n.kids))
	for i, k := range n.kids {
		n.leaves += k.leaves
		if k.op != opNot {
			n.most = min(n.most, k.most)
			continue
		}
		n.negated = min(n.negated, int32(i))
		n.kids[i] = k.kids[0]
	}
	switch {
	case n.most == 0:
		return p.node(opNone)
	case len(n.kids) == 0:
		return p.all
	case len(n.kids) == 1 && n.negated == 1:
		return n.kids[0]
	}
	return n
}

// turn is the place among an And's kids: those that cost nothing, those to be computed, those to be taken away.
func (n *node) turn() int {
	switch n.op {
	case opAnd, opOr:
		return 1
	case opNot:
		return 2
	}
	return 0
}

// or orders by size, as into something large the rest is written in place.
func (p *plan) or(kids []predicate.Node) *node {
	n := p.node(opOr)
	n.kids, n.leaves = p.gather(kids), 0
	n.kids = slices.DeleteFunc(n.kids, func(k *node) bool { return k.op == opNone })
	slices.SortFunc(n.kids, func(a, b *node) int { return cmp.Compare(b.most, a.most) })
	for _, k := range n.kids {
		if k == p.all {
			return k
		}
		n.most += k.most
		n.leaves += k.leaves
	}
	n.most = min(n.most, p.all.most)
	switch len(n.kids) {
	case 0:
		return p.node(opNone)
	case 1:
		return n.kids[0]
	}
	return n
}
