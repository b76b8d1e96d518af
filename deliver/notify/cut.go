package notify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/wire"
)

// cutAgain is how long a push waits that could not be cut.
const cutAgain = time.Second

// maxWrite is how many tasks are written at once.
const maxWrite = 1000

// cutter cuts pushes whose time has come, while this worker is the shard's first, until ctx ends.
func (s *shard) cutter(ctx context.Context) error {
	defer func() { s.count(0) }()
	for {
		rank, changed := s.hold.Rank()
		var wake <-chan time.Time
		if rank == 0 {
			then, err := s.cutDue(ctx)
			if err != nil && ctx.Err() == nil {
				s.n.metrics.cutFailed.Inc()
				s.log.Warn("cut a push into tasks; will try again", "err", err)
				then = time.Now().Add(cutAgain)
			}
			if !then.IsZero() {
				wake = time.After(time.Until(then))
			}
		}
		s.count(s.waiting.size())
		select { // a push, another rank or the time wakes it, ctx ends it
		case <-ctx.Done():
			return ctx.Err()
		case <-s.fresh:
		case <-changed:
		case <-wake:
		}
	}
}

// count changes our part of the gauge of waiting pushes, which the shards of the process share.
func (s *shard) count(pushes int) {
	s.n.metrics.waiting.Add(float64(pushes - s.counted))
	s.counted = pushes
}

// cutDue cuts all pushes whose time has come, says how far the shard is cut then, and gives when the next one's comes.
func (s *shard) cutDue(ctx context.Context) (then time.Time, err error) {
	cut := false
	for {
		c, ok, then := s.waiting.next(time.Now())
		if !ok {
			if cut {
				err = s.position(ctx)
			}
			return then, err
		}
		err := s.cut(ctx, &c)
		if errors.Is(err, wire.ErrCorrupt) || errors.Is(err, wire.ErrVersion) { // a shard must not stop for one push
			s.n.metrics.corrupt.Inc()
			s.log.Error("whom a push is for on a channel cannot be read; it goes to no more phones", "push", c.seq, "err", err)
			err = nil
		}
		if err != nil {
			return then, fmt.Errorf("push %d: %w", c.seq, err)
		}
		s.waiting.cut(c.place)
		cut = true
	}
}

// position writes how far the shard is cut.
func (s *shard) position(ctx context.Context) error {
	_, _, err := s.n.b.Publish(ctx, broker.Message{
		Subject: wire.CutSubject(s.app, s.id), Data: wire.EncodePosition(s.waiting.position()),
	})
	return err
}

// cut makes the tasks of a push, on every channel of the app that reaches one of its users.
func (s *shard) cut(ctx context.Context, c *candidate) error {
	if !time.Now().Before(c.expire) {
		return nil
	}
	if c.revokes != 0 {
		return s.cutRevocation(ctx, c)
	}
	k, err := s.n.notices.get(ctx, c.seq)
	switch {
	case errors.Is(err, broker.ErrNotFound):
		return nil // its retention has ended
	case errors.Is(err, wire.ErrCorrupt), errors.Is(err, wire.ErrVersion):
		s.n.metrics.corrupt.Inc()
		s.log.Error("a push cannot be read and goes to no phone", "push", c.seq, "err", err)
		return nil
	case err != nil:
		return err
	case k.notice == nil:
		return nil
	}
	channels := s.n.channels(s.app)
	for _, name := range slices.Sorted(maps.Keys(channels)) {
		if users := s.reach.of(name, c.users); !users.IsEmpty() {
			if err := s.notice(ctx, wire.NoticePlace{App: s.app, Seq: c.seq, Channel: name, Shard: s.id}, users); err != nil {
				return fmt.Errorf("channel %s: %w", name, err)
			}
		}
	}
	return nil
}

// notice writes whom a push is for on a channel, and the tasks. Whom it is for already stands.
func (s *shard) notice(ctx context.Context, place wire.NoticePlace, users *roaring.Bitmap) error {
	users.RunOptimize()
	data, err := wire.EncodeBitmap(users)
	if err != nil {
		return err
	}
	_, _, err = s.n.b.Publish(ctx, broker.Message{Subject: wire.NoticeSubject(place), Data: data}.Once())
	if errors.Is(err, broker.ErrConflict) {
		if users, err = s.n.audience(ctx, place); err != nil {
			return err
		}
	} else if err == nil {
		s.n.metrics.users.WithLabelValues(place.Channel).Add(float64(users.GetCardinality()))
	}
	if err != nil {
		return err
	}
	return s.tasks(ctx, place, int(users.GetCardinality()))
}

// cutRevocation makes a revocation's tasks: those of the push that it cancels, on channels that can take it back.
func (s *shard) cutRevocation(ctx context.Context, c *candidate) error {
	for name, sender := range s.n.channels(s.app) {
		if !sender.Revokes() {
			continue
		}
		users, err := s.n.audience(ctx, wire.NoticePlace{App: s.app, Seq: c.revokes, Channel: name, Shard: s.id})
		if errors.Is(err, broker.ErrNotFound) {
			continue
		}
		if err == nil {
			err = s.tasks(ctx, wire.NoticePlace{App: s.app, Seq: c.seq, Channel: name, Shard: s.id}, int(users.GetCardinality()))
		}
		if err != nil {
			return fmt.Errorf("channel %s: %w", name, err)
		}
	}
	return nil
}

// tasks puts the tasks for some number of users into the queue, but for those that wait there or are done.
func (s *shard) tasks(ctx context.Context, place wire.NoticePlace, users int) error {
	all := (users + wire.NotifySize - 1) / wire.NotifySize
	for first := 0; first < all; first += maxWrite {
		subjects := make([]string, 0, maxWrite)
		for place.Task = first; place.Task < min(all, first+maxWrite); place.Task++ {
			subjects = append(subjects, wire.OutcomeSubject(place))
		}
		outcomes, err := s.n.b.LastOf(ctx, wire.NoticesStream, subjects)
		if err != nil {
			return err
		}
		var tasks []broker.Message
		for i, subject := range subjects {
			if m := outcomes[subject]; m != nil {
				if o, err := wire.DecodeOutcome(m.Data, s.width); err == nil && o.Done {
					continue
				}
			}
			place.Task = first + i
			tasks = append(tasks, broker.Message{Subject: wire.NotifySubject(place)}.Once())
		}
		if err := s.queue(tasks); err != nil {
			return err
		}
	}
	return nil
}

// queue writes tasks together, and one by one when one of them waits already.
func (s *shard) queue(tasks []broker.Message) error {
	_, err := s.n.b.Write(wire.NotifyStream, tasks...)
	if !errors.Is(err, broker.ErrConflict) {
		return err
	}
	for _, t := range tasks {
		if _, err := s.n.b.Write(wire.NotifyStream, t); err != nil && !errors.Is(err, broker.ErrConflict) {
			return err
		}
	}
	return nil
}

// audience reads whom a push is for on a channel, ErrNotFound when it is for nobody there, or was not cut.
func (n *Notify) audience(ctx context.Context, place wire.NoticePlace) (*roaring.Bitmap, error) {
	m, err := n.b.Last(ctx, wire.NoticesStream, wire.NoticeSubject(place))
	if err != nil {
		return nil, err
	}
	return wire.DecodeBitmap(m.Data, n.b.Sharding().Width())
}
