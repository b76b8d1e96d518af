package notify

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

// shard cuts one shard's pushes into tasks.
type shard struct {
	n       *Notify
	hold    *broker.Hold
	app     push.AppID
	id      push.Shard
	log     *slog.Logger
	width   uint32 // of its bitmaps
	reach   reach
	waiting *waiting
	fresh   chan struct{} // capacity 1: there are new candidates
	counted int           // our part of the gauge; of the cutter's goroutine
}

// lateFirst is how old a push may be that is found where nothing says yet how far the shard is cut: the role is new here,
// or the shard is.
const lateFirst = 10 * time.Minute

func newShard(n *Notify, h *broker.Hold) *shard {
	return &shard{
		n: n, hold: h, app: h.App, id: h.Shard, log: n.log.With("app", h.App, "shard", h.Shard), width: n.b.Sharding().Width(),
		fresh: make(chan struct{}, 1),
	}
}

// run reads the shard's devices, folds its logs from where they are cut, and cuts what comes.
func (s *shard) run(ctx context.Context) error {
	at, since, err := s.restore(ctx)
	if err != nil {
		return err
	}
	s.waiting = newWaiting(at)
	g, ctx := errgroup.WithContext(ctx)
	caught := make(chan struct{}, 3)
	follow := func(name, stream, filter string, after uint64, fold func(*broker.Message) error) {
		g.Go(func() error {
			return s.n.b.Fold(ctx, broker.FoldConfig{
				Name: name, Stream: stream, Filter: filter, Start: after + 1,
				CaughtUp: func() { caught <- struct{}{} },
				Handle: func(m *broker.Message) error {
					if err := fold(m); err != nil {
						s.corrupt(m, err)
					}
					return ctx.Err()
				},
			})
		})
	}
	follow("notify_devices", wire.DevicesStream(s.app), wire.DeviceFilter(s.app, s.id), 0, s.foldDevices)
	follow("notify_audiences", wire.AudiencesStream, wire.AudienceFilter(s.app, s.id), at.Audiences, func(m *broker.Message) error { return s.foldAudience(m, since) })
	follow("notify_receipts", wire.ReceiptsStream, wire.ReceiptFilter(s.app, s.id), at.Receipts, s.foldReceipt)
	g.Go(func() error { // what another worker has cut waits here no more
		return s.n.b.Fold(ctx, broker.FoldConfig{
			Name: "notify_cut", Stream: wire.NoticesStream, Filter: wire.CutSubject(s.app, s.id),
			Handle: func(m *broker.Message) error {
				if at, err := wire.DecodePosition(m.Data); err == nil {
					s.waiting.cut(at.Audiences)
				} else {
					s.corrupt(m, err)
				}
				return ctx.Err()
			},
		})
	})
	g.Go(func() error {
		for range 3 {
			select { // the folds wake it, ctx ends it
			case <-caught:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		s.hold.Ready()
		return s.cutter(ctx)
	})
	g.Go(func() error { return s.sweeper(ctx) })
	return g.Wait()
}

// restore reads how far the shard is cut. Where nothing says so, pushes from since on are still to be.
func (s *shard) restore(ctx context.Context) (at wire.Position, since time.Time, err error) {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		last, err := s.n.b.LastOf(ctx, wire.NoticesStream, []string{wire.CutSubject(s.app, s.id)})
		if err == nil {
			m := last[wire.CutSubject(s.app, s.id)]
			if m == nil {
				return at, time.Now().Add(-lateFirst), nil
			}
			if at, err = wire.DecodePosition(m.Data); err == nil {
				return at, time.Time{}, nil
			}
			s.corrupt(m, err)
			return wire.Position{}, time.Now().Add(-lateFirst), nil
		}
		s.log.Warn("ask how far pushes are cut into tasks; will ask again", "err", err)
		select { // the pause wakes it, ctx ends it
		case <-ctx.Done():
			return at, since, fmt.Errorf("ask how far shard %d of app %d is cut into tasks: %w", s.id, s.app, ctx.Err())
		case <-time.After(pause):
		}
	}
}

// foldDevices takes what one user's devices are now.
func (s *shard) foldDevices(m *broker.Message) error {
	ordinal, err := wire.ParseDeviceSubject(m.Subject)
	if err != nil {
		return err
	}
	var devices []wire.Device
	if len(m.Data) > 0 { // empty: the broker's mark that the message is gone
		if devices, err = wire.DecodeDevices(m.Data); err != nil {
			return err
		}
	}
	s.reach.set(s.n.b.Sharding().Local(ordinal), devices)
	return nil
}

// foldAudience takes one message of AUDIENCES, if it came since a time.
func (s *shard) foldAudience(m *broker.Message, since time.Time) error {
	place, err := wire.ParsePushPlace(m.Subject)
	if err != nil {
		return err
	}
	expire, err := strconv.ParseInt(m.Header[wire.HeaderExpire], 10, 64)
	if err != nil {
		return fmt.Errorf("its end: %w", err)
	}
	if expire <= time.Now().Unix() || m.Time.Before(since) {
		s.waiting.skip(place.Seq, m.Seq)
		return nil
	}
	c := candidate{seq: place.Seq, place: m.Seq, due: m.Time.Add(s.n.cfg.Grace), expire: time.Unix(expire, 0)}
	if header, ok := m.Header[wire.HeaderRevokes]; ok {
		revoked, err := strconv.ParseUint(header, 10, 64)
		if err != nil {
			return fmt.Errorf("what it revokes: %w", err)
		}
		c.revokes, c.due = push.Seq(revoked), m.Time
	}
	if c.users, err = wire.DecodeBitmap(m.Data, s.width); err != nil {
		return err
	}
	s.waiting.audience(c)
	select { // never waits: a mark that is there already says the same
	case s.fresh <- struct{}{}:
	default:
	}
	return nil
}

// foldReceipt takes one message of RECEIPTS.
func (s *shard) foldReceipt(m *broker.Message) error {
	place, err := wire.ParsePushPlace(m.Subject)
	if err != nil {
		return err
	}
	r, err := wire.DecodeReceipt(m.Data, s.width)
	if err != nil {
		return err
	}
	r.Received.Or(r.Opened) // who opened it has it
	s.waiting.receipt(place.Seq, m.Seq, r.Received, time.Now())
	return nil
}

// corrupt tells of a message that cannot be read; the fold goes on without it, as a shard must not stop for one push.
func (s *shard) corrupt(m *broker.Message, err error) {
	s.n.metrics.corrupt.Inc()
	s.log.Error("a message cannot be read and is left out", "subject", m.Subject, "seq", m.Seq, "err", err)
}
