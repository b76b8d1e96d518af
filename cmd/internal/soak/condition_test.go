package soak

import (
	"math/rand/v2"
	"testing"

	"github.com/carillon-push/carillon/pkg/predicate"
)

// What is open of a fact is open of the condition, unless the rest decides it.
func TestTruth(t *testing.T) {
	t.Parallel()
	facts := map[Fact]Truth{TagFact("yes"): Yes, TagFact("no"): No, TagFact("maybe"): Maybe}
	tag := func(name string) Condition { return Condition{Op: HasTag, Name: name} }
	for _, test := range []struct {
		c    Condition
		want Truth
	}{
		{Condition{}, Yes},
		{tag("maybe"), Maybe},
		{Condition{Op: Not, Kids: []Condition{tag("maybe")}}, Maybe},
		{Condition{Op: Not, Kids: []Condition{tag("no")}}, Yes},
		{Condition{Op: And, Kids: []Condition{tag("maybe"), tag("no")}}, No},
		{Condition{Op: And, Kids: []Condition{tag("maybe"), tag("yes")}}, Maybe},
		{Condition{Op: Or, Kids: []Condition{tag("maybe"), tag("yes")}}, Yes},
		{Condition{Op: Or, Kids: []Condition{tag("maybe"), tag("no")}}, Maybe},
	} {
		if got := test.c.truth(func(f Fact, _ func(string) bool) Truth { return facts[f] }); got != test.want {
			t.Errorf("%v: %d, want %d", test.c, got, test.want)
		}
	}
}

// Whatever the schedule draws for the contract can be said in it, and asks for no tag or attribute twice.
func TestDrawnPushesCanBeSaid(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		p := drawPush(r, 0)
		if p.Native {
			continue
		}
		m, ok := p.Condition.contract()
		if !ok {
			t.Fatalf("%v cannot be said", p.Condition)
		}
		seen := map[string]bool{}
		for _, list := range m {
			names, _ := list.([]string)
			if attrs, ok := list.(map[string]string); ok {
				for name := range attrs {
					names = append(names, name)
				}
			}
			if len(names) == 0 {
				t.Fatalf("%v: an empty list", m)
			}
			for _, name := range names {
				if seen[name] {
					t.Fatalf("%v: %s twice", m, name)
				}
				seen[name] = true
			}
		}
	}
}

// The naive evaluation agrees with the service's own on users whose facts are known.
func TestTruthAgreesWithThePredicate(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		c := drawNested(r, 3)
		tags, attrs := map[string]bool{}, map[string]string{}
		for range r.IntN(8) {
			tags[drawTag(r)] = true
			name, value := drawAttr(r)
			attrs[name] = value
		}
		truth := c.truth(func(f Fact, test func(string) bool) Truth {
			value := attrs[string(f[min(len(f), len(AttrFact(""))):])]
			if name, isTag := cutTag(f); isTag {
				if value = ""; tags[name] {
					value = "1"
				}
			}
			if test(value) {
				return Yes
			}
			return No
		})
		if holds := holds(node(c), tags, attrs); holds != (truth == Yes) || truth == Maybe {
			t.Fatalf("%v for tags %v and attributes %v: %d, and the predicate says %v", c, tags, attrs, truth, holds)
		}
	}
}

func cutTag(f Fact) (string, bool) {
	prefix := string(TagFact(""))
	if len(f) < len(prefix) || string(f[:len(prefix)]) != prefix {
		return "", false
	}
	return string(f[len(prefix):]), true
}

// node is the condition as the service's predicate, simplified.
func node(c Condition) predicate.Node {
	var kids []predicate.Node
	for _, k := range c.Kids {
		kids = append(kids, node(k))
	}
	slot := func() uint8 {
		for i, name := range attrNames {
			if name == c.Name {
				return uint8(i)
			}
		}
		return 9
	}
	switch c.Op {
	case HasTag:
		return predicate.Tag{Name: c.Name}
	case AttrIs:
		return predicate.Attr{Slot: slot(), Value: c.Value}
	case HasAttr:
		return predicate.HasAttr{Slot: slot()}
	case Not:
		return predicate.Not{Kid: kids[0]}
	case And:
		return predicate.Simplify(predicate.And{Kids: kids})
	case Or:
		return predicate.Simplify(predicate.Or{Kids: kids})
	}
	return predicate.All{}
}

func holds(n predicate.Node, tags map[string]bool, attrs map[string]string) bool {
	switch n := n.(type) {
	case predicate.All:
		return true
	case predicate.Tag:
		return tags[n.Name]
	case predicate.Attr:
		return attrs[attrNames[n.Slot]] == n.Value
	case predicate.HasAttr:
		return attrs[attrNames[n.Slot]] != ""
	case predicate.Not:
		return !holds(n.Kid, tags, attrs)
	case predicate.And:
		for _, k := range n.Kids {
			if !holds(k, tags, attrs) {
				return false
			}
		}
		return true
	case predicate.Or:
		for _, k := range n.Kids {
			if holds(k, tags, attrs) {
				return true
			}
		}
	}
	return false
}
