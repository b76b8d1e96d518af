package callback

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/wire"
)

// teller tells one app's server, from what was published of that.
type teller struct {
	c   *Callback
	app App
	log *slog.Logger

	told  wire.Told
	saved wire.Told
	rev   uint64 // of saved in SETTINGS
	open  *source
	known *lru.Cache[wire.PushPlace, *known]
}

const (
	// maxHeard messages are read ahead; one is three bitmaps of 128 KiB at most.
	maxHeard = 8
	// maxKnown pushes of a shard are remembered; others are read from the broker again. Each is four such bitmaps at most.
	maxKnown = 64
)

func newTeller(c *Callback, app App) *teller {
	t := &teller{c: c, app: app, log: c.log.With("app", app.ID)}
	t.known, _ = lru.New[wire.PushPlace, *known](maxKnown) // fails for a size below one only
	return t
}

// heard is a message of one of the logs.
type heard struct {
	m    *broker.Message
	told *wire.ToldLog
}

// run tells until ctx ends, or it must begin anew.
func (t *teller) run(ctx context.Context) error {
	if err := t.restore(ctx); err != nil {
		return err
	}
	t.c.begin(t.app.ID, true)
	news := make(chan heard, maxHeard)
	g, ctx := errgroup.WithContext(ctx)
	follow := func(told *wire.ToldLog, stream, filter string) {
		start := told.Next
		if start == 0 {
			return
		}
		g.Go(func() error {
			return t.c.b.Fold(ctx, broker.FoldConfig{
				Stream: stream, Filter: filter, Start: start,
				Handle: func(m *broker.Message) error {
					select { // the teller makes room, ctx ends it
					case news <- heard{m, told}:
						return nil
					case <-ctx.Done():
						return ctx.Err()
					}
				},
			})
		})
	}
	follow(&t.told.Events, wire.EventsStream, wire.SessionEventSubject(t.app.ID))
	follow(&t.told.Receipts, wire.ReceiptsStream, wire.ReceiptsFilter(t.app.ID, 0))
	g.Go(func() error {
		for {
			events, err := t.gather(ctx, news)
			if err != nil {
				return err
			}
			if err := t.tell(ctx, events); err != nil {
				return err
			}
			if err := t.save(ctx); err != nil {
				return err
			}
		}
	})
	return g.Wait()
}

// restore reads how far the server has been told. A log of which that is not said is told from now on.
func (t *teller) restore(ctx context.Context) error {
	subject := wire.ToldSubject(t.app.ID)
	m, err := t.c.b.AwaitLast(ctx, wire.SettingsStream, subject)
	if err != nil {
		return fmt.Errorf("read how far a callback has been told: %w", err)
	}
	if m != nil {
		t.rev = m.Seq
		if t.saved, err = wire.DecodeTold(m.Data); err != nil {
			t.c.metrics.corrupt.Inc()
			t.log.Error("it cannot be read how far the callback has been told; it goes on from now", "err", err)
		}
	}
	t.told = t.saved
	for _, l := range []struct {
		told   *wire.ToldLog
		stream string
		wanted bool
	}{
		{&t.told.Events, wire.EventsStream, t.app.Sessions()},
		{&t.told.Receipts, wire.ReceiptsStream, t.app.wants(pushKinds...)},
	} {
		switch {
		case !l.wanted:
			*l.told = wire.ToldLog{}
		case l.told.Next == 0:
			last, err := t.c.b.LastSeq(ctx, l.stream)
			if err != nil {
				return err
			}
			l.told.Next = last + 1
		}
	}
	return t.save(ctx)
}

// save publishes how far the server has been told, until that succeeds. Another worker's word is ErrConflict, and so may be
// our own that was taken without our hearing of it: whoever begins anew finds out.
func (t *teller) save(ctx context.Context) error {
	if t.told == t.saved {
		return nil
	}
	m := broker.Message{Subject: wire.ToldSubject(t.app.ID), Data: wire.EncodeTold(t.told)}.After(t.rev)
	for {
		rev, _, err := t.c.b.Publish(ctx, m)
		if err == nil {
			t.saved, t.rev = t.told, rev
			return nil
		}
		if errors.Is(err, broker.ErrConflict) || ctx.Err() != nil {
			return fmt.Errorf("write how far the callback has been told: %w", err)
		}
		t.log.Warn("write how far the callback has been told; will try again", "err", err)
		select { // the pause wakes it, ctx ends it
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(again):
		}
	}
}

// gather takes events from the logs: a request's worth, or what has come within a time. There may be none in what has come.
func (t *teller) gather(ctx context.Context, news <-chan heard) ([]event, error) {
	var events []event
	var due <-chan time.Time
	for {
		if t.open == nil {
			select { // a message or the time wakes it, ctx ends it
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-due:
				return events, nil
			case h := <-news:
				if err := t.begin(ctx, h); err != nil {
					return nil, err
				}
			}
		}
		if due == nil { // from the first that there is, which may be what the request before had no room for
			timer := time.NewTimer(t.c.cfg.Gather)
			defer timer.Stop()
			due = timer.C
		}
		taken, more, err := t.open.take(events, t.app, t.c.cfg.Batch)
		if err != nil {
			return nil, err
		}
		events = taken
		if *t.open.told = (wire.ToldLog{Next: t.open.seq + 1}); more {
			*t.open.told = wire.ToldLog{Next: t.open.seq, Done: t.open.done}
			return events, nil
		}
		t.open = nil
		if len(events) == t.c.cfg.Batch {
			return events, nil
		}
	}
}

// begin opens a message. One that cannot be read is left out, as an app must not stop for one.
func (t *teller) begin(ctx context.Context, h heard) (err error) {
	t.open = &source{told: h.told, seq: h.m.Seq}
	if h.told.Next == h.m.Seq {
		t.open.done = h.told.Done
	}
	if h.told == &t.told.Events {
		t.open.parts, err = ofSessions(h.m)
	} else {
		t.open.parts, err = t.ofReceipt(ctx, h.m)
	}
	if errors.Is(err, wire.ErrCorrupt) || errors.Is(err, wire.ErrVersion) || errors.Is(err, errCorrupt) {
		t.c.metrics.corrupt.Inc()
		t.log.Error("a message cannot be read and is left out", "subject", h.m.Subject, "seq", h.m.Seq, "err", err)
		return nil
	}
	return err
}
