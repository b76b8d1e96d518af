package pending

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/bench/roles"
	"github.com/carillon-push/carillon/offline"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

const (
	// lifetime of the push.
	lifetime = 24 * time.Hour
	// patience bounds the wait for the entries.
	patience = time.Minute
	poll     = 5 * time.Millisecond
)

var errDone = errors.New("all entries have been seen")

// remember runs the offline role, gives it the audience of two pushes, and measures the second: its entries' bytes, and
// the time until the last of them was seen in the bucket. The first warms up.
func remember(ctx context.Context, b *broker.Broker, audience map[push.Shard]*roaring.Bitmap) (bytes uint64, took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for shard := range audience {
		if err := b.EnsureShard(ctx, app, shard); err != nil {
			return 0, 0, err
		}
	}
	err = roles.Offline(ctx, b, func(role *offline.Offline) error {
		if err := ready(ctx, role); err != nil {
			return err
		}
		if _, err := accept(ctx, b, audience, 1); err != nil {
			return err
		}
		before, err := b.Bytes(ctx)
		if err != nil {
			return err
		}
		if took, err = accept(ctx, b, audience, 2); err != nil {
			return err
		}
		after, err := b.Bytes(ctx)
		bytes = after[wire.PendingStream] - before[wire.PendingStream]
		return err
	})
	return bytes, took, err
}

// ready waits for the role; it is outside of what is measured.
func ready(ctx context.Context, role *offline.Offline) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for role.Ready() != nil {
		select { // the ticker wakes it, ctx ends it
		case <-ctx.Done():
			return errors.Join(ctx.Err(), role.Ready())
		case <-tick.C:
		}
	}
	return nil
}

// accept publishes a push's audience as a matcher does, all shards at once, and returns how long it took until a reader
// of the bucket had seen the entry of each shard.
func accept(ctx context.Context, b *broker.Broker, audience map[push.Shard]*roaring.Bitmap, seq push.Seq) (time.Duration, error) {
	var took time.Duration
	following := make(chan struct{})
	g, ctx := errgroup.WithContext(ctx)
	left := len(audience)
	start := make(chan time.Time, 1)
	g.Go(func() error {
		err := b.Fold(ctx, broker.FoldConfig{
			Stream: wire.PendingStream, CaughtUp: func() { close(following) },
			Handle: func(m *broker.Message) error {
				if place, err := wire.ParsePushPlace(m.Subject); err != nil || place.Seq != seq {
					return nil // a position, or an entry of the push before
				}
				if left--; left > 0 {
					return nil
				}
				took = time.Since(<-start)
				return errDone
			},
		})
		if errors.Is(err, errDone) {
			return nil
		}
		return err
	})
	select { // the fold wakes it, ctx ends it
	case <-following:
	case <-ctx.Done():
		return 0, errors.Join(ctx.Err(), g.Wait())
	}
	expire := strconv.FormatInt(time.Now().Add(lifetime).Unix(), 10)
	start <- time.Now()
	for shard, users := range audience {
		g.Go(func() error {
			data, err := wire.EncodeBitmap(users)
			if err != nil {
				return err
			}
			_, _, err = b.Publish(ctx, broker.Message{
				Subject: wire.AudienceSubject(app, shard, seq), Data: data, Header: map[string]string{wire.HeaderExpire: expire},
			}.Once())
			return err
		})
	}
	err := g.Wait()
	return took, err
}
