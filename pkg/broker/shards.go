package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// ShardWork works on a shard that is held, until its ctx ends.
type ShardWork func(ctx context.Context, h *Hold) error

// ShardConfig says whose shards a role works on, and how its members divide them.
type ShardConfig struct {
	Role string
	// Apps whose shards are divided, until SetApps says otherwise.
	Apps []push.AppID
	// Standby is how many members hold a shard beside the first in rank, so that they can do its work at once.
	Standby int
}

// ShardRunner runs a role's work for every shard that is this member's, of a set of apps that may change, as shards appear
// and members come and go. A shard is a member's that stands among the first 1+Standby in rank. One that does so no more
// lets go once a member before it does the work: while the fleet moves a shard is held by too many rather than by nobody.
type ShardRunner struct {
	b       *Broker
	cfg     ShardConfig
	work    ShardWork
	member  *Member
	behind  atomic.Int64 // apps not looked at, and shards that are not decided on or not ready
	mu      sync.Mutex
	apps    []push.AppID
	holds   map[*Hold]struct{}
	changed chan struct{} // capacity 1: apps is another
}

// NewShardRunner makes a runner that does nothing until Run.
func NewShardRunner(b *Broker, cfg ShardConfig, work ShardWork) *ShardRunner {
	r := &ShardRunner{
		b: b, cfg: cfg, work: work, member: NewMember(b, cfg.Role), holds: map[*Hold]struct{}{}, changed: make(chan struct{}, 1),
	}
	r.behind.Store(1) // until the first look at apps
	r.SetApps(cfg.Apps)
	return r
}

// SetApps changes the set: work on the shards of an app that is new begins, of one that is gone ends.
func (r *ShardRunner) SetApps(apps []push.AppID) {
	r.mu.Lock()
	r.apps = slices.Clone(apps)
	r.mu.Unlock()
	select { // never waits: a mark that is there already says the same
	case r.changed <- struct{}{}:
	default:
	}
}

// Ready says whether every shard that is known is another member's, or its work ready.
func (r *ShardRunner) Ready() error {
	if n := r.behind.Load(); n > 0 {
		return fmt.Errorf("still reading the logs of %d apps or shards", n)
	}
	return nil
}

// Member is this process among those that divide the shards.
func (r *ShardRunner) Member() *Member { return r.member }

// Run works until ctx ends or a work fails, and returns when everything that it started has ended.
func (r *ShardRunner) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	running := map[push.AppID]context.CancelFunc{}
	g.Go(func() error { return r.member.Run(ctx) })
	g.Go(func() error {
		looked := sync.OnceFunc(func() { r.behind.Add(-1) })
		for {
			select { // SetApps wakes it, ctx ends it
			case <-ctx.Done():
				return ctx.Err()
			case <-r.changed:
			}
			r.mu.Lock()
			apps := r.apps
			r.mu.Unlock()
			for app, stop := range running {
				if !slices.Contains(apps, app) {
					stop()
					delete(running, app)
				}
			}
			for _, app := range apps {
				if running[app] == nil {
					of, stop := context.WithCancel(ctx)
					running[app] = stop
					r.behind.Add(1)
					g.Go(func() error { return r.app(ctx, of, app) })
				}
			}
			looked()
		}
	})
	return g.Wait()
}

// app works on one app's shards until of ends, which is no error while ctx has not.
func (r *ShardRunner) app(ctx, of context.Context, app push.AppID) error {
	g, of := errgroup.WithContext(of)
	looked := sync.OnceFunc(func() { r.behind.Add(-1) })
	defer looked()
	g.Go(func() error {
		return r.b.WatchShards(of, app, func(shards []push.Shard) {
			r.behind.Add(int64(len(shards)))
			looked()
			for _, s := range shards {
				g.Go(func() error { return r.shard(of, app, s) })
			}
		})
	})
	if err := g.Wait(); ctx.Err() != nil || !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// shard holds a shard whenever it is this member's, until ctx ends. It is counted as behind when it begins.
func (r *ShardRunner) shard(ctx context.Context, app push.AppID, id push.Shard) error {
	settled := sync.OnceFunc(func() { r.behind.Add(-1) })
	defer func() { settled() }()
	for {
		rank, changed := r.member.Rank(app, id)
		if rank >= 0 && rank <= r.cfg.Standby {
			if err := r.hold(ctx, app, id, settled); err != nil {
				return err
			}
			settled()
			continue
		}
		if rank >= 0 {
			settled()
		}
		select { // another view of the members wakes it, ctx ends it
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
		if now, _ := r.member.Rank(app, id); rank >= 0 && now <= r.cfg.Standby {
			r.behind.Add(1)
			settled = sync.OnceFunc(func() { r.behind.Add(-1) })
		}
	}
}

// shardPoll is how often WatchShards looks by itself: only for when an announcement was lost.
const shardPoll = 5 * time.Second

// WatchShards calls found with the app's shards: first with those that are there, be it none, and then with new ones as
// they appear, until ctx ends.
func (b *Broker) WatchShards(ctx context.Context, app push.AppID, found func([]push.Shard)) error {
	news := make(chan *nats.Msg, 16) // when full, what is dropped says nothing that the message before it did not
	sub, err := b.nc.ChanSubscribe(wire.ShardSubject(app), news)
	if err != nil {
		return fmt.Errorf("subscribe to new shards of app %d: %w", app, err)
	}
	defer sub.Unsubscribe() //nolint:errcheck // the connection may be gone already
	if err := b.nc.FlushTimeout(10 * time.Second); err != nil {
		return fmt.Errorf("subscribe to new shards of app %d: %w", app, err)
	}
	tick := time.NewTicker(shardPoll)
	defer tick.Stop()
	seen, first := map[push.Shard]bool{}, true
	for {
		shards, err := b.Shards(ctx, app)
		if err != nil && ctx.Err() == nil {
			b.log.Warn("look for shards; will look again", "app", app, "err", err)
		}
		fresh := slices.DeleteFunc(shards, func(s push.Shard) bool { return seen[s] })
		for _, s := range fresh {
			seen[s] = true
		}
		if err == nil && (first || len(fresh) > 0) {
			first = false
			found(fresh)
		}
		select { // a new shard or the ticker wakes it, ctx ends it
		case <-ctx.Done():
			return ctx.Err()
		case <-news:
		case <-tick.C:
		}
	}
}
