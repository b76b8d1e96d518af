package history

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// keep counts a push again, as the worker of TASKS does, and puts the entry into the bucket.
func (w *world) keep(s *sent) *wire.Task {
	w.Helper()
	known, rev, err := w.h.Task(w.Context(), app, s.Seq)
	if !errors.Is(err, ErrNoPush) {
		w.must(err)
	}
	t, err := w.h.Count(w.Context(), app, s.Seq, known)
	w.must(err)
	_, _, err = w.b.Publish(w.Context(), broker.Message{Subject: wire.TaskSubject(app, s.Seq), Data: wire.EncodeTask(t)}.After(rev))
	w.must(err)
	return t
}

// forget deletes a push from the logs, with its revocation, audiences and receipts.
func (w *world) forget(s *sent) {
	w.Helper()
	w.must(w.b.Delete(w.Context(), wire.PushesStream, uint64(s.Seq)))
	for _, of := range []struct{ stream, filter string }{
		{wire.PushesStream, wire.RevocationSubject(app, s.Seq)},
		{wire.AudiencesStream, strings.Replace(wire.AudienceSubject(app, 0, s.Seq), ".0.", ".*.", 1)},
		{wire.NoticesStream, wire.NoticesFilter(app, s.Seq)},
		{wire.ReceiptsStream, strings.Replace(wire.ReceiptSubject(app, 0, s.Seq), ".0.", ".*.", 1)},
	} {
		w.must(w.b.Fold(w.Context(), broker.FoldConfig{Stream: of.stream, Filter: of.filter, StopWhenRead: true, Handle: func(m *broker.Message) error {
			return w.b.Delete(w.Context(), of.stream, m.Seq)
		}}))
	}
}

// Whatever happened, and whenever pushes were counted between, what stays of them when the logs have forgotten them is
// what the logs said at the end.
func TestTasksSayWhatTheLogsSaid(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, seed)
			for i := range 40 { // three shards
				w.register(fmt.Sprint("u", i))
			}
			for range 120 {
				w.step()
				if n := len(w.pushes); n > 0 && w.rand.IntN(4) == 0 {
					w.keep(w.pushes[w.rand.IntN(n)])
				}
			}
			tallies := make([]*Tally, len(w.pushes))
			for i, s := range w.pushes {
				kept := w.keep(s)
				fresh, err := w.h.Count(t.Context(), app, s.Seq, nil)
				w.must(err)
				if !reflect.DeepEqual(kept, fresh) {
					t.Errorf("push %d: counted bit by bit %+v, at once %+v", s.Seq, kept, fresh)
				}
				tallies[i], err = w.h.Tally(t.Context(), s.Push)
				w.must(err)
			}
			for _, s := range w.pushes {
				w.forget(s)
			}
			for i, s := range w.pushes {
				got, err := w.h.Tally(t.Context(), s.Push)
				if w.must(err); *got != *tallies[i] {
					t.Errorf("push %d: %+v, the logs said %+v", s.Seq, got, tallies[i])
				}
				w.checkTally(s)
				k, err := w.h.Know(t.Context(), app, s.Seq)
				if w.must(err); k.Past == nil || k.TaskID() != s.TaskID() || k.Sender != "s" || k.Caller != "admin" || !k.At.Equal(s.At) ||
					k.Lifetime != s.Lifetime || k.Condition != s.Condition || k.Past.RevokedAt.IsZero() == s.revoked {
					t.Errorf("push %d: %+v, %+v", s.Seq, k.Push, k.Past)
				}
			}
			list, err := w.h.Past(t.Context(), app, 1<<62, 100)
			w.must(err)
			if len(list) != len(w.pushes) {
				t.Errorf("%d of %d are listed", len(list), len(w.pushes))
			}
			for i, k := range list {
				if want := w.pushes[len(w.pushes)-1-i].Seq; k.Seq != want {
					t.Errorf("number %d is %d, want %d", i, k.Seq, want)
				}
			}
			if page, err := w.h.Past(t.Context(), app, list[2].Seq, 2); err != nil || len(page) != 2 || page[0].Seq != list[3].Seq || page[1].Seq != list[4].Seq {
				t.Errorf("a page: %+v, %v", page, err)
			}
		})
	}
}

// A part that the log has lost stays as it was known, and one that was never known stays unknown.
func TestCountTakesNothingBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	o := w.register("u")
	w.register("v")
	s := w.push(predicateAll, time.Hour)
	if p := w.keep(s).Parts; len(p) != 1 || p[0] != (wire.TaskPart{}) {
		t.Errorf("before it is evaluated: %+v", p)
	}
	w.match(s)
	w.deliver(s, Sent, o)
	known := w.keep(s)
	later := w.push(predicateAll, time.Hour)
	w.match(later)
	m, err := w.b.Last(t.Context(), wire.AudiencesStream, wire.AudienceSubject(app, 0, s.Seq))
	w.must(err)
	w.must(w.b.Delete(t.Context(), wire.AudiencesStream, m.Seq))
	w.deliver(s, Received, o)
	if got := w.keep(s); !reflect.DeepEqual(got, known) || got.Parts[0].Audience != 2 || got.Parts[0].Reached != 1 {
		t.Errorf("%+v, want %+v", got, known)
	}
	got, err := w.h.Count(t.Context(), app, s.Seq, nil)
	w.must(err)
	if got.Parts[0] != (wire.TaskPart{Standing: wire.TaskGone}) {
		t.Errorf("for one who knows nothing: %+v", got.Parts)
	}
	for _, of := range []struct {
		app push.AppID
		seq push.Seq
	}{{app, 0}, {app, 99}, {app + 1, s.Seq}} {
		if _, err := w.h.Know(t.Context(), of.app, of.seq); !errors.Is(err, ErrNoPush) {
			t.Errorf("push %d of app %d: %v", of.seq, of.app, err)
		}
	}
	_, _, err = w.b.Publish(t.Context(), broker.Message{Subject: wire.TaskSubject(app, s.Seq), Data: []byte{99}})
	w.must(err)
	w.forget(s)
	if _, err := w.h.Know(t.Context(), app, s.Seq); !errors.Is(err, wire.ErrVersion) {
		t.Errorf("an entry that cannot be read: %v", err)
	}
	if list, err := w.h.Past(t.Context(), app, 1<<62, 1); err != nil || len(list) != 0 {
		t.Errorf("a list with one that cannot be read: %+v, %v", list, err)
	}
}

// A push of which the logs say nothing new is counted again without reading a bitmap.
func BenchmarkCount(b *testing.B) {
	w := newWorld(b, 1)
	for i := range 64 {
		w.register(fmt.Sprint("u", i))
	}
	s := w.push(predicateAll, time.Hour)
	for shard := range s.folded {
		w.audience(s, shard, roaring.BitmapOf(1, 2, 3))
		w.deliver(s, Received, w.b.Sharding().Ordinal(shard, 1))
	}
	known := w.keep(s)
	for _, of := range []struct {
		name  string
		known *wire.Task
	}{{"anew", nil}, {"again", known}} {
		b.Run(of.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := w.h.Count(b.Context(), app, s.Seq, of.known); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
