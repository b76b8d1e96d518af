package native

import (
	"context"
	"encoding/json"

	"github.com/carillon-push/carillon/pkg/directory"
	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/push"
)

// Bounds of a condition, well within those of the predicate that it becomes: depth counts conditions above one another,
// nodes are conditions and values in lists, and size is the predicate's canonical form in bytes. They also bound a count,
// whose request to a matcher has every part of the condition in it.
const (
	maxDepth = 16
	maxNodes = 500
	maxSize  = 32 << 10
)

// clause is a condition within the condition, or the whole.
type clause struct {
	pointer string
	raw     json.RawMessage
	node    predicate.Node
}

// reading is a condition being read. Its clauses are in reading order: the whole first, then its parts.
type reading struct {
	names   directory.AttrNames
	nodes   int
	clauses []clause
}

// readCondition reads a condition. Attributes become slots by the names that the app has now: a push keeps its meaning when
// a slot is renamed later.
func (n *Native) readCondition(ctx context.Context, app push.AppID, f field) ([]clause, error) {
	names, err := n.dir.AttrNames(ctx, app)
	if err != nil {
		return nil, err
	}
	return parseCondition(f, names)
}

func parseCondition(f field, names directory.AttrNames) ([]clause, error) {
	r := reading{names: names}
	whole, err := r.condition(f, 1)
	if err != nil {
		return nil, err
	}
	if size := len(predicate.String(whole)); size > maxSize {
		return nil, invalid(f.pointer, "the condition takes %d bytes, at most %d are allowed", size, maxSize)
	}
	return r.clauses, nil
}

// count takes account of nodes.
func (r *reading) count(f field, n int) error {
	if r.nodes += n; r.nodes > maxNodes {
		return invalid(f.pointer, "more than %d conditions and values", maxNodes)
	}
	return nil
}

// kinds of conditions, by the member that tells.
var kinds = []string{"and", "or", "not", "tag", "attribute"}

// condition reads one condition and those within.
func (r *reading) condition(f field, depth int) (predicate.Node, error) {
	if depth > maxDepth {
		return nil, invalid(f.pointer, "nested deeper than %d", maxDepth)
	}
	if err := r.count(f, 1); err != nil {
		return nil, err
	}
	m, err := f.object("and", "or", "not", "tag", "attribute", "is", "in", "exists")
	if err != nil {
		return nil, err
	}
	kind, err := one(f, m, kinds)
	if err != nil {
		return nil, err
	}
	v, rest := m[kind], 1
	if kind == "attribute" {
		rest = 2
	}
	if len(m) > rest {
		return nil, invalid(f.pointer, "a condition with %s has %d members at most", kind, rest)
	}
	place := len(r.clauses)
	r.clauses = append(r.clauses, clause{pointer: f.pointer, raw: f.raw})
	var node predicate.Node
	switch kind {
	case "and", "or":
		node, err = r.junction(v, depth, kind == "and")
	case "not":
		var kid predicate.Node
		kid, err = r.condition(v, depth+1)
		node = predicate.Not{Kid: kid}
	case "tag":
		node, err = r.tag(v)
	default:
		node, err = r.attribute(f, m)
	}
	r.clauses[place].node = node
	return node, err
}

// one gives the one of the names that stands in the object.
func one(f field, m map[string]field, names []string) (string, error) {
	found := ""
	for _, name := range names {
		if _, ok := m[name]; !ok {
			continue
		}
		if found != "" {
			return "", invalid(f.pointer, "both %s and %s; there must be one of %q", found, name, names)
		}
		found = name
	}
	if found == "" {
		return "", invalid(f.pointer, "there must be one of %q", names)
	}
	return found, nil
}

// some is a list that is not empty: an empty one would hold everywhere or nowhere, which nobody means.
func (f field) some() ([]field, error) {
	items, err := f.list(maxNodes)
	if err == nil && len(items) == 0 {
		err = invalid(f.pointer, "an empty array")
	}
	return items, err
}

func (r *reading) junction(f field, depth int, and bool) (predicate.Node, error) {
	items, err := f.some()
	if err != nil {
		return nil, err
	}
	kids := make([]predicate.Node, len(items))
	for i, item := range items {
		if kids[i], err = r.condition(item, depth+1); err != nil {
			return nil, err
		}
	}
	if and {
		return predicate.And{Kids: kids}, nil
	}
	return predicate.Or{Kids: kids}, nil
}

// tag is a string, or {"in": […]}.
func (r *reading) tag(f field) (predicate.Node, error) {
	if f.raw[0] != '{' {
		name, err := f.text(push.MaxTagLen)
		return predicate.Tag{Name: name}, err
	}
	m, err := f.object("in")
	if err != nil {
		return nil, err
	}
	in, err := f.need(m, "in")
	if err != nil {
		return nil, err
	}
	return r.any(in, push.MaxTagLen, func(name string) predicate.Node { return predicate.Tag{Name: name} })
}

// attribute is a name with one of is, in and exists.
func (r *reading) attribute(f field, m map[string]field) (predicate.Node, error) {
	name, err := m["attribute"].text(push.MaxAttrLen)
	if err != nil {
		return nil, err
	}
	slot, err := slotOf(&r.names, m["attribute"].pointer, name)
	if err != nil {
		return nil, err
	}
	how, err := one(f, m, []string{"is", "in", "exists"})
	if err != nil {
		return nil, err
	}
	switch v := m[how]; how {
	case "is":
		value, err := v.text(push.MaxAttrLen)
		return predicate.Attr{Slot: slot, Value: value}, err
	case "in":
		return r.any(v, push.MaxAttrLen, func(value string) predicate.Node { return predicate.Attr{Slot: slot, Value: value} })
	default:
		exists, err := v.boolean()
		if exists || err != nil {
			return predicate.HasAttr{Slot: slot}, err
		}
		return predicate.Not{Kid: predicate.HasAttr{Slot: slot}}, nil
	}
}

// any holds where one of the listed values does.
func (r *reading) any(f field, limit int, leaf func(string) predicate.Node) (predicate.Node, error) {
	items, err := f.some()
	if err != nil {
		return nil, err
	}
	if err := r.count(f, len(items)); err != nil {
		return nil, err
	}
	kids := make([]predicate.Node, len(items))
	for i, item := range items {
		text, err := item.text(limit)
		if err != nil {
			return nil, err
		}
		kids[i] = leaf(text)
	}
	return predicate.Or{Kids: kids}, nil
}

// render shows a predicate as a condition: nil for everybody, and {"or": []} for nobody. A slot that has no name now is
// shown by its number, as {"slot": 3, "is": …}.
func render(n predicate.Node, names *directory.AttrNames) any {
	if _, everybody := n.(predicate.All); everybody {
		return nil
	}
	return condition(n, names)
}

func condition(n predicate.Node, names *directory.AttrNames) map[string]any {
	list := func(kids []predicate.Node) []any {
		all := make([]any, len(kids))
		for i, k := range kids {
			all[i] = condition(k, names)
		}
		return all
	}
	attribute := func(slot uint8, how string, v any) map[string]any {
		if int(slot) < len(names) && names[slot] != "" {
			return map[string]any{"attribute": names[slot], how: v}
		}
		return map[string]any{"slot": slot, how: v}
	}
	switch n := n.(type) {
	case predicate.All:
		return map[string]any{"and": []any{}}
	case predicate.Tag:
		return map[string]any{"tag": n.Name}
	case predicate.HasAttr:
		return attribute(n.Slot, "exists", true)
	case predicate.Attr:
		return attribute(n.Slot, "is", n.Value)
	case predicate.Not:
		return map[string]any{"not": condition(n.Kid, names)}
	case predicate.And:
		return map[string]any{"and": list(n.Kids)}
	case predicate.Or:
		return map[string]any{"or": list(n.Kids)}
	}
	return map[string]any{"or": []any{}}
}
