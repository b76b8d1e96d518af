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
	"github.com/carillon-push/carillon/pkg/tracing"
	"github.com/carillon-push/carillon/pkg/wire"
)

// shard holds the pending state of one shard.
type shard struct {
	o       *Offline
	app     push.AppID
	id      push.Shard
	log     *slog.Logger
	width   uint32 // of its bitmaps
	pending *pending
	first   func() bool // whether it is traced here what becomes of a push, as standbys do the same; nil: it is

	audiences, receipts broker.Progress // what inbox requests wait for

	fresh      chan struct{} // capacity 1: there are new entries to write
	checkpoint checkpoint
}

func newShard(o *Offline, app push.AppID, id push.Shard) *shard {
	s := &shard{
		o: o, app: app, id: id, log: o.log.With("app", app, "shard", id), width: o.b.Sharding().Width(),
		pending: newPending(), fresh: make(chan struct{}, 1),
	}
	s.checkpoint.s, s.checkpoint.b = s, o.b
	return s
}

// run restores the bucket's entries, folds both logs on from there, and answers logins once it has caught up.
func (s *shard) run(ctx context.Context, ready func()) error {
	if err := s.restore(ctx); err != nil {
		return fmt.Errorf("restore the pending entries of app %d, shard %d: %w", s.app, s.id, err)
	}
	for _, revoked := range s.pending.revocations() {
		if err := s.readHad(ctx, revoked); err != nil {
			return err
		}
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
			ready()
			s.log.Info("shard is ready", "live_pushes", s.pending.pushes())
		})
	})
	g.Go(func() error { return s.checkpoint.run(ctx) })
	return g.Wait()
}

// restore reads the position of the shard and the bucket's entries, while another worker may be writing them anew. In this
// order, since entries that are newer than what a position claims do no harm, and without older or missing ones it would
// claim what is not there: every entry behind the first position is in the list of entries, which is made after it. The
// answers hold the position beside the entries, as their servers had it by then, and what the least of all these positions
// claims is true of all entries.
func (s *shard) restore(ctx context.Context) error {
	position := wire.PositionSubject(s.app, s.id)
	first, err := s.o.b.AwaitLast(ctx, wire.PendingStream, position)
	if err != nil {
		return err
	}
	s.restorePosition(first)
	s.pending.at = s.checkpoint.at
	return s.o.b.LastEach(ctx, wire.PendingStream, wire.PendingFilter(s.app, s.id), position, s.restoreAnswer)
}

// restoreAnswer takes some entries, and the position where that claims less than the one that is known.
func (s *shard) restoreAnswer(found map[string]*broker.Message) error {
	known := s.checkpoint.at
	s.restorePosition(found[wire.PositionSubject(s.app, s.id)])
	s.checkpoint.at = nearer(s.checkpoint.at, known)
	for _, m := range found {
		s.restoreEntry(m) // which may take the position back
	}
	s.pending.at = s.checkpoint.at
	return nil
}

// restorePosition takes a position; m is nil where there is none.
func (s *shard) restorePosition(m *broker.Message) {
	s.checkpoint.at, s.checkpoint.rev = wire.Position{}, 0
	if m == nil {
		return
	}
	at, err := wire.DecodePosition(m.Data)
	if err != nil {
		s.corrupt(m, err)
	}
	s.checkpoint.at, s.checkpoint.rev = at, m.Seq
}

func (s *shard) restoreEntry(m *broker.Message) {
	if m.Subject == wire.PositionSubject(s.app, s.id) || len(m.Data) == 0 { // empty: the broker's mark that its time is over
		return
	}
	place, err := wire.ParsePushPlace(m.Subject)
	if err != nil {
		s.corrupt(m, err)
		return
	}
	p, err := wire.DecodePending(m.Data, s.width)
	if err != nil {
		s.corrupt(m, err)
		s.checkpoint.at = wire.Position{} // the logs still have what the entry was made of
		return
	}
	s.pending.restore(place.Seq, p, m.Seq)
}

// lastSeq asks for a stream's newest sequence until the broker answers or ctx ends: a shard may appear during an outage.
func (s *shard) lastSeq(ctx context.Context, stream string) (uint64, error) {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		last, err := s.o.b.LastSeq(ctx, stream)
		if err == nil {
			return last, nil
		}
		s.log.Warn("ask for a stream's end; will ask again", "stream", stream, "err", err)
		select { // the pause wakes it, ctx ends it
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// follow folds one of the two logs from behind a place in it.
func (s *shard) follow(ctx context.Context, stream, filter string, after uint64, at *broker.Progress,
	fold func(context.Context, *broker.Message, int64) error, caught chan<- struct{},
) error {
	at.Advance(after)
	// Whatever the shard has in the stream up to here is folded when the fold has caught up, even if that is nothing.
	last, err := s.lastSeq(ctx, stream)
	if err != nil {
		return err
	}
	name := "offline_audiences"
	if stream == wire.ReceiptsStream {
		name = "offline_receipts"
	}
	return s.o.b.Fold(ctx, broker.FoldConfig{
		Name: name, Stream: stream, Filter: filter, Start: after + 1,
		CaughtUp: func() {
			at.Advance(last)
			caught <- struct{}{}
		},
		Handle: func(m *broker.Message) error {
			expire, err := strconv.ParseInt(m.Header[wire.HeaderExpire], 10, 64)
			if err == nil {
				err = fold(ctx, m, expire)
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				s.corrupt(m, err)
			}
			at.Advance(m.Seq)
			return nil
		},
	})
}

// foldAudience folds one message of AUDIENCES. An error is of a message that cannot be read, or of the end of ctx.
func (s *shard) foldAudience(ctx context.Context, m *broker.Message, expire int64) error {
	place, err := wire.ParsePushPlace(m.Subject)
	if err != nil {
		return err
	}
	users, err := wire.DecodeBitmap(m.Data, s.width)
	if err != nil {
		return err
	}
	var span tracing.Span
	if s.first == nil || s.first() {
		span = s.o.cfg.Tracer.Process(m.Header, "keep", wire.AudiencesStream, place)
	}
	fresh, now := false, time.Now().Unix()
	if header, ok := m.Header[wire.HeaderRevokes]; ok {
		revoked, err := strconv.ParseUint(header, 10, 64)
		if err != nil {
			return err
		}
		if fresh = s.pending.revocation(place.Seq, push.Seq(revoked), expire, now, users, m.Seq); fresh {
			if err := s.readHad(ctx, push.Seq(revoked)); err != nil {
				return err
			}
		}
	} else {
		fresh = s.pending.audience(place.Seq, expire, now, users, m.Seq)
	}
	if !fresh || !s.pending.traced(place.Seq, span) {
		span.End(nil) // there is nothing to keep
	}
	if fresh {
		select { // never waits: a mark that is there already says the same
		case s.fresh <- struct{}{}:
		default:
		}
	}
	return nil
}

// readHad reads who has had a push that is revoked; what comes later foldReceipt adds. It ends with ctx.
func (s *shard) readHad(ctx context.Context, revoked push.Seq) error {
	return s.o.b.Fold(ctx, broker.FoldConfig{
		Stream: wire.ReceiptsStream, Filter: wire.ReceiptSubject(s.app, s.id, revoked), StopWhenRead: true,
		Handle: func(m *broker.Message) error {
			if r, err := wire.DecodeReceipt(m.Data, s.width); err == nil { // else foldReceipt has told, or will
				s.pending.had(revoked, r)
			}
			return nil
		},
	})
}

// foldReceipt folds one message of RECEIPTS. An error is of a message that cannot be read.
func (s *shard) foldReceipt(_ context.Context, m *broker.Message, expire int64) error {
	place, err := wire.ParsePushPlace(m.Subject)
	if err != nil {
		return err
	}
	r, err := wire.DecodeReceipt(m.Data, s.width)
	if err != nil {
		return err
	}
	s.pending.had(place.Seq, r)
	r.Received.Or(r.Opened) // who opened it has it
	s.pending.receipt(place.Seq, expire, time.Now().Unix(), r.Received, m.Seq)
	return nil
}

// corrupt tells of a message that cannot be read; the fold goes on without it, as a shard must not stop for one push.
func (s *shard) corrupt(m *broker.Message, err error) {
	s.o.metrics.corrupt.Inc()
	s.log.Error("a message cannot be read and is left out", "subject", m.Subject, "seq", m.Seq, "err", err)
}
