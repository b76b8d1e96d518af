package offline

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// shard holds the pending state of one shard.
type shard struct {
	o       *Offline
	app     push.AppID
	id      push.Shard
	log     *slog.Logger
	pending *pending

	audiences, receipts broker.Progress // what inbox requests wait for

	fresh      chan struct{} // capacity 1: there are new entries to write
	checkpoint checkpoint
}

func newShard(o *Offline, app push.AppID, id push.Shard) *shard {
	s := &shard{o: o, app: app, id: id, log: o.log.With("app", app, "shard", id), pending: newPending(), fresh: make(chan struct{}, 1)}
	s.checkpoint.s = s
	return s
}

// run restores the bucket's entries, folds both logs on from there, and answers logins once it has caught up.
func (s *shard) run(ctx context.Context) error {
	if err := s.restore(ctx); err != nil {
		return fmt.Errorf("restore the pending entries of app %d, shard %d: %w", s.app, s.id, err)
	}
	g, ctx := errgroup.WithContext(ctx)
	caught := make(chan struct{}, 2)
	at := s.pending.at
	g.Go(func() error {
		return s.follow(ctx, wire.AudiencesStream, wire.AudienceFilter(s.app, s.id), at.Audiences, &s.audiences, s.foldAudience, caught)
	})
	g.Go(func() error {
		return s.follow(ctx, wire.ReceiptsStream, wire.ReceiptFilter(s.app, s.id), at.Receipts, &s.receipts, s.foldReceipt, caught)
	})
	g.Go(func() error {
		for range 2 {
			select { // both folds wake it, ctx ends it
			case <-caught:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		inbox := newInbox(s)
		return inbox.serve(ctx, func() {
			s.o.behind.Add(-1)
			s.log.Info("shard is ready", "live_pushes", len(s.pending.live))
		})
	})
	g.Go(func() error { return s.checkpoint.run(ctx) })
	return g.Wait()
}

// restore reads the bucket's entries of the shard.
func (s *shard) restore(ctx context.Context) error {
	width, whole := s.o.b.Sharding().Width(), true
	err := s.o.b.Fold(ctx, broker.FoldConfig{
		Stream: wire.PendingStream, Filter: wire.PendingFilter(s.app, s.id), LastOnly: true, StopWhenRead: true,
		Handle: func(m *broker.Message) error {
			if m.Subject == wire.PositionSubject(s.app, s.id) {
				s.checkpoint.rev = m.Seq
				if at, err := wire.DecodePosition(m.Data); err == nil {
					s.checkpoint.at = at
				} else if len(m.Data) > 0 { // empty: the broker's mark that its time was over
					s.corrupt(m, err)
				}
				return nil
			}
			place, err := wire.ParsePushPlace(m.Subject)
			if err != nil {
				s.corrupt(m, err)
				return nil
			}
			if len(m.Data) == 0 {
				return nil // the broker's mark of an entry whose time is over
			}
			p, err := wire.DecodePending(m.Data, width)
			if err != nil {
				s.corrupt(m, err)
				whole = false
				return nil
			}
			s.pending.restore(place.Seq, p, m.Seq)
			return nil
		},
	})
	if !whole {
		s.checkpoint.at = wire.Position{} // the logs still have what the entry was made of
	}
	s.pending.at = s.checkpoint.at
	return err
}

// follow folds one of the two logs from behind a place in it.
func (s *shard) follow(ctx context.Context, stream, filter string, after uint64, at *broker.Progress,
	fold func(*broker.Message, int64), caught chan<- struct{},
) error {
	at.Advance(after)
	// Whatever the shard has in the stream up to here is folded when the fold has caught up, even if that is nothing.
	last, err := s.o.b.LastSeq(ctx, stream)
	if err != nil {
		return err
	}
	return s.o.b.Fold(ctx, broker.FoldConfig{
		Stream: stream, Filter: filter, Start: after + 1,
		CaughtUp: func() {
			at.Advance(last)
			caught <- struct{}{}
		},
		Handle: func(m *broker.Message) error {
			expire, err := strconv.ParseInt(m.Header[wire.HeaderExpire], 10, 64)
			if err != nil {
				s.corrupt(m, err)
			} else {
				fold(m, expire)
			}
			at.Advance(m.Seq)
			return nil
		},
	})
}

func (s *shard) foldAudience(m *broker.Message, expire int64) {
	place, err := wire.ParsePushPlace(m.Subject)
	if err != nil {
		s.corrupt(m, err)
		return
	}
	users, err := wire.DecodeBitmap(m.Data, s.o.b.Sharding().Width())
	if err != nil {
		s.corrupt(m, err)
		return
	}
	if s.pending.audience(place.Seq, expire, time.Now().Unix(), users, m.Seq) {
		select { // never waits: a mark that is there already says the same
		case s.fresh <- struct{}{}:
		default:
		}
	}
}

func (s *shard) foldReceipt(m *broker.Message, expire int64) {
	place, err := wire.ParsePushPlace(m.Subject)
	if err != nil {
		s.corrupt(m, err)
		return
	}
	r, err := wire.DecodeReceipt(m.Data, s.o.b.Sharding().Width())
	if err != nil {
		s.corrupt(m, err)
		return
	}
	r.Received.Or(r.Opened) // who opened it has it
	s.pending.receipt(place.Seq, expire, time.Now().Unix(), r.Received, m.Seq)
}

// corrupt tells of a message that cannot be read; the fold goes on without it, as a shard must not stop for one push.
func (s *shard) corrupt(m *broker.Message, err error) {
	s.o.metrics.corrupt.Inc()
	s.log.Error("a message cannot be read and is left out", "subject", m.Subject, "seq", m.Seq, "err", err)
}
