package vendorhttp

import (
	"strings"
	"testing"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/carillon-push/carillon/deliver/channel"
	"github.com/carillon-push/carillon/pkg/push"
)

var measures = map[string]Measure{"units": Units, "columns": Columns, "encoded": Encoded}

func TestCut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		m     Measure
		s     string
		limit int
		want  string
	}{
		{Units, "abc", 3, "abc"}, {Units, "abcd", 3, "abc"}, {Units, "", 3, ""}, {Units, "abc", 0, ""},
		{Units, "三千公里", 3, "三千公"}, {Columns, "三千公里", 5, "三千"}, {Encoded, "三千", 5, "三"},
		{Units, "a😀😀", 4, "a😀"},                      // two units each
		{Units, "ae\u0301x", 2, "a"},                 // a letter keeps its accent
		{Units, "a👩\u200d👩b", 5, "a"},                // a family stays together
		{Units, "a👍🏽b", 3, "a"},                      // a thumb keeps its colour
		{Units, "a🇨🇳🇨🇳", 7, "a🇨🇳"},                   // a flag is not halved
		{Units, "hello world", 6, "hello"},           // no space at the end
		{Units, "e\u0301\u0301\u0301", 2, "e\u0301"}, // what is too long by itself is cut all the same
	} {
		if got := c.m.Cut(c.s, c.limit); got != c.want {
			t.Errorf("%q cut to %d is %q, want %q", c.s, c.limit, got, c.want)
		}
	}
}

// The oracle cuts at code points, one by one.
func TestCutAgainstCodePoints(t *testing.T) {
	t.Parallel()
	piece := rapid.SampledFrom([]string{"a", " ", "\"", "\\", "\n", "\x01", "词", "é", "\u0301", "😀", "👩\u200d👩", "🇨🇳", "\u2028", "\xff"})
	rapid.Check(t, func(t *rapid.T) {
		m := measures[rapid.SampledFrom([]string{"units", "columns", "encoded"}).Draw(t, "measure")]
		s, limit := strings.Join(rapid.SliceOfN(piece, 0, 30).Draw(t, "text"), ""), rapid.IntRange(0, 60).Draw(t, "limit")
		longest, n := 0, 0
		for i, r := range s {
			if n += m(r); n > limit {
				break
			}
			_, size := utf8.DecodeRuneInString(s[i:])
			longest = i + size
		}
		got := m.Cut(s, limit)
		switch {
		case !strings.HasPrefix(s, got), m.Length(got) > limit, len(got) > longest:
			t.Fatalf("%q cut to %d is %q", s, limit, got)
		case longest == len(s) && got != s:
			t.Fatalf("%q fits into %d, and is cut to %q", s, limit, got)
		case longest > 0 && got == "":
			t.Fatalf("%q cut to %d leaves nothing", s, limit)
		}
	})
}

func TestMeasures(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "text")
		if got, want := Measure(Units).Length(s), len(utf16.Encode([]rune(s))); got != want {
			t.Fatalf("%q has %d units, want %d", s, got, want)
		}
		b, err := JSON(s)
		if err != nil {
			t.Fatal(err)
		}
		if got := Measure(Encoded).Length(s); got < len(b)-2 {
			t.Fatalf("%q has %d bytes in JSON, and is measured as %d", s, len(b)-2, got)
		}
	})
}

func TestFit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := struct{ Title, Text, Rest string }{
			rapid.String().Draw(t, "title"), rapid.String().Draw(t, "text"), rapid.StringN(0, 60, 80).Draw(t, "rest"),
		}
		limit := rapid.IntRange(40, 200).Draw(t, "limit")
		title, text := m.Title, m.Text
		fits := Fit(&m, limit, &m.Title, &m.Text)
		if b, _ := JSON(m); fits && len(b) > limit {
			t.Fatalf("%s has %d bytes, more than %d", b, len(b), limit)
		}
		m.Title, m.Text = title, text
		if b, _ := JSON(m); len(b) <= limit-limit/2 && fits {
			again := m
			Fit(&again, limit, &again.Title, &again.Text)
			if again != m && Measure(Encoded).Length(title) <= limit/4 {
				t.Fatalf("%q was short enough and became %q", m, again)
			}
		}
	})
}

func TestTitleAndLife(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ title, app, want string }{
		{"title", "app", "title"}, {"", "app", "app"}, {" \n", "app", "app"}, {"", "", "text"}, {"", " ", "text"},
	} {
		if got := Title(&channel.Notice{Title: c.title, Text: "text"}, c.app); got != c.want {
			t.Errorf("%q of %q is shown as %q", c.title, c.app, got)
		}
	}
	now := time.Now()
	for left, want := range map[time.Duration]time.Duration{
		-time.Hour: 0, 0: 0, time.Millisecond: time.Second, 90*time.Second + 1: 90 * time.Second, 1000 * time.Hour: 24 * time.Hour,
	} {
		got, ok := Life(&channel.Notice{Expire: now.Add(left)}, now, 24*time.Hour)
		if got != want || ok != (want > 0) {
			t.Errorf("with %s left it is %s, %t", left, got, ok)
		}
	}
	for seq, want := range map[push.Seq]int32{1: 1, 1<<31 - 1: 1<<31 - 1, 1 << 31: 0, 1<<63 + 7: 7} {
		if got := NotifyID(&channel.Notice{Seq: seq}); got != want {
			t.Errorf("%d is shown as %d", seq, got)
		}
	}
}
