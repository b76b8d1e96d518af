package channel

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestCut(t *testing.T) {
	t.Parallel()
	const family = "👨‍👩‍👧" // one character to a reader, 18 bytes, 8 units, 5 code points
	for _, c := range []struct {
		text  string
		limit int
		unit  Unit
		want  string
	}{
		{"hello", 5, Bytes, "hello"},
		{"hello!", 5, Bytes, "he…"},
		{"hello!", 5, UTF16, "hell…"},
		{"hello!", 5, Characters, "hell…"},
		{"你好吗", 9, Bytes, "你好吗"},
		{"你好吗", 8, Bytes, "你…"},
		{"你好吗", 2, Characters, "你…"},
		{"三千公里", 8, Columns, "三千公里"},
		{"三千公里", 7, Columns, "三千…"},
		{"abc三", 4, Columns, "ab…"},
		{"one two three", 8, Characters, "one two…"},
		{"one two three", 9, Characters, "one two…"}, // no space before the ellipsis
		{"e\u0301e\u0301e\u0301", 4, Characters, "e\u0301…"},
		{family + family, 9, UTF16, family + "…"},
		{family + family, 8, UTF16, "👨\u200d👩\u200d…"}, // not one whole: by code points
		{"a" + family, 8, UTF16, "a…"},
		{"😀😀", 3, UTF16, "😀…"},
		{"😀😀", 2, UTF16, "…"},
		{"hello", 3, Bytes, "hel"},
		{"hello", 1, Characters, "h"},
		{"你好", 2, Bytes, ""},
		{"hello", 0, Characters, ""},
		{"a\xffb", 9, Bytes, "a\uFFFDb"},
		{"", 0, Bytes, ""},
	} {
		if got := Cut(c.text, c.limit, c.unit); got != c.want {
			t.Errorf("%q cut to %d (%d) is %q, want %q", c.text, c.limit, c.unit, got, c.want)
		}
	}
}

// anyText has characters of each length, marks and joiners.
func anyText(most int) *rapid.Generator[string] {
	return rapid.StringOfN(rapid.SampledFrom([]rune("ab <\"\\\n\u00e9\u0301你好\u200d👨👧🇩🇪\ufe0f")), 0, most, -1)
}

func TestCutIsAPrefixWithinTheLimit(t *testing.T) {
	t.Parallel()
	count := map[Unit]func(string) int{
		Bytes:      func(s string) int { return len(s) },
		UTF16:      func(s string) int { return len(utf16.Encode([]rune(s))) },
		Characters: utf8.RuneCountInString,
		Columns: func(s string) int {
			return 2*utf8.RuneCountInString(s) - len(strings.Map(func(r rune) rune {
				if r > 127 {
					return -1
				}
				return r
			}, s))
		},
	}
	rapid.Check(t, func(t *rapid.T) {
		s, limit := anyText(40).Draw(t, "text"), rapid.IntRange(0, 60).Draw(t, "limit")
		unit := rapid.SampledFrom([]Unit{Bytes, UTF16, Characters, Columns}).Draw(t, "unit")
		got := Cut(s, limit, unit)
		if count[unit](got) > limit {
			t.Fatalf("%q cut to %d is %q, which has %d", s, limit, got, count[unit](got))
		}
		if count[unit](s) <= limit && got != s {
			t.Fatalf("%q fits into %d and was cut to %q", s, limit, got)
		}
		if !utf8.ValidString(got) || !strings.HasPrefix(s, strings.TrimSuffix(got, "…")) {
			t.Fatalf("%q cut to %d is %q", s, limit, got)
		}
	})
}

type payload struct {
	Title, Text, Ext string
}

func encoding(ext string) func(title, text string) ([]byte, error) {
	return func(title, text string) ([]byte, error) { return json.Marshal(payload{title, text, ext}) }
}

// The oracle of Fit tries all cuts, the longest first.
func TestFitCutsAsLittleAsWillDo(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		title, text, ext := anyText(20).Draw(t, "title"), anyText(40).Draw(t, "text"), anyText(20).Draw(t, "ext")
		limit := rapid.IntRange(30, 250).Draw(t, "limit")
		encode := encoding(ext)
		want := func() []byte {
			if b, _ := encode(title, text); len(b) <= limit {
				return b
			}
			for n := len(text); n >= 4; n-- {
				if b, _ := encode(title, Cut(text, n, Bytes)); len(b) <= limit {
					return b
				}
			}
			for n := len(title); n >= 4; n-- {
				if b, _ := encode(Cut(title, n, Bytes), Cut(text, 4, Bytes)); len(b) <= limit {
					return b
				}
			}
			return nil
		}()
		got, ok := Fit(limit, title, text, encode)
		if ok != (want != nil) || string(got) != string(want) {
			t.Fatalf("%t %s, want %s", ok, got, want)
		}
		var p payload
		if ok && (json.Unmarshal(got, &p) != nil || p.Ext != ext) {
			t.Fatalf("the Ext became %q", p.Ext)
		}
	})
}

func TestFitGivesUpOnTheRest(t *testing.T) {
	t.Parallel()
	if b, ok := Fit(100, "title", "text", encoding(strings.Repeat("x", 200))); ok || b != nil {
		t.Errorf("an Ext over the limit fits as %s", b)
	}
	failing := func(string, string) ([]byte, error) { return nil, json.Unmarshal([]byte("{"), new(int)) }
	if _, ok := Fit(100, "title", "text", failing); ok {
		t.Error("what cannot be encoded fits")
	}
}

func FuzzCut(f *testing.F) {
	f.Add("e\u0301👨‍👩‍👧\xff", 5, uint8(1))
	f.Add("a三千公里", 5, uint8(3))
	f.Fuzz(func(t *testing.T, s string, limit int, unit uint8) {
		u := Unit(unit % 4)
		if got := Cut(s, limit, u); !utf8.ValidString(got) || u.Of(got) > max(limit, 0) {
			t.Errorf("%q cut to %d is %q", s, limit, got)
		}
	})
}
