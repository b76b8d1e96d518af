package pending

import (
	"context"
	"fmt"
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

// recovered is what a worker that starts anew has to read.
type recovered struct {
	// took is from its start until it answers logins, empty the same where nothing is pending.
	took, empty time.Duration
	bytes       uint64
}

// recovery has the offline role remember as many pushes, all to the same audience, and starts it once more.
func recovery(ctx context.Context, b *broker.Broker, audience map[push.Shard]*roaring.Bitmap, pushes int) (r recovered, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*patience)
	defer cancel()
	for shard := range audience {
		if err := b.EnsureShard(ctx, app, shard); err != nil {
			return r, err
		}
	}
	start := time.Now()
	err = roles.Offline(ctx, b, func(role *offline.Offline) error {
		if err := ready(ctx, role); err != nil {
			return err
		}
		r.empty = time.Since(start)
		return publish(ctx, b, audience, pushes)
	})
	if err != nil {
		return r, err
	}
	sizes, err := b.Bytes(ctx)
	if err != nil {
		return r, err
	}
	r.bytes = sizes[wire.PendingStream]
	start = time.Now()
	err = roles.Offline(ctx, b, func(role *offline.Offline) error {
		err := ready(ctx, role)
		r.took = time.Since(start)
		return err
	})
	return r, err
}

// publish publishes the audiences of pushes, as matchers do, and returns when there is an entry for each.
func publish(ctx context.Context, b *broker.Broker, audience map[push.Shard]*roaring.Bitmap, pushes int) error {
	expire := strconv.FormatInt(time.Now().Add(lifetime).Unix(), 10)
	g, gctx := errgroup.WithContext(ctx)
	for shard, users := range audience {
		g.Go(func() error {
			data, err := wire.EncodeBitmap(users)
			for seq := push.Seq(1); err == nil && seq <= push.Seq(pushes); seq++ {
				_, _, err = b.Publish(gctx, broker.Message{
					Subject: wire.AudienceSubject(app, shard, seq), Data: data, Header: map[string]string{wire.HeaderExpire: expire},
				}.Once())
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	tick := time.NewTicker(20 * poll)
	defer tick.Stop()
	for shard := range audience {
		for entries := 0; entries < pushes; {
			select { // the ticker wakes it, ctx ends it
			case <-ctx.Done():
				return fmt.Errorf("shard %d has %d of %d entries: %w", shard, entries, pushes, ctx.Err())
			case <-tick.C:
			}
			subjects, err := b.Subjects(ctx, wire.PendingStream, wire.PendingFilter(app, shard))
			if err != nil {
				return err
			}
			entries = len(subjects)
		}
	}
	return nil
}
