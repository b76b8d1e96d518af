// Package offline remembers who has yet to get which push, and answers logins. Nothing in it is done once per user:
// pending is one bitmap per push and shard, from its audience until its lifetime has passed.
//
// The workers divide the shards among themselves (broker.ShardRunner). For each that it holds, a worker folds AUDIENCES and
// RECEIPTS: pending = audience − receipts, for every push with a lifetime. A revocation takes its push from everybody, and
// waits itself for those who have had that: the receipts of the one push say who, and are read when the revocation comes.
// It publishes entries of the PENDING bucket, one for each push and shard, with what is left of the lifetime as their TTL,
// and beside them the position up to which they have folded the logs. It serves inbox.<app>.<shard>, for many users in one
// request, from pushes that it holds by user (sheet).
//
// Why a crash between any two lines is safe: the logs are the truth and the entries a checkpoint, so that a restart need
// not read a week of audiences. A checkpoint takes the position, reads and writes the entries, which may have lost more
// users by then, and writes the position after them. After a crash between,
// the entries are ahead of the position, and folding the rest again changes nothing: an audience whose entry exists is
// skipped, and a receipt takes away what is away already. A receipt that comes before its audience is kept until that
// comes, and the position stays before it. Several workers may hold one shard: entries only ever shrink, a worker that
// finds another's entry keeps what both hold (their intersection), and so whatever a position once claimed stays true. While none
// holds it, nothing is lost: the logs stand, and a login asks until somebody has folded them.
//
// The first worker of an app's first shard also folds PUSHES, and publishes entries of the TASKS bucket, one for each push:
// what stays of it for statistics when the logs have forgotten it. Why a crash is safe there, tasks says.
package offline

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/tracing"
	"github.com/carillon-push/carillon/pkg/wire"
)

// Config of an offline worker.
type Config struct {
	// Apps whose shards it works on, until SetApps says otherwise.
	Apps []push.AppID
	// Standby is how many workers hold a shard beside the first, so that logins are answered when that one is gone.
	Standby int
	// Checkpoint is how often entries that receipts have changed are written; new ones are written at once. It is also how
	// often it is looked for pushes that are to be counted.
	Checkpoint time.Duration
	// Tracer of pushes; nil for none.
	Tracer *tracing.Tracer
}

// Default has one standby, and checkpoints every five seconds: a restart folds that much again.
func Default() Config { return Config{Standby: 1, Checkpoint: 5 * time.Second} }

// Validate says what is wrong, in a sentence.
func (c Config) Validate() error {
	if c.Standby < 0 {
		return fmt.Errorf("a shard has no fewer standbys than none, not %d", c.Standby)
	}
	if c.Checkpoint <= 0 {
		return fmt.Errorf("the checkpoint interval must be positive, not %v", c.Checkpoint)
	}
	return nil
}

// Offline works on those shards of its apps that are its own.
type Offline struct {
	cfg     Config
	b       *broker.Broker
	log     *slog.Logger
	metrics *metrics
	waiting atomic.Int64 // inbox requests that wait for the logs
	shards  *broker.ShardRunner
}

// New makes a worker that does nothing until Run.
func New(cfg Config, b *broker.Broker, reg prometheus.Registerer, log *slog.Logger) (*Offline, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	o := &Offline{cfg: cfg, b: b, log: log.With("component", "offline")}
	o.shards = broker.NewShardRunner(b, broker.ShardConfig{Role: wire.RoleOffline, Apps: cfg.Apps, Standby: cfg.Standby},
		func(ctx context.Context, h *broker.Hold) error {
			s := newShard(o, h.App, h.Shard)
			s.first = func() bool { rank, _ := h.Rank(); return rank == 0 }
			g, ctx := errgroup.WithContext(ctx)
			g.Go(func() error { return s.run(ctx, h.Ready) })
			if h.Shard == tasksShard {
				g.Go(func() error { return newTasks(o, h).run(ctx) })
			}
			return g.Wait()
		})
	var err error
	if o.metrics, err = newMetrics(reg, o.waitingGauge(), o.shards.MembersGauge("carillon_offline_members"), o.shards.BehindGauge("carillon_offline_shards_behind"), o.shards.Collector("carillon_offline_shards_held",
		"Shards whose pending pushes are held here, by place: first, standby, or leaving (until another has taken the shard over).")); err != nil {
		return nil, fmt.Errorf("register the offline worker's metrics: %w", err)
	}
	return o, nil
}

// SetApps changes the apps whose shards are worked on.
func (o *Offline) SetApps(apps []push.AppID) { o.shards.SetApps(apps) }

// Run works until ctx ends, and returns when everything that it started has ended.
func (o *Offline) Run(ctx context.Context) error { return o.shards.Run(ctx) }

// Ready says whether every shard that is known answers logins.
func (o *Offline) Ready() error {
	if err := o.shards.Ready(); err != nil {
		return fmt.Errorf("the offline worker is %w", err)
	}
	return nil
}
