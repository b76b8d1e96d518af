package pending

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

const (
	entriesTogether = 1000 // the most that the broker takes in one batch
	writers         = 2    // so that one lays out its batch while the other's is written
)

// entryEach writes one entry a user, and returns their bytes and the time until the last was durable. The stream is a
// shard's log, which has the settings of a key-value bucket: the last message of each subject, batches, and nothing else
// is written to it.
func entryEach(ctx context.Context, b *broker.Broker, users int) (bytes uint64, took time.Duration, err error) {
	const shard = 0
	if err := b.EnsureShard(ctx, app, shard); err != nil {
		return 0, 0, err
	}
	stream := wire.UsersStream(app, shard)
	start := time.Now()
	g, gctx := errgroup.WithContext(ctx)
	for w := range writers {
		g.Go(func() error {
			for first := w * entriesTogether; first < users; first += writers * entriesTogether {
				if err := gctx.Err(); err != nil {
					return err
				}
				last := min(first+entriesTogether, users)
				msgs := make([]broker.Message, 0, last-first)
				for u := first; u < last; u++ {
					msgs = append(msgs, broker.Message{
						Subject: wire.UserSubject(app, shard, push.Ordinal(u+1)), Data: binary.LittleEndian.AppendUint64(nil, 1),
					})
				}
				if _, err := b.Write(stream, msgs...); err != nil {
					return fmt.Errorf("write the entries from %d: %w", first, err)
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return 0, 0, err
	}
	took = time.Since(start)
	sizes, err := b.Bytes(ctx)
	return sizes[stream], took, err
}
