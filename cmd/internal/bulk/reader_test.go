package bulk

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"github.com/carillon-push/carillon/pkg/push"
)

func same(a, b User) bool {
	return a.Account == b.Account && maps.Equal(a.Attributes, b.Attributes) && slices.Equal(a.Tags, b.Tags) && slices.Equal(a.Devices, b.Devices)
}

func TestNDJSON(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		want User
		err  string // a part of it
	}{
		{text: `{"account":"u1","attributes":{"city":"深圳"},"tags":["a","b"]}`, want: User{"u1", map[string]string{"city": "深圳"}, []string{"a", "b"}, nil}},
		{text: ` {"account":"u1","attributes":null,"tags":null} `, want: User{Account: "u1"}},
		{text: `{"account":"u1","attributes":{"age":3.50,"vip":true,"city":null}}`, want: User{"u1", map[string]string{"age": "3.50", "vip": "true"}, nil, nil}},
		{text: `{"accountBase64":"/wA="}`, want: User{Account: "\xff\x00"}},
		{text: `{"account":"\ud83d\ude00 \\u \u0000"}`, want: User{Account: "😀 \\u \x00"}},
		{
			text: `{"account":"u1","devices":[{"channel":"apns","token":"t","platform":"iOS"},{"channel":"fcm","token":"t","device":"d"}]}`,
			want: User{Account: "u1", Devices: []Device{{Channel: "apns", Token: "t", Platform: "iOS"}, {Channel: "fcm", Token: "t", Device: "d"}}},
		},
		{text: `{"account":"u1","devices":null}`, want: User{Account: "u1"}},
		{text: `{"account":"u1","devices":[{"channel":"apns"}]}`, err: "device 0: not a device: its token"},
		{text: `{"account":"u1","devices":[{"channel":"apns","Token":"t","seen":1}]}`, err: "devices: not an array"},
		{text: `{"account":"u1","devices":{}}`, err: "devices: not an array"},
		{text: `{"account":"u1","devices":[{"channel":"a.b","token":"t"}]}`, err: "its channel"},
		{text: `{"account":"u1","devices":[` + strings.Repeat(`{"channel":"a","token":"t"},`, 10) + `{"channel":"a","token":"t"}]}`, err: "11 devices"},
		{text: `{"account":"u1","accountBase64":"/wA="}`, err: "both"},
		{text: `{"account":"u1","accountBase64":null}`, want: User{Account: "u1"}},
		{text: `{"accountBase64":"/w"}`, err: "not base64"},
		{text: `{"tags":["a"]}`, err: "no account"},
		{text: `{"account":null}`, err: "no account"},
		{text: `{"account":""}`, err: "must not be empty"},
		{text: `{"account":"` + strings.Repeat("x", 33) + `"}`, err: "at most 32 bytes"},
		{text: `{"account":7}`, err: "account: not a string"},
		{text: `{"Account":"u1"}`, err: `unknown member "Account"`},
		{text: `{"account":"u1","tag":["a"]}`, err: `unknown member "tag"`},
		{text: `{"account":"u1","tags":"a"}`, err: "tags: not an array"},
		{text: `{"account":"u1","tags":[""]}`, err: "tag: empty"},
		{text: `{"account":"u1","tags":["` + strings.Repeat("x", 51) + `"]}`, err: "51 bytes"},
		{text: `{"account":"u1","attributes":{"city":""}}`, err: `attribute "city": empty`},
		{text: `{"account":"u1","attributes":{"":"x"}}`, err: "attribute name: empty"},
		{text: `{"account":"u1","attributes":{"city":["x"]}}`, err: "not a string, a number"},
		{text: `{"account":"u1","attributes":[]}`, err: "attributes: not an object"},
		{text: `{"account":"\ud83d"}`, err: "half of a character"},
		{text: `{"account":"\ude00\ud83d"}`, err: "half of a character"},
		{text: `{"account":"u` + "\xff" + `"}`, err: "not UTF-8"},
		{text: `{"account":"u1"`, err: "not a JSON object"},
		{text: `{"account":"u1"}{}`, err: "not a JSON object"},
		{text: `null`, err: "not a JSON object"},
		{text: `[]`, err: "not a JSON object"},
	} {
		u, err := parseNDJSON([]byte(c.text))
		if err == nil {
			err = u.Check()
		}
		if c.err == "" && (err != nil || !same(u, c.want)) {
			t.Errorf("%s: got %+v, %v", c.text, u, err)
		}
		if c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: got %+v, %v, want an error with %q", c.text, u, err, c.err)
		}
	}
}

func TestCSV(t *testing.T) {
	t.Parallel()
	const header = "account,tags,city,attributes.tags\n"
	for _, c := range []struct {
		record string
		want   User
		err    string
	}{
		{record: `u1,a|b,Shenzhen,x`, want: User{"u1", map[string]string{"city": "Shenzhen", "tags": "x"}, []string{"a", "b"}, nil}},
		{record: `u1,,,`, want: User{Account: "u1"}},
		{record: `"u,""1""","a\|b|c\\d|e\f","x` + "\r\n" + `y",`, want: User{`u,"1"`, map[string]string{"city": "x\r\ny"}, []string{"a|b", `c\d`, `e\f`}, nil}},
		{record: `,a,b,`, err: "no account"},
		{record: `u1,a`, err: "2 fields: the header has 4"},
		{record: `u1,a,b,c,d`, err: "5 fields"},
		{record: `u1,a||b,,`, err: "tag: empty"},
		{record: `u1,5" disk,,`, err: "a quote within a field"},
		{record: `u1,"a"b,,`, err: "a quote within a field"},
		{record: `u1,"a,,`, err: "not closed"},
		{record: "u\xff,,,", err: "not UTF-8"},
	} {
		s, err := open(strings.NewReader(header+c.record+"\r\n"), CSV, '|', place{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		r, err := s.next()
		if err != nil || r.line != 2 {
			t.Fatalf("%s: line %d, %v", c.record, r.line, err)
		}
		u, err := s.user(r)
		if c.err == "" && (err != nil || !same(u, c.want)) {
			t.Errorf("%s: got %+v, %v", c.record, u, err)
		}
		if c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: got %+v, %v, want an error with %q", c.record, u, err, c.err)
		}
	}
	for text, want := range map[string]string{
		"": "no header", "name,tags\n": "no column account", "account,a,a\n": `"a" twice`, "account,tags,tags\n": "twice",
		"account,city,attributes.city\n": "twice", "account,\n": "empty", "account,\"a\n": "the header",
	} {
		if _, err := open(strings.NewReader(text), CSV, '|', place{}, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("header %q: got %v, want an error with %q", text, err, want)
		}
	}
}

// What is wrong with one line does not spoil others, whatever its length and quotes.
func TestOneBadLineIsOneBadLine(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 3*maxRecord)
	text := "\ufeffaccount,tags\n" +
		"u1,\"a\n" + // 2: not closed
		"u2,\"b\"\n" + // 3
		"\n" +
		"u3," + long + "\n" + // 5
		"u4,\"" + long + "\n" + // 6
		"u5,\"c\nd\"\r\n" + // 7 and 8
		"u6,\"e" // 9: not closed
	want := []struct {
		line int
		ok   bool
	}{{2, false}, {3, true}, {5, false}, {6, false}, {7, true}, {9, false}}
	for name, r := range map[string]io.Reader{"whole": strings.NewReader(text), "halves": iotest.HalfReader(strings.NewReader(text)), "bytes": iotest.OneByteReader(strings.NewReader(text))} {
		s, err := open(r, CSV, '|', place{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			r, err := s.next()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.user(r); r.line != w.line || (err == nil) != w.ok {
				t.Errorf("%s: line %d, %v, want line %d, fine: %t", name, r.line, err, w.line, w.ok)
			}
		}
		if _, err := s.next(); !errors.Is(err, io.EOF) || s.offset != int64(len(text)) {
			t.Errorf("%s: at the end %v, offset %d of %d", name, err, s.offset, len(text))
		}
	}
}

// all reads every record from a place on, with the place behind each.
func all(t testing.TB, text []byte, f Format, from place) (texts []string, places []place) {
	t.Helper()
	rs := newRecords(iotest.HalfReader(bytes.NewReader(text[from.Offset:])), f, from.Offset, from.Lines)
	for {
		r, err := rs.next()
		if errors.Is(err, io.EOF) {
			if rs.offset != int64(len(text)) {
				t.Fatalf("ended at %d of %d", rs.offset, len(text))
			}
			return texts, places
		}
		if err != nil {
			t.Fatal(err)
		}
		texts, places = append(texts, string(r.text)), append(places, place{rs.offset, rs.lines})
	}
}

// From behind any record on there are the same records as without a stop.
func FuzzRecords(f *testing.F) {
	f.Add([]byte("a,b\n\"c\nd\",e\r\n\n\"x\ny\n"), true)
	f.Add([]byte("{}\n \n{}"), false)
	f.Fuzz(func(t *testing.T, text []byte, isCSV bool) {
		format := NDJSON
		if isCSV {
			format = CSV
		}
		texts, places := all(t, text, format, place{})
		for i, p := range places {
			rest, _ := all(t, text, format, p)
			if !slices.Equal(rest, texts[i+1:]) {
				t.Fatalf("behind %+v: %q, want %q", p, rest, texts[i+1:])
			}
			if p.Lines != bytes.Count(text[:p.Offset], []byte("\n")) {
				t.Fatalf("%+v", p)
			}
		}
	})
}

// Where the standard library's reader takes the whole of a text without \r, ours gives the same fields.
func FuzzCSV(f *testing.F) {
	f.Add([]byte("a,b\n\"c\nd\",\"e\"\"\"\n\n,\n\"x"))
	f.Add([]byte("a\n\"c\nd\",e")) // the end of the text ends a record of two lines
	f.Fuzz(func(t *testing.T, text []byte) {
		form := &csvForm{columns: []string{"account", "tags", "x"}, separator: '|'}
		texts, _ := all(t, text, CSV, place{})
		var ours [][]string
		for _, r := range texts {
			if u, err := form.parse([]byte(r)); err == nil && len(u.Tags) > 0 && !slices.Equal(splitTags(joinTags(u.Tags, '|'), '|'), u.Tags) {
				t.Fatalf("tags %q", u.Tags)
			}
			if fields, err := csvFields([]byte(r)); err == nil {
				ours = append(ours, fields)
			}
		}
		std := csv.NewReader(bytes.NewReader(text))
		std.FieldsPerRecord = -1
		theirs, err := std.ReadAll()
		if err != nil || bytes.ContainsAny(text, "\r") || slices.ContainsFunc(theirs, blank) || len(text) > maxRecord {
			return
		}
		if len(ours)+len(theirs) > 0 && !reflect.DeepEqual(ours, theirs) {
			t.Fatalf("ours %q, theirs %q", ours, theirs)
		}
	})
}

// blank says whether a record is white space only: those are passed over here.
func blank(fields []string) bool { return len(fields) == 1 && strings.TrimSpace(fields[0]) == "" }

// A line that is taken is written so that the same is read again.
func FuzzNDJSON(f *testing.F) {
	f.Add([]byte(`{"account":"u1","attributes":{"city":"<x>","n":1e3},"tags":["a"]}`))
	f.Add([]byte(`{"accountBase64":"/wA="}`))
	f.Add([]byte(`{"account":"\ud83d\ude00"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		u, err := parseNDJSON(text)
		if err != nil || u.Check() != nil {
			return
		}
		line, err := appendNDJSON(nil, &u)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseNDJSON(line)
		if err != nil || !same(u, again) {
			t.Fatalf("%s became %s: %v", text, line, err)
		}
	})
}

// anyUser is drawn with what breaks formats in it.
func anyUser(t *rapid.T) User {
	piece := rapid.SampledFrom([]string{"a", "b", "\\", "|", ",", `"`, "\n", "\r", "\r\n", " ", "\x00", "深", "\ufeff", "<", "\u2028", "😀", "\\|"})
	text := func(name string) string {
		return strings.Join(rapid.SliceOfN(piece, 1, 10).Draw(t, name), "")
	}
	u := User{Account: text("account")}
	if rapid.IntRange(0, 9).Draw(t, "raw") == 0 {
		u.Account = "\xff" + u.Account
	}
	u.Account = u.Account[:min(len(u.Account), push.MaxAccountLen)]
	u.Tags = distinct(rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(piece, 1, 8).Draw(t, "tag"), "")
	}), 0, 30).Draw(t, "tags"))
	slices.Sort(u.Tags)
	for _, name := range rapid.SliceOfDistinct(rapid.SampledFrom([]string{"tags", "account", "attributes.tags", "city", `a"b`, "x,y", "l\r\nm"}), rapid.ID[string]).Draw(t, "names") {
		if u.Attributes == nil {
			u.Attributes = map[string]string{}
		}
		u.Attributes[name] = text("value")
	}
	return u
}

// Both formats give back what was written.
func TestFormatsRoundTrip(t *testing.T) {
	t.Parallel()
	names := []string{"tags", "account", "attributes.tags", "city", `a"b`, "x,y", "l\r\nm"}
	rapid.Check(t, func(t *rapid.T) {
		users := rapid.SliceOfN(rapid.Custom(anyUser), 0, 5).Draw(t, "users")
		for _, f := range []Format{NDJSON, CSV} {
			var b bytes.Buffer
			var w userWriter = &ndjsonWriter{out: &b}
			if f == CSV {
				var err error
				if w, err = newCSVWriter(&b, names, '|'); err != nil {
					t.Fatal(err)
				}
			}
			for i := range users {
				if err := w.write(&users[i]); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.flush(); err != nil {
				t.Fatal(err)
			}
			s, err := open(&b, f, '|', place{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range users {
				r, err := s.next()
				if err != nil {
					t.Fatal(err)
				}
				if u, err := s.parse(r.text); err != nil || !same(u, want) {
					t.Fatalf("%s: %+v became %+v, %v", f, want, u, err)
				}
			}
			if _, err := s.next(); !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
		}
	})
}
