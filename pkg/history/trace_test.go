package history

import (
	"bytes"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// The question that all this is for: why did X not get Y.
func TestTheChangeThatWouldHaveMadeTheDifference(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.must(w.dir.SetAttrNames(t.Context(), app, map[uint8]string{0: "city"}))
	o := w.register("late")
	w.change("late", set(0, "Shenzhen"))
	w.register("never")
	w.register("left")
	w.change("left", add("B"))
	w.change("left", remove("B"))
	s := w.push(all(tag("B"), isNot(attr(0, "Beijing"))), time.Hour)
	w.match(s)
	w.change("late", add("B"))

	got := w.trace(s, "late")
	if got.Outcome != Unmatched || got.Ordinal != o || got.Place == 0 || got.Evaluated != got.Place {
		t.Errorf("%+v", got)
	}
	for name, want := range map[string]string{
		"late":  `^did not match: lacked tag "B"; matched only from \S+ \S+ \(log 8\) on \(tag "B" was added\), and the push was evaluated at \S+ \S+ \(log 7\)$`,
		"never": `^did not match: lacked tag "B"$`,
		"left":  `^did not match: lacked tag "B"; had matched until \S+ \S+ \(log 6\) \(tag "B" was removed\)$`,
	} {
		if why := w.trace(s, name).Why; !regexp.MustCompile(want).MatchString(why) {
			t.Errorf("%s: %s\nwant %s", name, why, want)
		}
	}
	var text bytes.Buffer
	w.must(got.WriteText(&text))
	for _, line := range []string{
		`push 1400000001-1 for "late": UNMATCHED`,
		"no  all of, since",
		`no    tag "B", since`,
		"yes   not, since",
		`no      attribute "city" is "Beijing", since`,
		`tag "B" was added (log 8)`,
		"not in the audience (log 7)",
	} {
		if !strings.Contains(text.String(), line) {
			t.Errorf("the text has no %q:\n%s", line, text.String())
		}
	}
	if kinds := kindsOf(got); kinds != "registered accepted cut evaluated changed" {
		t.Errorf("events %s", kinds)
	}
}

func kindsOf(t *Trace) string {
	var kinds []string
	for _, e := range t.Events {
		kinds = append(kinds, string(e.Kind))
	}
	return strings.Join(kinds, " ")
}

// An audience that is gone leaves what receipts tell.
func TestUnknownWhereTheAudienceIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	o := w.register("u")
	w.register("v")
	s := w.push(tag("A"), 0)
	if got := w.trace(s, "u"); got.Outcome != Waiting || got.Matched != nil || got.Clauses[0].Holds == nil || *got.Clauses[0].Holds {
		t.Errorf("before it is evaluated: %+v", got)
	}
	w.match(w.push(tag("A"), 0))
	if tally, err := w.h.Tally(t.Context(), s.Push); err != nil || tally.Unknown != 1 {
		t.Errorf("%+v, %v", tally, err)
	}
	if got := w.trace(s, "u"); got.Outcome != Unknown {
		t.Errorf("%+v", got)
	}
	w.deliver(s, Received, o)
	if got := w.trace(s, "u"); got.Outcome != Received || got.Matched != nil {
		t.Errorf("with a receipt: %+v", got)
	}
	w.must(w.b.Delete(t.Context(), wire.PushesStream, uint64(s.Seq)))
	if _, err := w.h.Trace(t.Context(), app, s.Seq, "u"); !errors.Is(err, ErrNoPush) {
		t.Errorf("without the push: %v", err)
	}
	for _, of := range []struct {
		app push.AppID
		seq push.Seq
	}{{app, 0}, {app, 99}, {app + 1, 2}} {
		if _, err := w.h.Push(t.Context(), of.app, of.seq); !errors.Is(err, ErrNoPush) {
			t.Errorf("push %d of app %d: %v", of.seq, of.app, err)
		}
	}
}

// A matcher that takes somebody who does not match is found out, unless a change came while it was at it.
func TestFault(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	o := w.register("u")
	w.register("v")
	s := w.push(tag("A"), 0)
	w.change("u", add("A"))
	w.audience(s, 0, roaring.BitmapOf(uint32(o), uint32(w.names["v"])))
	if got := w.trace(s, "v"); got.Fault == "" {
		t.Errorf("%+v", got)
	}
	if got := w.trace(s, "u"); got.Fault != "" || !*got.Clauses[0].Holds || !*got.Matched {
		t.Errorf("with a change that the matcher saw: %+v", got)
	}
}

func TestExpired(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	o := w.register("u")
	w.register("v")
	s := w.push(predicateAll, time.Minute)
	w.match(s)
	w.deliver(s, Sent, o)
	w.h.now = func() time.Time { return s.At.Add(2 * time.Minute) }
	if got := w.trace(s, "v"); got.Outcome != Expired || kindsOf(got) != "registered accepted cut evaluated expired" {
		t.Errorf("%s, %+v", kindsOf(got), got)
	}
	if got := w.trace(s, "u"); got.Outcome != Sent || kindsOf(got) != "registered accepted cut evaluated sent" {
		t.Errorf("%s, %+v", kindsOf(got), got)
	}
	if tally, err := w.h.Tally(t.Context(), s.Push); err != nil || *tally != (Tally{Audience: 2, Sent: 1, Expired: 1}) {
		t.Errorf("%+v, %v", tally, err)
	}
}
