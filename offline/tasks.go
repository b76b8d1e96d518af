package offline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/history"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// tasksShard is the shard whose first worker keeps the app's entries of TASKS: the one that every app with users has.
const tasksShard push.Shard = 0

// tasks keeps an app's entries of the TASKS bucket: an entry a push, with the counts of all shards as the logs give them.
//
// A push is counted when it is young, ever more seldom as it becomes older, and ever more often again as the end of its log
// comes closer (next): some twenty times in all, whatever happens to it, the last time within a checkpoint's interval of
// the end. Nearly all of these looks find that no shard has a new receipt, and then nothing is read further and nothing
// written. So what is lost when no worker lives for days is what came since the last look, and only if the logs end
// meanwhile.
//
// An entry is what the logs and the entry before it tell together, and its counts only grow: whoever dies between any two
// lines, or counts at the same time as another, has taken nothing away.
type tasks struct {
	o       *Offline
	app     push.AppID
	hold    *broker.Hold
	log     *slog.Logger
	history *history.History

	mu     sync.Mutex
	pushes map[push.Seq]look // that the log has, and that are to be counted once more
}

// look says when a push is to be counted.
type look struct {
	at, end time.Time // of its log
	due     time.Time
}

func newTasks(o *Offline, h *broker.Hold) *tasks {
	return &tasks{
		o: o, app: h.App, hold: h, log: o.log.With("app", h.App), history: history.New(o.b, o.log), pushes: map[push.Seq]look{},
	}
}

// run counts whenever this worker is the first of the shard, until ctx ends.
func (t *tasks) run(ctx context.Context) error {
	for {
		rank, changed := t.hold.Rank()
		if rank == 0 {
			if err := t.first(ctx); err != nil {
				return err
			}
			continue
		}
		select { // another view of the members wakes it, ctx ends it
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// first counts until another worker is the first of the shard, or ctx ends; only the latter is an error.
func (t *tasks) first(ctx context.Context) error {
	here, leave := context.WithCancel(ctx)
	defer leave()
	clear(t.pushes)
	g, here := errgroup.WithContext(here)
	g.Go(func() error {
		return t.o.b.Fold(here, broker.FoldConfig{Stream: wire.PushesStream, Filter: wire.PushFilter(t.app), Handle: t.note})
	})
	g.Go(func() error {
		tick := time.NewTicker(t.o.cfg.Checkpoint)
		defer tick.Stop()
		for {
			rank, changed := t.hold.Rank()
			if rank != 0 {
				leave()
			}
			select { // the ticker or another view of the members wakes it, here ends it
			case <-here.Done():
				return here.Err()
			case <-changed:
			case <-tick.C:
				t.count(here)
			}
		}
	})
	if err := g.Wait(); ctx.Err() != nil || !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// note folds one message of PUSHES. A revocation makes its push due.
func (t *tasks) note(m *broker.Message) error {
	p, err := wire.DecodePush(m.Data, push.Seq(m.Seq))
	if err != nil {
		t.o.metrics.corrupt.Inc()
		t.log.Error("a push cannot be read and is not counted", "seq", m.Seq, "err", err)
		return nil
	}
	kept := t.o.b.Retention()
	if m.TTL > 0 { // it was accepted under another one, perhaps
		kept = min(kept, m.TTL)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if p.Revokes == 0 {
		t.pushes[p.Seq] = look{m.Time, m.Time.Add(kept), m.Time.Add(t.o.cfg.Checkpoint)}
	} else if l, ok := t.pushes[p.Revokes]; ok {
		l.due = time.Now() // on the clock of count, which may be looking at the push
		t.pushes[p.Revokes] = l
	}
	return nil
}

// due are the pushes that are to be counted now, the oldest first: theirs are the logs that end next.
func (t *tasks) due(now time.Time) []push.Seq {
	t.mu.Lock()
	defer t.mu.Unlock()
	var due []push.Seq
	for seq, l := range t.pushes {
		if !l.due.After(now) {
			due = append(due, seq)
		}
	}
	slices.Sort(due)
	return due
}

// count counts the pushes that are due.
func (t *tasks) count(ctx context.Context) {
	for _, seq := range t.due(time.Now()) {
		began := time.Now()
		err := t.keep(ctx, seq)
		if ctx.Err() != nil {
			return
		}
		counted := err == nil || errors.Is(err, history.ErrNoPush)
		if !counted {
			t.log.Warn("count a push; will count again", "push", seq, "err", err)
		}
		t.mu.Lock()
		l := t.pushes[seq]
		next, more := l.next(began, t.o.cfg.Checkpoint, counted)
		if !more || err != nil && counted {
			delete(t.pushes, seq)
		} else if l.due.Before(began) { // else a revocation has come meanwhile, and it is due again
			l.due = next
			t.pushes[seq] = l
		}
		t.mu.Unlock()
	}
}

// next is when a push that was looked at is to be looked at again: when it is four times as old, or when its log has a
// quarter of the time left, whichever is first, and not before the interval is over; sooner when it could not be counted.
// more is false when that is beyond the end.
func (l look) next(looked time.Time, interval time.Duration, counted bool) (due time.Time, more bool) {
	pause := min(3*looked.Sub(l.at), l.end.Sub(looked)/4*3)
	if !counted {
		pause /= 12
	}
	due = looked.Add(max(interval, pause))
	return due, due.Before(l.end)
}

// keep brings a push's entry up to what the logs hold. The error is history.ErrNoPush when they have it no more.
func (t *tasks) keep(ctx context.Context, seq push.Seq) error {
	subject := wire.TaskSubject(t.app, seq)
	for range attempts {
		known, rev, err := t.history.Task(ctx, t.app, seq)
		if errors.Is(err, wire.ErrCorrupt) || errors.Is(err, wire.ErrVersion) {
			t.o.metrics.corrupt.Inc()
			t.log.Error("what is kept of a push cannot be read; it is counted anew", "push", seq, "err", err)
		} else if err != nil && !errors.Is(err, history.ErrNoPush) {
			return err
		}
		counted, err := t.history.Count(ctx, t.app, seq, known)
		if err != nil {
			return err
		}
		data := wire.EncodeTask(counted)
		left := (time.Until(counted.At.Add(t.o.b.TasksRetention())) + time.Second - 1).Truncate(time.Second)
		if known != nil && slices.Equal(data, wire.EncodeTask(known)) || left <= 0 {
			return nil
		}
		_, _, err = t.o.b.Publish(ctx, broker.Message{Subject: subject, Data: data, TTL: left}.After(rev))
		if err == nil {
			t.o.metrics.tasks.Inc()
			return nil
		}
		if !errors.Is(err, broker.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("%s: %w", subject, broker.ErrConflict)
}
