package predicate_test

import (
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/push"
)

type (
	all  = predicate.All
	none = predicate.None
	tag  = predicate.Tag
	has  = predicate.HasAttr
	attr = predicate.Attr
	not  = predicate.Not
	and  = predicate.And
	or   = predicate.Or
	node = predicate.Node
)

func kids(n ...node) []node { return n }

// user is the adapter between a record and what a condition asks.
type user struct{ *push.Record }

func (u user) Attr(slot uint8) string {
	if int(slot) >= len(u.Attrs) {
		return ""
	}
	return u.Attrs[slot]
}

// names are few, so that random trees and users meet, and awkward, so that spelling them is tested too.
var names = []string{"a", "b", "\x00", `"`, "\xff", "é)(", "", strings.Repeat("x", 50)}

func drawTree(t *rapid.T, depth int) node {
	kind := rapid.IntRange(0, 7).Draw(t, "kind")
	if depth == 0 {
		kind %= 5
	}
	switch kind {
	case 0:
		return all{}
	case 1:
		return none{}
	case 2:
		return tag{rapid.SampledFrom(names).Draw(t, "name")}
	case 3:
		return has{rapid.Uint8Range(0, 2).Draw(t, "slot")}
	case 4:
		return attr{rapid.Uint8Range(0, 2).Draw(t, "slot"), rapid.SampledFrom(names).Draw(t, "value")}
	case 5:
		return not{drawTree(t, depth-1)}
	}
	var kids []node
	for range rapid.IntRange(0, 4).Draw(t, "kids") {
		kids = append(kids, drawTree(t, depth-1))
	}
	if kind == 6 {
		return and{kids}
	}
	return or{kids}
}

func drawUser(t *rapid.T) user {
	r := &push.Record{}
	for _, n := range names {
		if rapid.Bool().Draw(t, "has") {
			r.AddTag(n)
		}
	}
	for i := range 3 {
		r.Attrs[i] = rapid.SampledFrom(names).Draw(t, "value")
	}
	return user{r}
}

func TestSimplifyKeepsTheMeaningAndIsIdempotent(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := drawTree(t, 4)
		spelt := predicate.String(n)
		s := predicate.Simplify(n)
		if predicate.String(n) != spelt {
			t.Fatalf("Simplify changed its argument %s", spelt)
		}
		if again := predicate.Simplify(s); predicate.Compare(s, again) != 0 {
			t.Fatalf("%s simplifies further to %s", predicate.String(s), predicate.String(again))
		}
		for range 8 {
			u := drawUser(t)
			if predicate.Match(n, u) != predicate.Match(s, u) {
				t.Fatalf("%s and its simplification %s differ for %+v", spelt, predicate.String(s), *u.Record)
			}
		}
	})
}

func TestParseIsTheInverseOfString(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := drawTree(t, 4)
		back, err := predicate.Parse(predicate.String(n))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(n, back) {
			t.Fatalf("%#v came back as %#v", n, back)
		}
	})
}

func TestCompareIsATotalOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := drawTree(t, 3), drawTree(t, 3), drawTree(t, 3)
		ab, bc := predicate.Compare(a, b), predicate.Compare(b, c)
		if ab != -predicate.Compare(b, a) {
			t.Fatal("not antisymmetric")
		}
		if (ab == 0) != (predicate.String(a) == predicate.String(b)) {
			t.Fatal("equal trees are those of equal spelling")
		}
		if ab <= 0 && bc <= 0 && predicate.Compare(a, c) > 0 {
			t.Fatal("not transitive")
		}
	})
}

func TestSimplify(t *testing.T) {
	t.Parallel()
	a, b := tag{"a"}, tag{"b"}
	for _, c := range []struct {
		name string
		in   node
		want string
	}{
		{"nil is nobody", nil, `none`},
		{"not nil is everybody", not{}, `all`},
		{"And of nothing", and{}, `all`},
		{"Or of nothing", or{}, `none`},
		{"sorted, without repeats", and{kids(b, a, b)}, `(and (tag "a") (tag "b"))`},
		{"flattened", or{kids(or{kids(b)}, or{kids(a, or{kids(tag{"c"})})})}, `(or (tag "a") (tag "b") (tag "c"))`},
		{"one kid", and{kids(or{kids(a)})}, `(tag "a")`},
		{"constants", and{kids(a, all{}, or{kids(b, none{})})}, `(and (tag "a") (tag "b"))`},
		{"deciding constants", or{kids(a, and{kids(b, none{})}, all{})}, `all`},
		{"double negation", not{not{a}}, `(tag "a")`},
		{"contradiction", and{kids(a, b, not{a})}, `none`},
		{"excluded middle", or{kids(a, b, not{a})}, `all`},
		{"contradiction of trees", and{kids(or{kids(a, b)}, not{or{kids(b, a)}})}, `none`},
		{"empty value", attr{1, ""}, `none`},
		{"two values of a slot", and{kids(attr{1, "x"}, attr{1, "y"})}, `none`},
		{"two slots", and{kids(attr{2, "x"}, attr{1, "y"})}, `(and (attr 1 "y") (attr 2 "x"))`},
		{"value and presence", and{kids(attr{1, "x"}, has{1})}, `(attr 1 "x")`},
		{"value or presence", or{kids(attr{1, "x"}, has{1})}, `(has 1)`},
		{"value without presence", and{kids(attr{1, "x"}, not{has{1}})}, `none`},
		{"presence or another value", or{kids(has{1}, not{attr{1, "x"}})}, `all`},
		{"not this value but that", and{kids(not{attr{1, "x"}}, attr{1, "y"})}, `(attr 1 "y")`},
		{"either value is lacking", or{kids(not{attr{1, "x"}}, not{attr{1, "y"}})}, `all`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := predicate.String(predicate.Simplify(c.in)); got != c.want {
				t.Errorf("Simplify(%s) = %s, want %s", predicate.String(c.in), got, c.want)
			}
		})
	}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	u := user{&push.Record{Tags: []string{"a", "b"}, Attrs: [push.AttrSlots]string{3: "x"}}}
	for spelt, want := range map[string]bool{
		`all`: true, `none`: false, `(and)`: true, `(or)`: false,
		`(tag "a")`: true, `(tag "A")`: false, `(has 3)`: true, `(has 4)`: false, `(has 200)`: false,
		`(attr 3 "x")`: true, `(attr 3 "X")`: false, `(attr 4 "")`: false, `(attr 255 "x")`: false,
		`(and (tag "a") (attr 3 "x"))`: true, `(and (tag "a") (tag "c"))`: false,
		`(or (tag "c") (attr 3 "x"))`: true, `(not (or (tag "c") (attr 3 "y")))`: true,
	} {
		n, err := predicate.Parse(spelt)
		if err != nil {
			t.Fatal(err)
		}
		if got := predicate.Match(n, u); got != want {
			t.Errorf("Match(%s) = %v", spelt, got)
		}
	}
}
