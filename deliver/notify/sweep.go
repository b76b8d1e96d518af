package notify

import (
	"context"
	"errors"
	"time"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// Why devices are forgotten, a closed set.
const (
	forgottenGone = "gone" // the vendor says so
	forgottenIdle = "idle" // nobody has heard of it for Config.Idle
)

// sweepEvery is how often a shard's devices are looked through for idle ones, from when the shard is taken on.
const sweepEvery = 24 * time.Hour

// sweeper forgets devices that have not been heard of, while this worker is the shard's first, until ctx ends.
func (s *shard) sweeper(ctx context.Context) error {
	if s.n.cfg.Idle == 0 {
		return nil
	}
	for {
		if rank, _ := s.hold.Rank(); rank == 0 {
			if err := s.sweep(ctx, time.Now().Add(-s.n.cfg.Idle).Unix()); err != nil && ctx.Err() == nil {
				s.log.Warn("look for idle devices; will look again", "err", err)
			}
		}
		select { // the time wakes it, ctx ends it
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(sweepEvery):
		}
	}
}

// errStopped ends a sweep whose ctx has ended.
var errStopped = errors.New("the sweep was stopped")

// sweep forgets the shard's devices that were last seen before a unix second.
func (s *shard) sweep(ctx context.Context, before int64) error {
	type idle struct {
		owner push.Ordinal
		id    string
	}
	var found []idle
	err := s.n.b.Fold(ctx, broker.FoldConfig{
		Stream: wire.DevicesStream(s.app), Filter: wire.DeviceFilter(s.app, s.id), StopWhenRead: true,
		Handle: func(m *broker.Message) error {
			if ctx.Err() != nil {
				return errStopped
			}
			owner, err := wire.ParseDeviceSubject(m.Subject)
			if err != nil || len(m.Data) == 0 {
				return nil
			}
			devices, err := wire.DecodeDevices(m.Data)
			if err != nil {
				return nil // the fold of devices has told
			}
			for i := range devices {
				if devices[i].Seen < before {
					found = append(found, idle{owner, devices[i].ID})
				}
			}
			return nil
		},
	})
	if err != nil {
		return err
	}
	for _, f := range found {
		// One that was seen meanwhile is registered again by its next login.
		if err := s.n.dir.ForgetDevice(ctx, s.app, f.owner, f.id); err != nil {
			return err
		}
		s.n.metrics.forgotten.WithLabelValues(forgottenIdle).Inc()
	}
	if len(found) > 0 {
		s.log.Info("forgot idle devices", "devices", len(found))
	}
	return nil
}
