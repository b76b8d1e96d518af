package vendorhttp

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/carillon-push/carillon/deliver/channel"
	"github.com/carillon-push/carillon/pkg/push"
)

// The oracle is channel.Fit itself: the message that is left is the one whose encoding it gives, and not the last it tried.
func TestFit(t *testing.T) {
	t.Parallel()
	type message struct{ Title, Text, Rest string }
	rapid.Check(t, func(t *rapid.T) {
		m := message{rapid.String().Draw(t, "title"), rapid.String().Draw(t, "text"), rapid.StringN(0, 60, 80).Draw(t, "rest")}
		was, limit := m, rapid.IntRange(40, 200).Draw(t, "limit")
		want, fits := channel.Fit(limit, m.Title, m.Text, func(title, text string) ([]byte, error) {
			return JSON(message{title, text, was.Rest})
		})
		if got := Fit(&m, limit, &m.Title, &m.Text); got != fits {
			t.Fatalf("%q fits into %d: %t, want %t", was, limit, got, fits)
		}
		b, err := JSON(m)
		if fits && (err != nil || string(b) != string(want) || len(b) > limit || m.Rest != was.Rest) {
			t.Fatalf("%q became %s within %d, want %s", was, b, limit, want)
		}
		if b, _ := JSON(was); len(b) <= limit && m != was {
			t.Fatalf("%q was short enough and became %q", was, m)
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
