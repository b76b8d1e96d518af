package bulk

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/carillon-push/carillon/pkg/push"
)

// CSV is read by our own few lines since the standard library's reader turns \r\n within a field to \n, takes all the rest of
// a file for one field where a quote is not closed, and does not give the text of a record that it refuses. Where none of
// these matters the two agree, which a test holds.

var (
	errUnclosed = errors.New("a quote is not closed")
	errQuote    = errors.New(`a quote within a field: put the field in quotes, and write "" for a quote in it`)
)

// csvField reads the field with which data begins. n is how much that is with the comma or line end behind it. The field is
// the last of its record when a line end follows, or the end of the data, which n == len(data) alone does not tell apart.
func csvField(data []byte) (field []byte, n int, last bool, err error) {
	if len(data) == 0 || data[0] != '"' {
		n := bytes.IndexAny(data, ",\n")
		if n < 0 {
			n = len(data)
		}
		field, last = data[:n], n == len(data) || data[n] == '\n'
		if last {
			field = bytes.TrimSuffix(field, []byte("\r"))
		}
		if bytes.IndexByte(field, '"') >= 0 {
			err = errQuote
		}
		return field, min(n+1, len(data)), last, err
	}
	for n = 1; ; n += 2 { // ends at a quote that is not one of two
		i := bytes.IndexByte(data[n:], '"')
		if i < 0 {
			return nil, len(data), true, errUnclosed
		}
		n += i
		if n+1 == len(data) || data[n+1] != '"' {
			break
		}
	}
	field = bytes.ReplaceAll(data[1:n], []byte(`""`), []byte(`"`))
	rest := data[n+1:]
	switch {
	case len(rest) == 0 || string(rest) == "\r":
		return field, len(data), true, nil
	case rest[0] == ',':
		return field, n + 2, false, nil
	case rest[0] == '\n':
		return field, n + 2, true, nil
	case rest[0] == '\r' && rest[1] == '\n':
		return field, n + 3, true, nil
	}
	return nil, len(data), true, errQuote
}

// csvEnd is how long the record at the beginning of data is, with its line end; -1 when its end is not there. The end of the
// data is one if nothing follows. A record that is malformed ends with its first line, so that one wrong quote spoils one
// line.
func csvEnd(data []byte, final bool) int {
	at := 0
	for {
		_, n, last, err := csvField(data[at:])
		at += n
		switch {
		case errors.Is(err, errUnclosed):
			return -1
		case err != nil:
			return lineEnd(data)
		case last && !final && data[at-1] != '\n':
			return -1
		case last:
			return at
		}
	}
}

// lineEnd is how long the first line of data is, with its line end; -1 when that is not there.
func lineEnd(data []byte) int {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1
	}
	return -1
}

// csvFields are the fields of one record.
func csvFields(record []byte) ([]string, error) {
	var fields []string
	for {
		field, n, last, err := csvField(record)
		if err != nil {
			return nil, err
		}
		fields = append(fields, string(field))
		if last {
			return fields, nil
		}
		record = record[n:]
	}
}

// attributePrefix marks a column as an attribute's whose name would mean something else: attributes.tags is the attribute
// named tags.
const attributePrefix = attributesMember + "."

// csvForm is how users stand in a CSV file.
type csvForm struct {
	columns   []string // as in the header
	separator byte     // of tags
}

func (f *csvForm) attribute(column string) (name string, ok bool) {
	switch column {
	case accountMember, base64Member, tagsMember:
		return "", false
	}
	return strings.TrimPrefix(column, attributePrefix), true
}

func columnOf(attribute string) string {
	switch attribute {
	case accountMember, base64Member, tagsMember:
		return attributePrefix + attribute
	}
	if strings.HasPrefix(attribute, attributePrefix) {
		return attributePrefix + attribute
	}
	return attribute
}

// readHeader makes the form from a file's first record.
func readHeader(record []byte, separator byte) (*csvForm, error) {
	columns, err := csvFields(record)
	if err != nil {
		return nil, fmt.Errorf("the header: %w", err)
	}
	f := &csvForm{columns: columns, separator: separator}
	seen := map[string]bool{}
	for _, c := range columns {
		key := c
		if name, ok := f.attribute(c); ok {
			key = attributePrefix + name
			if err := short("the header's attribute name", name, push.MaxAttrLen); err != nil {
				return nil, err
			}
		}
		if seen[key] {
			return nil, fmt.Errorf("the header has the column %s twice", quote(c))
		}
		seen[key] = true
	}
	if !seen[accountMember] && !seen[base64Member] {
		return nil, fmt.Errorf("the header %s has no column %s", quote(string(record)), accountMember)
	}
	return f, nil
}

// attributes are the names in the header.
func (f *csvForm) attributes() []string {
	var names []string
	for _, c := range f.columns {
		if name, ok := f.attribute(c); ok {
			names = append(names, name)
		}
	}
	return names
}

// parse reads one record. An empty field is no value.
func (f *csvForm) parse(record []byte) (User, error) {
	var u User
	if !utf8.Valid(record) {
		return u, errNotUTF8
	}
	fields, err := csvFields(record)
	if err != nil {
		return u, err
	}
	if len(fields) != len(f.columns) {
		return u, fmt.Errorf("%d fields: the header has %d", len(fields), len(f.columns))
	}
	var account, encoded *string
	for i, value := range fields {
		if value == "" {
			continue
		}
		switch column := f.columns[i]; column {
		case accountMember:
			account = &value
		case base64Member:
			encoded = &value
		case tagsMember:
			u.Tags = splitTags(value, f.separator)
		default:
			if u.Attributes == nil {
				u.Attributes = map[string]string{}
			}
			name, _ := f.attribute(column)
			u.Attributes[name] = value
		}
	}
	u.Account, err = accountOf(account, encoded)
	return u, err
}

// splitTags takes a field apart. A backslash before a separator or a backslash makes it part of a tag.
func splitTags(field string, separator byte) []string {
	var tags []string
	var tag []byte
	for i := 0; i < len(field); i++ {
		switch c := field[i]; {
		case c == '\\' && i+1 < len(field) && (field[i+1] == separator || field[i+1] == '\\'):
			i++
			tag = append(tag, field[i])
		case c == separator:
			tags, tag = append(tags, string(tag)), nil
		default:
			tag = append(tag, c)
		}
	}
	return append(tags, string(tag))
}

// joinTags is the inverse of splitTags.
func joinTags(tags []string, separator byte) string {
	sep := string(separator)
	escaped := strings.NewReplacer(`\`, `\\`, sep, `\`+sep)
	var b strings.Builder
	for i, t := range tags {
		if i > 0 {
			b.WriteByte(separator)
		}
		_, _ = escaped.WriteString(&b, t) // a Builder never fails
	}
	return b.String()
}
