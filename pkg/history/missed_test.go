package history

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// again accepts a replay of a push, and returns when every shard has it in its log.
func (w *world) again(of *sent) *sent {
	w.Helper()
	p := *of.Push
	p.Seq, p.Again, p.At, p.Lifetime = 0, of.Seq, time.UnixMilli(time.Now().UnixMilli()), time.Hour
	data, err := wire.EncodePush(&p)
	w.must(err)
	s := &sent{
		Push: &p, subject: wire.PushSubject(app, wire.ReplayName(of.Seq)), folded: map[push.Shard]uint64{},
		part: map[push.Shard]*roaring.Bitmap{}, had: map[push.Ordinal]Outcome{},
	}
	seq, _, err := w.b.Publish(w.Context(), broker.Message{Subject: s.subject, Data: data, TTL: w.b.Retention()}.Once())
	w.must(err)
	p.Seq = push.Seq(seq)
	w.pushes = append(w.pushes, s)
	for shard := range of.folded {
		s.folded[shard] = w.await(wire.UsersStream(app, shard), s.subject)
	}
	return s
}

// A trace of a replay says who had missed the push, and goes by no clause.
func TestTraceOfAReplay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	of := map[string]push.Ordinal{}
	for _, name := range []string{"had", "missed", "stranger", "gone", "came back"} {
		of[name] = w.register(name)
		if name != "stranger" {
			w.change(name, add("A"))
		}
	}
	first := w.push(tag("A"), 0)
	w.match(first)
	w.deliver(first, Received, of["had"])
	w.deliver(first, Sent, of["missed"])
	w.delete("gone")
	w.delete("came back")
	w.register("came back")
	w.change("stranger", add("A")) // matches now, and the push was not for it
	w.change("missed", remove("A"))
	second := w.again(first)
	w.audience(second, 0, roaring.BitmapOf(uint32(of["missed"])))
	w.register("new")

	id := string(first.TaskID())
	for name, want := range map[string]struct {
		outcome Outcome
		why     string
	}{
		"had":       {Unmatched, "replay of " + id + ": had received it, as was acknowledged by "},
		"missed":    {Pending, "replay of " + id + ": had missed it, and has not logged in since"},
		"stranger":  {Unmatched, "replay of " + id + ": it was not for the user"},
		"gone":      {Deleted, "the account was deleted at "},
		"came back": {Unmatched, "replay of " + id + ": it was not for the user"},
		"new":       {Unregistered, "the account was registered at "},
		"nobody":    {Unregistered, "there was no such account"},
	} {
		got := w.trace(second, name)
		if got.Outcome != want.outcome || !strings.HasPrefix(got.Why, want.why) || got.Fault != "" || len(got.Clauses) > 0 || string(got.Again) != id {
			t.Errorf("%s: %+v\nwant %s, %s", name, got, want.outcome, want.why)
		}
	}
	var text bytes.Buffer
	w.must(w.trace(second, "missed").WriteText(&text))
	for _, part := range []string{", as a replay of " + id, "in the audience: had missed " + id} {
		if !strings.Contains(text.String(), part) {
			t.Errorf("the text has no %q:\n%s", part, text.String())
		}
	}
	w.deliver(second, Received, of["missed"])
	if got := w.trace(second, "missed"); got.Outcome != Received {
		t.Errorf("once it has come: %+v", got)
	}
	if tally, err := w.h.Tally(t.Context(), second.Push); err != nil || *tally != (Tally{Audience: 1, Received: 1}) {
		t.Errorf("%+v, %v", tally, err)
	}
	if got, err := w.h.Replay(t.Context(), first.Push); err != nil || got.Seq != second.Seq {
		t.Errorf("the push was sent again as %+v, %v", got, err)
	}
	if got, err := w.h.Replay(t.Context(), second.Push); err != nil || got != nil {
		t.Errorf("the replay was sent again as %+v, %v", got, err)
	}
	w.must(w.b.Delete(t.Context(), wire.PushesStream, uint64(first.Seq)))
	if got := w.trace(second, "had"); got.Outcome != Unmatched || got.Fault != "" || !strings.Contains(got.Why, "no longer in the logs") {
		t.Errorf("without the push that it is of: %+v", got)
	}
}

// A matcher that sends a push again to who had it, or to whom it never was for, or not to who missed it, is found out.
func TestFaultOfAReplay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	of := map[string]push.Ordinal{}
	for _, name := range []string{"had", "missed", "stranger"} {
		of[name] = w.register(name)
	}
	w.change("stranger", add("A"))
	first := w.push(isNot(tag("A")), 0)
	w.match(first)
	w.deliver(first, Opened, of["had"])
	second := w.again(first)
	w.audience(second, 0, roaring.BitmapOf(uint32(of["had"]), uint32(of["stranger"])))
	for name := range of {
		if got := w.trace(second, name); got.Fault == "" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	w.deliver(first, Received, of["missed"]) // it may have been there when the replay was evaluated
	if got := w.trace(second, "missed"); got.Fault != "" {
		t.Errorf("with a receipt: %+v", got)
	}
}
