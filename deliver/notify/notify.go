// Package notify shows pushes on the phones of users who have no session, through their vendors' channels. Nothing in it
// is done once per user until a vendor is called.
//
//	AUDIENCES − RECEIPTS after a grace time, AND who has a device ──► NOTICES (whom, a bitmap) ──► NOTIFY (tasks)
//	NOTIFY ──► devices by ordinal ──► the vendor ──► NOTICES (what became of each task)
//
// The workers divide the shards among themselves (broker.ShardRunner). The one that is first in a shard folds the devices of
// its users, AUDIENCES and RECEIPTS, and cuts each push's users, once its grace time is over, into tasks of wire.NotifySize
// users. Tasks are shared by the workers of all processes, a queue for each app and channel, so that a vendor which does not
// answer delays nobody else's.
//
// Why a crash between any two lines is safe: whom a push goes to is written once (create-once), and what its tasks are
// follows from that alone; a push that was being cut is cut again, into the same tasks, of which those that wait or are done
// are left out. Only then the position moves. A task is done again from what was written of it: whom the vendor had taken
// since then is notified twice, which is one task's users at most, and a vendor that can collapse notifications does so by
// the TaskId. The position and the tasks may be written by two workers at once, while the fleet moves: they write the same.
package notify

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/deliver/channel"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/directory"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// Sender notifies devices over one channel of an app, within its vendor's limits. It gives a result for each token, in
// their order; channel.Sender is one.
type Sender interface {
	Send(ctx context.Context, n *channel.Notice, tokens []string) []channel.Result
	// Revoke takes back what was sent, where the vendor can; ids are those of the results of Send.
	Revoke(ctx context.Context, n *channel.Notice, tokens, ids []string) []channel.Result
	// Revokes says whether it can.
	Revokes() bool
}

// App is an app whose users have phones, and its channels by name.
type App struct {
	ID       push.AppID
	Channels map[string]Sender
}

// Config of a worker.
type Config struct {
	// Apps that it works for, until SetApps says otherwise.
	Apps []App
	// Standby is how many workers hold a shard beside the first.
	Standby int
	// Grace is how long a push waits for acknowledgements before it goes to the phones of those who have sent none.
	Grace time.Duration
	// Concurrency is how many tasks of one channel are done at once.
	Concurrency int
	// Idle is how long a device may not be heard of before it is forgotten; zero for ever.
	Idle time.Duration
}

// Default waits for three seconds, does four tasks of a channel at once, and forgets devices after 180 days.
func Default() Config {
	return Config{Standby: 1, Grace: 3 * time.Second, Concurrency: 4, Idle: 180 * 24 * time.Hour}
}

// Validate says what is wrong, in a sentence.
func (c Config) Validate() error {
	switch {
	case c.Standby < 0:
		return fmt.Errorf("a shard has no fewer standbys than none, not %d", c.Standby)
	case c.Grace < 0:
		return fmt.Errorf("the grace time of notifications must not be negative, as %v is", c.Grace)
	case c.Concurrency < 1:
		return fmt.Errorf("at least one task of a channel is done at once, not %d", c.Concurrency)
	case c.Idle < 0:
		return fmt.Errorf("the time after which a device is forgotten must not be negative, as %v is", c.Idle)
	}
	return nil
}

// Notify works on those shards of its apps that are its own, and on any of their tasks.
type Notify struct {
	cfg     Config
	b       *broker.Broker
	dir     *directory.Directory
	log     *slog.Logger
	metrics *metrics
	notices *notices
	shards  *broker.ShardRunner

	mu      sync.Mutex
	apps    map[push.AppID]map[string]Sender
	changed chan struct{} // capacity 1: apps are others
}

// New makes a worker that does nothing until Run.
func New(cfg Config, b *broker.Broker, reg prometheus.Registerer, log *slog.Logger) (*Notify, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	n := &Notify{
		cfg: cfg, b: b, dir: directory.New(b), log: log.With("component", "notify"), changed: make(chan struct{}, 1),
	}
	n.shards = broker.NewShardRunner(b, broker.ShardConfig{Role: wire.RoleNotify, Standby: cfg.Standby},
		func(ctx context.Context, h *broker.Hold) error { return newShard(n, h).run(ctx) })
	n.SetApps(cfg.Apps)
	var err error
	if n.metrics, err = newMetrics(reg, n.shards.Collector("carillon_notify_shards_held",
		"Shards whose pushes are cut into tasks here, by place: first, standby, or leaving (until another has taken the shard over).")); err != nil {
		return nil, fmt.Errorf("register the notification worker's metrics: %w", err)
	}
	if n.notices, err = newNotices(b); err != nil {
		return nil, fmt.Errorf("make the cache of notices: %w", err)
	}
	return n, nil
}

// SetApps changes the apps that are worked for, and their channels.
func (n *Notify) SetApps(apps []App) {
	n.mu.Lock()
	n.apps = map[push.AppID]map[string]Sender{}
	for _, a := range apps {
		if len(a.Channels) > 0 {
			n.apps[a.ID] = maps.Clone(a.Channels)
		}
	}
	n.shards.SetApps(slices.Sorted(maps.Keys(n.apps)))
	n.mu.Unlock()
	select { // never waits: a mark that is there already says the same
	case n.changed <- struct{}{}:
	default:
	}
}

// channels of an app, by name.
func (n *Notify) channels(app push.AppID) map[string]Sender {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.apps[app]
}

// queue is what one group of workers takes its tasks from.
type queue struct {
	app     push.AppID
	channel string
}

// Run works until ctx ends, and returns when everything that it started has ended.
func (n *Notify) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return n.shards.Run(ctx) })
	g.Go(func() error {
		running := map[queue]context.CancelFunc{}
		for {
			select { // SetApps wakes it, ctx ends it
			case <-ctx.Done():
				return ctx.Err()
			case <-n.changed:
			}
			wanted := map[queue]bool{}
			n.mu.Lock()
			for app, channels := range n.apps {
				for name := range channels {
					wanted[queue{app, name}] = true
				}
			}
			n.mu.Unlock()
			for q, stop := range running {
				if !wanted[q] {
					stop()
					delete(running, q)
				}
			}
			for q := range wanted {
				if running[q] != nil {
					continue
				}
				of, stop := context.WithCancel(ctx)
				running[q] = stop
				g.Go(func() error { return n.take(ctx, of, q) })
			}
		}
	})
	return g.Wait()
}

// take does the tasks of a queue until of ends, which is no error while ctx has not.
func (n *Notify) take(ctx, of context.Context, q queue) error {
	err := n.b.Queue(of, broker.QueueConfig{
		Stream: wire.NotifyStream, Durable: wire.NotifyConsumer(q.app, q.channel), Filter: wire.NotifyFilter(q.app, q.channel),
		Concurrency: n.cfg.Concurrency, Handle: n.task,
	})
	if ctx.Err() == nil && of.Err() != nil {
		return nil
	}
	return err
}

// Ready says whether every shard that is known is cut into tasks somewhere.
func (n *Notify) Ready() error {
	if err := n.shards.Ready(); err != nil {
		return fmt.Errorf("the notification worker is %w", err)
	}
	return nil
}
