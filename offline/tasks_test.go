package offline

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/history"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// accept puts a push into the log, or with revokes a revocation.
func (h *bench) accept(revokes push.Seq) *push.Push {
	h.Helper()
	p := &push.Push{App: app, Caller: "admin", At: time.UnixMilli(time.Now().UnixMilli()), Lifetime: time.Hour, Revokes: revokes}
	subject := wire.RevocationSubject(app, revokes)
	if revokes == 0 {
		p.Sender, p.Condition, p.Body = "s", "all", []byte("[]")
		subject = wire.PushSubject(app, fmt.Sprint(time.Now().UnixNano()))
	}
	data, err := wire.EncodePush(p)
	if err != nil {
		h.Fatal(err)
	}
	p.Seq = push.Seq(h.publish(subject, data, "0"))
	return p
}

// sent is a receipt of users to whose connections a push was given.
func (h *bench) sent(s push.Shard, seq push.Seq, users ...uint32) {
	h.Helper()
	data, err := wire.EncodeReceipt(wire.Receipt{Sent: roaring.BitmapOf(users...)})
	if err != nil {
		h.Fatal(err)
	}
	h.publish(wire.ReceiptSubject(app, s, seq), data, "0")
}

// kept waits for an entry of TASKS that pleases.
func (h *bench) kept(seq push.Seq, pleases func(*wire.Task) bool) *wire.Task {
	h.Helper()
	var task *wire.Task
	done := errors.New("kept")
	err := h.b.Fold(h.Context(), broker.FoldConfig{
		Stream: wire.TasksStream, Filter: wire.TaskSubject(app, seq),
		Handle: func(m *broker.Message) (err error) {
			if task, err = wire.DecodeTask(m.Data); err == nil && pleases(task) {
				return done
			}
			return err
		},
	})
	if !errors.Is(err, done) {
		h.Fatal(err)
	}
	return task
}

// The counts of all shards come into one entry, also such as other workers hold, and with the time that is left of it.
func TestTaskOfAPush(t *testing.T) {
	t.Parallel()
	h := newBench(t, 4, 0, 3)
	p := h.accept(0)
	e := p.Expire()
	h.audience(0, p.Seq, e, 1, 2, 3, 4)
	h.sent(0, p.Seq, 1, 2, 9) // one of whom it never was for
	h.receipt(0, p.Seq, e, 2, 3)
	h.audience(3, p.Seq, e, 5)
	h.run(h.b, tick)
	want := []wire.TaskPart{
		{Shard: 0, Standing: wire.TaskCounted, Audience: 4, Reached: 3, Received: 2, Opened: 1, Receipts: 2},
		{Shard: 3, Standing: wire.TaskCounted, Audience: 1},
	}
	got := h.kept(p.Seq, func(t *wire.Task) bool { return reflect.DeepEqual(t.Parts, want) })
	if !got.At.Equal(p.At) || got.Lifetime != time.Hour || got.Sender != "s" || got.Caller != "admin" || got.Condition != "all" || !got.RevokedAt.IsZero() {
		t.Errorf("%+v", got)
	}
	m, err := h.b.Last(t.Context(), wire.TasksStream, wire.TaskSubject(app, p.Seq))
	if err != nil {
		t.Fatal(err)
	}
	most := h.b.TasksRetention()
	if ttl, err := time.ParseDuration(m.Header["Nats-TTL"]); err != nil || ttl > most || ttl < most-time.Minute {
		t.Errorf("its TTL is %v, %v: want what is left of %v", ttl, err, most)
	}
	h.receipt(3, p.Seq, e, 5)
	r := h.accept(p.Seq) // is seen at once, with all that came before
	got = h.kept(p.Seq, func(t *wire.Task) bool { return !t.RevokedAt.IsZero() })
	if !got.RevokedAt.Equal(r.At) || got.Parts[1].Received != 1 {
		t.Errorf("%+v", got)
	}
	counts := history.New(h.b, slog.New(slog.DiscardHandler))
	before, err := counts.Tally(t.Context(), p)
	if err != nil || *before != (history.Tally{Audience: 5, Received: 3, Opened: 1, Sent: 1, Withheld: 1}) {
		t.Errorf("the logs say %+v, %v", before, err)
	}
	if err := h.b.Delete(t.Context(), wire.PushesStream, uint64(p.Seq)); err != nil {
		t.Fatal(err)
	}
	if after, err := counts.Tally(t.Context(), p); err != nil || *after != *before {
		t.Errorf("without the log %+v, %v: want %+v", after, err, before)
	}
}

// Receipts cost no writes of their own: an entry is written when it is looked at, which is ever more seldom.
func TestTasksAreWrittenSeldom(t *testing.T) {
	t.Parallel()
	h := newBench(t, 4, 0)
	p := h.accept(0)
	began := time.Now()
	h.audience(0, p.Seq, p.Expire(), 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
	h.run(h.b, tick)
	h.kept(p.Seq, func(*wire.Task) bool { return true })
	for n := range uint32(160) {
		h.receipt(0, p.Seq, p.Expire(), n/10)
	}
	h.accept(p.Seq)
	h.kept(p.Seq, func(t *wire.Task) bool { return !t.RevokedAt.IsZero() && t.Parts[0].Received == 16 })
	l, looks := look{at: began, end: began.Add(h.b.Retention())}, uint64(2)
	for due, _ := l.next(began, tick, true); due.Before(time.Now()); due, _ = l.next(due, tick, true) {
		looks++
	}
	if last, err := h.b.LastSeq(t.Context(), wire.TasksStream); err != nil || last > looks {
		t.Errorf("%d writes, %v: want at most one for each of %d looks", last, err, looks)
	}
}

// The end of a push in the log is that of its own message, also when the retention has changed since.
func TestTheEndOfALog(t *testing.T) {
	t.Parallel()
	h := newBench(t, 4, 0)
	o, err := New(Default(), h.b, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	k := newTasks(o, &broker.Hold{App: app})
	data, err := wire.EncodePush(&push.Push{App: app, At: time.Now(), Condition: "all", Body: []byte("[]")})
	if err != nil {
		t.Fatal(err)
	}
	for n, c := range []struct{ ttl, want time.Duration }{
		{0, h.b.Retention()}, {h.b.Retention() / 2, h.b.Retention() / 2}, {2 * h.b.Retention(), h.b.Retention()},
	} {
		seq, _, err := h.b.Publish(t.Context(), broker.Message{Subject: wire.PushSubject(app, fmt.Sprint(n)), Data: data, TTL: c.ttl})
		if err != nil {
			t.Fatal(err)
		}
		if err := h.b.Fold(t.Context(), broker.FoldConfig{Stream: wire.PushesStream, Start: seq, StopWhenRead: true, Handle: k.note}); err != nil {
			t.Fatal(err)
		}
		if l := k.pushes[push.Seq(seq)]; l.end.Sub(l.at) != c.want {
			t.Errorf("with a TTL of %v the log has it for %v, want %v", c.ttl, l.end.Sub(l.at), c.want)
		}
	}
	if err := k.note(&broker.Message{Data: []byte{99}, Seq: 9}); err != nil || len(k.pushes) != 3 {
		t.Errorf("one that cannot be read: %v, %d pushes", err, len(k.pushes))
	}
}

// When a push is looked at, over the whole life of its log: seldom, and at the end.
func TestLooks(t *testing.T) {
	t.Parallel()
	at := time.Unix(1700000000, 0)
	for _, retention := range []time.Duration{7 * 24 * time.Hour, 8 * 24 * time.Hour, 366 * 24 * time.Hour} {
		l := look{at: at, end: at.Add(retention)}
		const interval = 5 * time.Second
		var looks []time.Time
		for due, more := at.Add(interval), true; more; due, more = l.next(due, interval, true) {
			looks = append(looks, due)
		}
		if last := looks[len(looks)-1]; l.end.Sub(last) > interval || len(looks) > 30 || !slices.IsSortedFunc(looks, time.Time.Compare) {
			t.Errorf("kept for %v: %d looks, the last %v before the end: %v", retention, len(looks), l.end.Sub(last), looks)
		}
		tries := 0
		for due, more := at.Add(interval), true; more && tries < 1000; due, more = l.next(due, interval, false) {
			tries++
		}
		if tries > 300 {
			t.Errorf("kept for %v: one that cannot be counted is tried %d times", retention, tries)
		}
	}
}

// A worker that dies at any step, or never hears that its write succeeded, beside another one or alone, leaves what the
// next one makes right. What stands at the end is what the logs say.
func TestTasksAfterACrashAtEveryStep(t *testing.T) {
	t.Parallel()
	for n := range 8 {
		t.Run(fmt.Sprint("step ", n), func(t *testing.T) {
			t.Parallel()
			h := newBench(t, 4, 0, 1)
			var mu sync.Mutex
			step := 0
			view := h.b.Faulty(func(string) error {
				mu.Lock()
				defer mu.Unlock()
				if step++; step > n {
					return brokertest.ErrCrash
				}
				return nil
			})
			_, stop := h.run(view, tick)
			h.run(h.b, tick)
			var pushes []*push.Push
			for range 3 {
				p := h.accept(0)
				pushes = append(pushes, p)
				for s := range h.waiting {
					h.audience(s, p.Seq, p.Expire(), 1, 2, 3)
					h.sent(s, p.Seq, 1)
				}
				h.receipt(0, p.Seq, p.Expire(), 1, 2)
			}
			h.answers("with all audiences")
			stop()
			h.accept(pushes[2].Seq)
			_, stop = h.run(h.b, tick)
			defer stop()
			logs := history.New(h.b, slog.New(slog.DiscardHandler))
			for _, p := range pushes {
				want, err := logs.Count(t.Context(), app, p.Seq, nil)
				if err != nil {
					t.Fatal(err)
				}
				h.kept(p.Seq, func(got *wire.Task) bool { return reflect.DeepEqual(got, want) })
			}
		})
	}
}
