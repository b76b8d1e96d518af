package soak

import (
	"fmt"
	"strings"
)

// Truth has three values, since what a push saw of a user is not always known: No < Maybe < Yes, so that "and" is the
// least of its parts and "or" the greatest.
type Truth uint8

// Truths.
const (
	No Truth = iota
	Maybe
	Yes
)

func (t Truth) not() Truth { return Yes - t }

// Fact names one thing about a user that has a value at each moment: a tag, "1" or empty; an attribute; or whether the
// account exists, "1" or empty.
type Fact string

// Exists is the fact that there is the account.
const Exists Fact = "exists"

// TagFact and AttrFact name the facts of tags and attributes.
func TagFact(name string) Fact  { return Fact("tag " + name) }
func AttrFact(name string) Fact { return Fact("attribute " + name) }

// Op is what a condition does with its parts.
type Op uint8

// Ops.
const (
	Everybody Op = iota
	HasTag       // Name
	AttrIs       // Name, Value
	HasAttr      // Name
	Not          // one of Kids
	And          // Kids
	Or           // Kids
)

// Condition is whom a push is for.
type Condition struct {
	Op          Op
	Name, Value string
	Kids        []Condition
}

// truth evaluates the condition; fact says whether a fact's value passes a test.
func (c Condition) truth(fact func(f Fact, test func(value string) bool) Truth) Truth {
	switch c.Op {
	case Everybody:
		return Yes
	case HasTag:
		return fact(TagFact(c.Name), isSet)
	case AttrIs:
		return fact(AttrFact(c.Name), func(v string) bool { return v == c.Value })
	case HasAttr:
		return fact(AttrFact(c.Name), isSet)
	case Not:
		return c.Kids[0].truth(fact).not()
	case And:
		t := Yes
		for _, k := range c.Kids {
			t = min(t, k.truth(fact))
		}
		return t
	default: // Or
		t := No
		for _, k := range c.Kids {
			t = max(t, k.truth(fact))
		}
		return t
	}
}

func isSet(v string) bool { return v != "" }

// facts are those that the condition looks at, each once.
func (c Condition) facts() []Fact {
	seen := map[Fact]bool{Exists: true}
	list := []Fact{Exists}
	var walk func(Condition)
	walk = func(c Condition) {
		f := Fact("")
		switch c.Op {
		case HasTag:
			f = TagFact(c.Name)
		case AttrIs, HasAttr:
			f = AttrFact(c.Name)
		}
		if f != "" && !seen[f] {
			seen[f] = true
			list = append(list, f)
		}
		for _, k := range c.Kids {
			walk(k)
		}
	}
	walk(c)
	return list
}

func (c Condition) String() string {
	list := func(between string) string {
		parts := make([]string, len(c.Kids))
		for i, k := range c.Kids {
			parts[i] = k.String()
		}
		return "(" + strings.Join(parts, between) + ")"
	}
	switch c.Op {
	case Everybody:
		return "everybody"
	case HasTag:
		return c.Name
	case AttrIs:
		return fmt.Sprintf("%s=%s", c.Name, c.Value)
	case HasAttr:
		return c.Name + "=*"
	case Not:
		return "not " + c.Kids[0].String()
	case And:
		return list(" and ")
	default:
		return list(" or ")
	}
}

// native is the condition as /v1/pushes takes it; nil for everybody.
func (c Condition) native() map[string]any {
	kids := func() []any {
		list := make([]any, len(c.Kids))
		for i, k := range c.Kids {
			list[i] = k.native()
		}
		return list
	}
	switch c.Op {
	case Everybody:
		return nil
	case HasTag:
		return map[string]any{"tag": c.Name}
	case AttrIs:
		return map[string]any{"attribute": c.Name, "is": c.Value}
	case HasAttr:
		return map[string]any{"attribute": c.Name, "exists": true}
	case Not:
		return map[string]any{"not": c.Kids[0].native()}
	case And:
		return map[string]any{"and": kids()}
	}
	if names := c.tags(); names != nil {
		return map[string]any{"tag": map[string]any{"in": names}}
	}
	return map[string]any{"or": kids()}
}

// tags are the names of parts that are all tags; nil when one is not.
func (c Condition) tags() []string {
	var names []string
	for _, k := range c.Kids {
		if k.Op != HasTag {
			return nil
		}
		names = append(names, k.Name)
	}
	return names
}

// contract is the condition as im_push takes it, and false for one that it cannot say: it knows lists of tags, or of
// attributes, of which all or any must hold.
func (c Condition) contract() (map[string]any, bool) {
	switch c.Op {
	case Everybody:
		return nil, true
	case Or:
		if tags, attrs, ok := c.family(); ok {
			return family("Or", tags, attrs), true
		}
	case And:
		if tags, attrs, ok := c.family(); ok {
			return family("And", tags, attrs), true
		}
		if len(c.Kids) != 2 || c.Kids[0].Op != Or || c.Kids[1].Op != And {
			return nil, false
		}
		orTags, orAttrs, ok1 := c.Kids[0].family()
		andTags, andAttrs, ok2 := c.Kids[1].family()
		if !ok1 || !ok2 || (orTags == nil) != (andTags == nil) {
			return nil, false
		}
		m := family("Or", orTags, orAttrs)
		for k, v := range family("And", andTags, andAttrs) {
			m[k] = v
		}
		return m, true
	}
	return nil, false
}

func family(how string, tags []string, attrs map[string]string) map[string]any {
	if tags != nil {
		return map[string]any{"Tags" + how: tags}
	}
	return map[string]any{"Attrs" + how: attrs}
}

// family gives parts that are all tags, or all attributes of different names.
func (c Condition) family() (tags []string, attrs map[string]string, ok bool) {
	if tags = c.tags(); tags != nil {
		return tags, nil, true
	}
	attrs = map[string]string{}
	for _, k := range c.Kids {
		if _, twice := attrs[k.Name]; k.Op != AttrIs || twice {
			return nil, nil, false
		}
		attrs[k.Name] = k.Value
	}
	return nil, attrs, len(attrs) > 0
}
