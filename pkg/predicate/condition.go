package predicate

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// Limits of the contract on a condition. Lengths are in bytes.
const (
	MaxTags    = 10 // in one list
	MaxTagLen  = 50
	MaxAttrLen = 50 // of a name, and of a value
)

// Condition is the REST contract's form of a condition. A list that is absent is nil. All lists nil is every account.
// AttrsOr and AttrsAnd are values by attribute name.
type Condition struct {
	TagsOr, TagsAnd   []string
	AttrsOr, AttrsAnd map[string]string
}

// Kind is what is wrong with a condition: the closed set that an edge maps to its codes.
type Kind uint8

const (
	Malformed   Kind = iota + 1 // not JSON, or of a wrong type
	Empty                       // a list is present, and empty
	Mixed                       // tags and attributes in one condition
	TooManyTags                 // over MaxTags in a list
	TagEmpty                    // a tag is the empty string
	TagTooLong                  // a tag is longer than MaxTagLen
	TagRepeated                 // a tag stands twice within or across the lists
	AttrInvalid                 // an attribute's name or value is empty or longer than MaxAttrLen
	AttrUnknown                 // the app has no attribute of this name
)

// Error is what is wrong with a condition, and where. ParseCondition and FromCondition return no other error than *Error.
type Error struct {
	Kind   Kind
	Path   string // like Condition.TagsOr[3]
	Detail string // like: longer than 50 bytes
}

func (e *Error) Error() string { return e.Path + ": " + e.Detail }

// FromCondition checks a condition against the contract and gives its tree, simplified. slot knows the app's attributes
// by name. Where both lists of a family stand, both must hold. Of several things wrong, which one is reported depends
// on the condition alone: lists in the order Or, And; tags in their order, attributes by name.
func FromCondition(c Condition, slot func(name string) (uint8, bool)) (Node, error) {
	if (c.TagsOr != nil || c.TagsAnd != nil) && (c.AttrsOr != nil || c.AttrsAnd != nil) {
		return nil, &Error{Mixed, "Condition", "tags and attributes in one condition"}
	}
	seen := make(map[string]string)
	tagsOr, err := tagNodes("Condition.TagsOr", c.TagsOr, seen)
	if err != nil {
		return nil, err
	}
	tagsAnd, err := tagNodes("Condition.TagsAnd", c.TagsAnd, seen)
	if err != nil {
		return nil, err
	}
	attrsOr, err := attrNodes("Condition.AttrsOr", c.AttrsOr, slot)
	if err != nil {
		return nil, err
	}
	attrsAnd, err := attrNodes("Condition.AttrsAnd", c.AttrsAnd, slot)
	if err != nil {
		return nil, err
	}
	// An absent And list adds nothing to the conjunction; an absent Or list must not be an Or of nothing.
	all := slices.Concat(tagsAnd, attrsAnd)
	if or := slices.Concat(tagsOr, attrsOr); len(or) > 0 {
		all = append(all, Or{or})
	}
	return Simplify(And{all}), nil
}

// tagNodes checks one list of tags; seen has the paths of the tags of this and earlier lists.
func tagNodes(path string, tags []string, seen map[string]string) ([]Node, error) {
	if tags != nil && len(tags) == 0 {
		return nil, &Error{Empty, path, "an empty list"}
	}
	if len(tags) > MaxTags {
		return nil, &Error{TooManyTags, path, fmt.Sprintf("%d tags, at most %d are allowed", len(tags), MaxTags)}
	}
	nodes := make([]Node, len(tags))
	for i, t := range tags {
		at := path + "[" + strconv.Itoa(i) + "]"
		if t == "" {
			return nil, &Error{TagEmpty, at, "empty"}
		}
		if len(t) > MaxTagLen {
			return nil, &Error{TagTooLong, at, fmt.Sprintf("longer than %d bytes", MaxTagLen)}
		}
		if first, ok := seen[t]; ok {
			return nil, &Error{TagRepeated, at, "repeats " + first}
		}
		seen[t] = at
		nodes[i] = Tag{t}
	}
	return nodes, nil
}

func attrNodes(path string, attrs map[string]string, slot func(string) (uint8, bool)) ([]Node, error) {
	if attrs != nil && len(attrs) == 0 {
		return nil, &Error{Empty, path, "an empty object"}
	}
	nodes := make([]Node, 0, len(attrs))
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		at, value := attrPath(path, name), attrs[name]
		switch {
		case name == "":
			return nil, &Error{AttrInvalid, at, "the name is empty"}
		case len(name) > MaxAttrLen:
			return nil, &Error{AttrInvalid, at, fmt.Sprintf("the name is longer than %d bytes", MaxAttrLen)}
		case value == "":
			return nil, &Error{AttrInvalid, at, "the value is empty"}
		case len(value) > MaxAttrLen:
			return nil, &Error{AttrInvalid, at, fmt.Sprintf("the value is longer than %d bytes", MaxAttrLen)}
		}
		s, ok := slot(name)
		if !ok {
			return nil, &Error{AttrUnknown, at, "the app has no attribute of this name"}
		}
		nodes = append(nodes, Attr{s, value})
	}
	return nodes, nil
}

// attrPath names an attribute in an error; a name too long to be valid is cut, since errors go back to the caller.
func attrPath(path, name string) string {
	if len(name) > MaxAttrLen {
		name = name[:MaxAttrLen] + "..."
	}
	return path + "[" + strconv.Quote(name) + "]"
}
