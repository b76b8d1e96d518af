package predicate

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"
)

// ParseCondition reads the JSON of a condition, the object alone. Names are case-sensitive, unknown fields are ignored,
// null is an absent field (and an absent condition: the zero Condition). Attribute values are strings, or numbers and
// booleans taken as their JSON text. Errors are *Error of kind Malformed; what the values may be is FromCondition's.
//
// An attribute whose value is null is an error, not absent: taking it as absent would widen the audience.
func ParseCondition(raw []byte) (Condition, error) {
	// The decoder would replace bytes that are no UTF-8, and so ask for another tag than was meant.
	if !utf8.Valid(raw) || !json.Valid(raw) {
		return Condition{}, malformed("Condition", "not JSON")
	}
	// Decoding into a struct would match field names whatever their case.
	fields, err := object("Condition", raw)
	if err != nil {
		return Condition{}, err
	}
	var c Condition
	if c.TagsOr, err = stringList("Condition.TagsOr", fields["TagsOr"]); err != nil {
		return Condition{}, err
	}
	if c.TagsAnd, err = stringList("Condition.TagsAnd", fields["TagsAnd"]); err != nil {
		return Condition{}, err
	}
	if c.AttrsOr, err = valueObject("Condition.AttrsOr", fields["AttrsOr"]); err != nil {
		return Condition{}, err
	}
	if c.AttrsAnd, err = valueObject("Condition.AttrsAnd", fields["AttrsAnd"]); err != nil {
		return Condition{}, err
	}
	return c, nil
}

func malformed(path, detail string) error { return &Error{Malformed, path, detail} }

func absent(raw []byte) bool {
	raw = bytes.TrimSpace(raw)
	return len(raw) == 0 || string(raw) == "null"
}

// object gives the members of a JSON object, undecoded, nil where it is absent.
func object(path string, raw []byte) (map[string]json.RawMessage, error) {
	if absent(raw) {
		return nil, nil
	}
	members := make(map[string]json.RawMessage)
	if json.Unmarshal(raw, &members) != nil {
		return nil, malformed(path, "not an object")
	}
	return members, nil
}

func stringList(path string, raw []byte) ([]string, error) {
	if absent(raw) {
		return nil, nil
	}
	var items []json.RawMessage
	if json.Unmarshal(raw, &items) != nil {
		return nil, malformed(path, "not an array")
	}
	list := make([]string, len(items))
	for i, item := range items {
		// null would leave the string empty without an error.
		if absent(item) || json.Unmarshal(item, &list[i]) != nil {
			return nil, malformed(path+"["+strconv.Itoa(i)+"]", "not a string")
		}
	}
	return list, nil
}

func valueObject(path string, raw []byte) (map[string]string, error) {
	members, err := object(path, raw)
	if members == nil {
		return nil, err
	}
	values := make(map[string]string, len(members))
	for _, name := range slices.Sorted(maps.Keys(members)) {
		text := bytes.TrimSpace(members[name])
		switch text[0] {
		case '"':
			var s string
			if err := json.Unmarshal(text, &s); err != nil {
				return nil, malformed(attrPath(path, name), "not a string")
			}
			values[name] = s
		case '{', '[', 'n':
			return nil, malformed(attrPath(path, name), "not a string, a number or a boolean")
		default:
			values[name] = string(text)
		}
	}
	return values, nil
}
