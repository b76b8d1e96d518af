package ingest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// fieldError is a field of the body that is missing or of a wrong type.
type fieldError struct{ path, detail string }

func (e *fieldError) Error() string { return e.path + ": " + e.detail }

// object is a JSON object of the body with its members undecoded. Decoding into structs would match members whatever
// their case, and the contract's names are case-sensitive.
type object struct {
	path    string // empty for the body itself
	members map[string]json.RawMessage
}

// parseBody reads the whole body, which must be one object in UTF-8: the decoder would replace other bytes, and so name
// another user or tag than was meant.
func parseBody(raw []byte) (object, error) {
	if !utf8.Valid(raw) {
		return object{}, fmt.Errorf("the body is not UTF-8")
	}
	if string(bytes.TrimSpace(raw)) == "[]" {
		raw = []byte("{}") // what a language without empty objects makes of one
	}
	o, err := newValue("", raw).object()
	if err != nil {
		return object{}, fmt.Errorf("the body is not a JSON object")
	}
	if tooDeep(raw) {
		return object{}, fmt.Errorf("the body is too deep: arrays and objects in more than %d levels", maxDepth)
	}
	return o, nil
}

// value is one value in the body, not decoded yet. A member that is null counts as absent.
type value struct {
	path string
	raw  json.RawMessage // without white space around; nil when absent
	hole bool            // null in a list, which is no absent member
}

func newValue(path string, raw []byte) value {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || string(raw) == "null" {
		return value{path: path}
	}
	return value{path: path, raw: raw}
}

// get gives the member of the first of the names that is there; the path is that name, or the first one when none is.
func (o object) get(names ...string) value {
	for _, name := range names {
		if v := newValue(o.member(name), o.members[name]); !v.absent() {
			return v
		}
	}
	return value{path: o.member(names[0])}
}

func (o object) member(name string) string {
	if o.path == "" {
		return name
	}
	return o.path + "." + name
}

func (v value) absent() bool { return v.raw == nil }

// wrong says what the value should have been.
func (v value) wrong(want string) error {
	if v.absent() {
		return &fieldError{v.path, "missing"}
	}
	return &fieldError{v.path, "not " + want}
}

func (v value) object() (object, error) {
	o := object{path: v.path}
	if v.absent() || json.Unmarshal(v.raw, &o.members) != nil {
		return object{}, v.wrong("an object")
	}
	return o, nil
}

func (v value) list() ([]value, error) {
	var raw []json.RawMessage
	if v.absent() || json.Unmarshal(v.raw, &raw) != nil {
		return nil, v.wrong("an array")
	}
	items := make([]value, len(raw))
	for i, r := range raw {
		items[i] = newValue(v.path+"["+strconv.Itoa(i)+"]", r)
		items[i].hole = items[i].absent()
	}
	return items, nil
}

// some is a list of 1 to limit values; a longer one is refused with the given code.
func (v value) some(limit int, over Code) ([]value, error) {
	items, err := v.list()
	if err != nil {
		return nil, err
	}
	if len(items) == 0 {
		return nil, &fieldError{v.path, "an empty array"}
	}
	if len(items) > limit {
		return nil, refuse(over, fmt.Sprintf("%s: %d elements, at most %d are allowed", v.path, len(items), limit))
	}
	return items, nil
}

func (v value) text() (string, error) {
	var s string
	if v.absent() || json.Unmarshal(v.raw, &s) != nil {
		return "", v.wrong("a string")
	}
	return s, v.characters()
}

// characters says whether every escape in the value is a whole character. The decoder would put the same replacement for
// each half of a pair, and so name another user or tag than was meant.
func (v value) characters() error {
	for raw := []byte(v.raw); ; {
		i := bytes.IndexByte(raw, '\\')
		if i < 0 || i+1 >= len(raw) {
			return nil
		}
		r, rest := escaped(raw[i:])
		if utf16.IsSurrogate(r) {
			low, behind := escaped(rest)
			if utf16.DecodeRune(r, low) == utf8.RuneError {
				return &fieldError{v.path, "it holds half of a character"}
			}
			rest = behind
		}
		raw = rest
	}
}

// escaped reads an escape of JSON at the start of raw, and gives its UTF-16 unit, 0 where it is none with a number, and what
// stands behind it.
func escaped(raw []byte) (rune, []byte) {
	if len(raw) < 2 || raw[0] != '\\' {
		return 0, raw
	}
	if raw[1] != 'u' || len(raw) < 6 {
		return 0, raw[2:]
	}
	n, err := strconv.ParseUint(string(raw[2:6]), 16, 16)
	if err != nil {
		return 0, raw[2:]
	}
	return rune(n), raw[6:]
}

// account reads the name of an account. Whether it can be one is the caller's to check.
func (v value) account() (string, error) {
	s, err := v.text()
	switch {
	case v.hole:
		return "", refuse(codeAccountType, v.path+": not a string")
	case err != nil && !v.absent():
		return "", refuse(codeAccountType, err.Error())
	}
	return s, err
}

// scalar reads an attribute's value: a string, or the JSON text of a number or boolean.
func (v value) scalar() (string, error) {
	switch {
	case v.absent() || v.raw[0] == '{' || v.raw[0] == '[':
		return "", &fieldError{v.path, "not a string, a number or a boolean"}
	case v.raw[0] == '"':
		return v.text()
	}
	return string(v.raw), nil
}

// isNumber says whether it is a JSON number; the whole body is known to be JSON.
func (v value) isNumber() bool {
	return !v.absent() && (v.raw[0] == '-' || v.raw[0] >= '0' && v.raw[0] <= '9')
}

// isInteger says whether it is a number written without fraction and exponent.
func (v value) isInteger() bool { return v.isNumber() && !bytes.ContainsAny(v.raw, ".eE") }
