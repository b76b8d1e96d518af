package native

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// field is a value in a request's body, not decoded yet, and where it stands. Decoding into structs would match names
// whatever their case, let a name stand twice, and not say where something is wrong.
type field struct {
	pointer string // RFC 6901; empty for the body itself
	raw     json.RawMessage
}

// parseBody checks that the body is one JSON value in UTF-8: a decoder would replace other bytes, and so name another user
// or tag than was meant.
func parseBody(raw []byte) (field, error) {
	if !utf8.Valid(raw) || !json.Valid(raw) {
		return field{}, refuse(http.StatusBadRequest, codeJSON, "the body is not JSON in UTF-8")
	}
	return field{"", bytes.TrimSpace(raw)}, nil
}

var escapePointer = strings.NewReplacer("~", "~0", "/", "~1")

func (f field) wrong(want string) error { return invalid(f.pointer, "not %s", want) }

// members are a JSON object's, in their order. A name that stands twice is refused, since readers disagree on which counts.
func (f field) members() ([]string, map[string]field, error) {
	d := json.NewDecoder(bytes.NewReader(f.raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, nil, f.wrong("an object")
	}
	var names []string
	m := map[string]field{}
	for d.More() {
		start := d.InputOffset()
		t, err := d.Token()
		name, isName := t.(string)
		if err != nil || !isName {
			return nil, nil, f.wrong("an object")
		}
		at := f.pointer + "/" + escapePointer.Replace(name)
		if replaced(name, f.raw[start:d.InputOffset()]) {
			return nil, nil, invalid(at, "the name holds half of a surrogate pair")
		}
		if _, twice := m[name]; twice {
			return nil, nil, invalid(at, "the name stands twice")
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, nil, f.wrong("an object")
		}
		names = append(names, name)
		m[name] = field{at, raw}
	}
	return names, m, nil
}

// object is members of which only the given names are known.
func (f field) object(known ...string) (map[string]field, error) {
	names, m, err := f.members()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, refuse(http.StatusBadRequest, codeUnknownField, "there is no field of this name here; names are case-sensitive").at(m[name].pointer)
		}
	}
	return m, nil
}

// need gives a member that must be there.
func (f field) need(m map[string]field, name string) (field, error) {
	v, ok := m[name]
	if !ok {
		return field{}, refuse(http.StatusBadRequest, codeMissing, "%s is missing", name).at(f.pointer + "/" + name)
	}
	return v, nil
}

// list is a JSON array of at most limit values.
func (f field) list(limit int) ([]field, error) {
	var raw []json.RawMessage
	if f.raw[0] != '[' || json.Unmarshal(f.raw, &raw) != nil {
		return nil, f.wrong("an array")
	}
	if len(raw) > limit {
		return nil, invalid(f.pointer, "%d elements, at most %d are allowed", len(raw), limit)
	}
	items := make([]field, len(raw))
	for i, r := range raw {
		items[i] = field{f.pointer + "/" + strconv.Itoa(i), r}
	}
	return items, nil
}

// text is a JSON string of 1 to limit bytes.
func (f field) text(limit int) (string, error) {
	var s string
	if f.raw[0] != '"' || json.Unmarshal(f.raw, &s) != nil {
		return "", f.wrong("a string")
	}
	switch {
	case replaced(s, f.raw):
		return "", invalid(f.pointer, "it holds half of a surrogate pair")
	case s == "":
		return "", invalid(f.pointer, "empty")
	case len(s) > limit:
		return "", invalid(f.pointer, "longer than %d bytes", limit)
	}
	return s, nil
}

// replaced says whether decoding put a replacement character where the JSON has none.
func replaced(s string, raw []byte) bool {
	return strings.ContainsRune(s, utf8.RuneError) &&
		!bytes.ContainsRune(raw, utf8.RuneError) && !bytes.Contains(bytes.ToLower(raw), []byte(`\ufffd`))
}

// texts is a list of strings.
func (f field) texts(limit, length int) ([]string, error) {
	items, err := f.list(limit)
	if err != nil {
		return nil, err
	}
	list := make([]string, len(items))
	for i, item := range items {
		if list[i], err = item.text(length); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (f field) boolean() (bool, error) {
	switch string(f.raw) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, f.wrong("true or false")
}

// integer is one from 0 to limit.
func (f field) integer(limit int) (int, error) {
	n, err := strconv.Atoi(string(f.raw))
	if err != nil || n < 0 || n > limit {
		return 0, invalid(f.pointer, "not an integer from 0 to %d", limit)
	}
	return n, nil
}
