package soak

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// The tags and attributes there are. Few, so that users gain and lose what pushes ask for.
const tagNames = 12

var attrValues = map[string]int{"sex": 2, "city": 8, "level": 5}

// attrNames are in a fixed order, since that of a map differs from run to run.
var attrNames = []string{"sex", "city", "level"}

func drawTag(r *rand.Rand) string { return fmt.Sprintf("tag%d", r.IntN(tagNames)) }

func drawValue(r *rand.Rand, attr string) string {
	return fmt.Sprintf("%s%d", attr, r.IntN(attrValues[attr]))
}

func drawAttr(r *rand.Rand) (name, value string) {
	name = attrNames[r.IntN(len(attrNames))]
	return name, drawValue(r, name)
}

// edits are calls that change one user, or several.
func (c Config) edits() *source {
	r := c.rand(2)
	s := &source{rand: r}
	s.gap = func() time.Duration { return around(r, every(c.Changes)) }
	s.make = func(Moment) (Action, bool) {
		n := 1
		if r.IntN(3) == 0 {
			n = 1 + r.IntN(20)
		}
		return Action{Edit: drawEdit(r, drawUsers(r, n, c.Users))}, true
	}
	return s
}

// drawUsers gives different users.
func drawUsers(r *rand.Rand, n, of int) []int {
	seen, list := map[int]bool{}, []int{}
	for range n {
		if u := r.IntN(of); !seen[u] {
			seen[u] = true
			list = append(list, u)
		}
	}
	return list
}

// The calls that change users: the contract's commands, and one of the native interface.
const (
	addTag        = "im_add_tag"
	removeTag     = "im_remove_tag"
	removeAllTags = "im_remove_all_tags"
	setAttr       = "im_set_attr"
	removeAttr    = "im_remove_attr"
	patch         = "patch"
)

func drawEdit(r *rand.Rand, users []int) *Edit {
	e := &Edit{Users: users, Facts: map[Fact]string{}}
	tags := func(value string) {
		for range 1 + r.IntN(3) {
			e.Facts[TagFact(drawTag(r))] = value
		}
	}
	switch n := r.IntN(100); {
	case n < 30:
		e.Via = addTag
		tags("1")
	case n < 55:
		e.Via = removeTag
		tags("")
	case n < 58:
		e.Via = removeAllTags
		for i := range tagNames {
			e.Facts[TagFact(fmt.Sprintf("tag%d", i))] = ""
		}
	case n < 75:
		e.Via = setAttr
		name, value := drawAttr(r)
		e.Facts[AttrFact(name)] = value
	case n < 83:
		e.Via = removeAttr
		name, _ := drawAttr(r)
		e.Facts[AttrFact(name)] = ""
	default:
		e.Via = patch
		e.Users = users[:1]
		tags("1")
		tags("")
		name, value := drawAttr(r)
		e.Facts[AttrFact(name)] = value
	}
	return e
}

// drawPush gives a push without its number. A run shorter than its lifetime sees the end of short ones alone.
func drawPush(r *rand.Rand, duration time.Duration) *Push {
	p := &Push{Native: r.IntN(3) == 0}
	switch n := r.IntN(100); {
	case n < 30:
		p.Kind = "online"
	case n < 55:
		p.Kind, p.Lifetime = "short", time.Duration(8+r.IntN(50))*time.Second
	default:
		p.Kind = "long"
		p.Lifetime = (duration + 3*maxSkew + time.Duration(r.IntN(72))*time.Hour).Truncate(time.Second)
	}
	how := ""
	switch n := r.IntN(100); {
	case n < 10:
		how = "all"
	case n < 40:
		how, p.Condition = "tags", drawFamily(r, tagList)
	case n < 60:
		how, p.Condition = "attributes", drawFamily(r, attrList)
	default:
		how, p.Condition, p.Native = "nested", drawNested(r, 3), true
	}
	via := "v4"
	if p.Native {
		via = "v1"
	}
	p.Kind = fmt.Sprintf("%s %s %s", p.Kind, how, via)
	return p
}

// drawFamily is what the contract can say: any of a list, all of a list, or one of each.
func drawFamily(r *rand.Rand, list func(*rand.Rand) []Condition) Condition {
	all := list(r)
	switch r.IntN(3) {
	case 0:
		return Condition{Op: Or, Kids: all}
	case 1:
		return Condition{Op: And, Kids: all[:1+r.IntN(min(2, len(all)))]}
	}
	if len(all) < 2 {
		return Condition{Op: Or, Kids: all}
	}
	return Condition{Op: And, Kids: []Condition{{Op: Or, Kids: all[1:]}, {Op: And, Kids: all[:1]}}}
}

// tagList is 1 to 4 different tags.
func tagList(r *rand.Rand) []Condition {
	var list []Condition
	for _, i := range r.Perm(tagNames)[:1+r.IntN(4)] {
		list = append(list, Condition{Op: HasTag, Name: fmt.Sprintf("tag%d", i)})
	}
	return list
}

// attrList is values of 1 to 3 different attributes.
func attrList(r *rand.Rand) []Condition {
	var list []Condition
	for _, i := range r.Perm(len(attrNames))[:1+r.IntN(len(attrNames))] {
		list = append(list, Condition{Op: AttrIs, Name: attrNames[i], Value: drawValue(r, attrNames[i])})
	}
	return list
}

func drawNested(r *rand.Rand, depth int) Condition {
	n := r.IntN(7)
	if depth == 0 {
		n = r.IntN(4)
	}
	switch n {
	case 0, 1:
		return Condition{Op: HasTag, Name: drawTag(r)}
	case 2:
		name, value := drawAttr(r)
		return Condition{Op: AttrIs, Name: name, Value: value}
	case 3:
		name, _ := drawAttr(r)
		return Condition{Op: HasAttr, Name: name}
	case 4:
		return Condition{Op: Not, Kids: []Condition{drawNested(r, depth-1)}}
	}
	c := Condition{Op: And}
	if n == 5 {
		c.Op = Or
	}
	for range 1 + r.IntN(3) {
		c.Kids = append(c.Kids, drawNested(r, depth-1))
	}
	return c
}
