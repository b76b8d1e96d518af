// Package offline remembers who has yet to get which push, and answers logins. Nothing in it is done once per user:
// pending is one bitmap per push and shard, from its audience until its lifetime has passed.
//
// It folds, for each shard, AUDIENCES and RECEIPTS: pending = audience − receipts, for every push with a lifetime. It
// publishes entries of the PENDING bucket, one for each push and shard, with what is left of the lifetime as their TTL,
// and beside them the position up to which they have folded the logs. It serves inbox.<app>.<shard>.
//
// Why a crash between any two lines is safe: the logs are the truth and the entries a checkpoint, so that a restart need
// not read a week of audiences. A checkpoint writes the entries first and the position after them. After a crash between,
// the entries are ahead of the position, and folding the rest again changes nothing: an audience whose entry exists is
// skipped, and a receipt takes away what is away already. A receipt that comes before its audience is kept until that
// comes, and the position stays before it. Several workers may hold one shard: entries only ever shrink, a worker that
// finds another's entry keeps what both hold (their intersection), and so whatever a position once claimed stays true.
package offline

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
)

// Config of an offline worker.
type Config struct {
	// Apps whose shards it works on.
	Apps []push.AppID
	// Checkpoint is how often entries that receipts have changed are written; new ones are written at once.
	Checkpoint time.Duration
}

// Default checkpoints every five seconds: a restart folds that much again.
func Default() Config { return Config{Checkpoint: 5 * time.Second} }

// Validate says what is wrong, in a sentence.
func (c Config) Validate() error {
	if c.Checkpoint <= 0 {
		return fmt.Errorf("the checkpoint interval must be positive, not %v", c.Checkpoint)
	}
	return nil
}

// Offline works on the shards of its apps.
type Offline struct {
	cfg     Config
	b       *broker.Broker
	log     *slog.Logger
	metrics *metrics
	behind  atomic.Int64 // apps not looked at and shards that are still reading the logs
}

// New makes a worker that does nothing until Run.
func New(cfg Config, b *broker.Broker, reg prometheus.Registerer, log *slog.Logger) (*Offline, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m, err := newMetrics(reg)
	if err != nil {
		return nil, fmt.Errorf("register the offline worker's metrics: %w", err)
	}
	o := &Offline{cfg: cfg, b: b, log: log.With("component", "offline"), metrics: m}
	o.behind.Store(int64(len(cfg.Apps)))
	return o, nil
}

// Run works until ctx ends, and returns when everything that it started has ended.
func (o *Offline) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, app := range o.cfg.Apps {
		g.Go(func() error {
			looked := sync.OnceFunc(func() { o.behind.Add(-1) })
			return o.b.WatchShards(ctx, app, func(ids []push.Shard) {
				o.behind.Add(int64(len(ids)))
				looked()
				for _, id := range ids {
					s := newShard(o, app, id)
					g.Go(func() error { return s.run(ctx) })
				}
			})
		})
	}
	return g.Wait()
}

// Ready says whether every shard that is known answers logins.
func (o *Offline) Ready() error {
	if n := o.behind.Load(); n > 0 {
		return fmt.Errorf("the offline worker is still reading the logs of %d apps or shards", n)
	}
	return nil
}
