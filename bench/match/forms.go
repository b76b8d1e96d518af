package match

import (
	"math/rand/v2"
	"slices"

	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/push"
)

// form is a kind of condition.
type form struct {
	name string
	// goal of the 99th percentile over the large population, in milliseconds; 0 for none.
	goal float64
	draw func(population, *rand.Rand) predicate.Node
}

// forms are those of the REST contract, and one that is nested deeper. Tags and values are drawn by how many users have
// them, so that the ones that cost most are asked for most.
var forms = []form{
	{"one tag", 0, func(p population, r *rand.Rand) predicate.Node { return predicate.Tag{Name: p.tag(r)} }},
	{"TagsAnd of 2", 2, func(p population, r *rand.Rand) predicate.Node { return predicate.And{Kids: p.tagsOfOne(r, 2)} }},
	{"TagsOr of 10", 5, func(p population, r *rand.Rand) predicate.Node { return predicate.Or{Kids: p.tags(r, 10)} }},
	{"TagsOr of 10 and TagsAnd of 2", 5, func(p population, r *rand.Rand) predicate.Node {
		return predicate.And{Kids: append(p.tagsOfOne(r, 2), predicate.Or{Kids: p.tags(r, 10)})}
	}},
	{"AttrsAnd of 2", 2, func(p population, r *rand.Rand) predicate.Node { return predicate.And{Kids: p.attrsOfOne(r, 2)} }},
	{"AttrsOr of 10", 5, func(p population, r *rand.Rand) predicate.Node {
		return predicate.Or{Kids: p.attrsOfOne(r, push.AttrSlots)}
	}},
	{"nested, with NOT", 5, func(p population, r *rand.Rand) predicate.Node {
		t := p.tags(r, 4)
		return predicate.Or{Kids: []predicate.Node{
			predicate.And{Kids: []predicate.Node{predicate.Or{Kids: t[:2]}, predicate.Not{Kid: t[2]}, predicate.Or{Kids: p.attrsOfOne(r, 3)}}},
			predicate.And{Kids: append(p.attrsOfOne(r, 1), t[3])},
		}}
	}},
	{"NOT of a tag", 5, func(p population, r *rand.Rand) predicate.Node {
		return predicate.Not{Kid: predicate.Tag{Name: p.tag(r)}}
	}},
	{"everyone", 0, func(population, *rand.Rand) predicate.Node { return predicate.All{} }},
}

// tags draws n different ones.
func (p population) tags(r *rand.Rand, n int) []predicate.Node {
	var kids []predicate.Node
	for len(kids) < n {
		if k := predicate.Node(predicate.Tag{Name: p.tag(r)}); !slices.Contains(kids, k) {
			kids = append(kids, k)
		}
	}
	return kids
}

// tagsOfOne draws n tags of one user, so that they are found together.
func (p population) tagsOfOne(r *rand.Rand, n int) []predicate.Node {
	for {
		rec := p.someone(r)
		if len(rec.Tags) < n {
			continue
		}
		var kids []predicate.Node
		for _, i := range r.Perm(len(rec.Tags))[:n] {
			kids = append(kids, predicate.Tag{Name: rec.Tags[i]})
		}
		return kids
	}
}

// attrsOfOne draws the values of n slots of one user.
func (p population) attrsOfOne(r *rand.Rand, n int) []predicate.Node {
	rec := p.someone(r)
	var kids []predicate.Node
	for _, slot := range r.Perm(push.AttrSlots)[:n] {
		kids = append(kids, predicate.Attr{Slot: uint8(slot), Value: rec.Attrs[slot]})
	}
	return kids
}
