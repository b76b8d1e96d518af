// Package matcher turns pushes into audiences. For each shard it folds the shard's log into an index (package index) and
// takes the shard's pushes as tasks; for each it publishes who matches, as one bitmap.
//
// It folds USERS_<app>_<shard>: user records change the index, pushes only mark their place. It publishes
// audience.<app>.<shard>.<seq>, create-once, evaluated at or after the push's place in the log, so that every change that
// was acknowledged before the push was accepted is seen.
//
// Why a crash between any two lines is safe: the index is rebuilt from the log. A push's task is acknowledged only when
// its audience stands on the broker; a task that comes again, to this matcher or another, finds the audience there
// (broker.ErrConflict) and is done. So no push is missed and none is published twice.
package matcher

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
)

// Config of a matcher.
type Config struct {
	// Apps whose shards it works on.
	Apps []push.AppID
}

// Matcher works on the shards of its apps.
type Matcher struct {
	cfg     Config
	b       *broker.Broker
	log     *slog.Logger
	metrics *metrics
	behind  atomic.Int64 // apps not looked at and shards that are still reading their log
}

// New makes a matcher that does nothing until Run.
func New(cfg Config, b *broker.Broker, reg prometheus.Registerer, log *slog.Logger) (*Matcher, error) {
	m, err := newMetrics(reg)
	if err != nil {
		return nil, fmt.Errorf("register the matcher's metrics: %w", err)
	}
	w := &Matcher{cfg: cfg, b: b, log: log.With("component", "matcher"), metrics: m}
	w.behind.Store(int64(len(cfg.Apps)))
	return w, nil
}

// Run works until ctx ends, and returns when everything that it started has ended.
func (m *Matcher) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, app := range m.cfg.Apps {
		g.Go(func() error {
			looked := sync.OnceFunc(func() { m.behind.Add(-1) })
			return m.b.WatchShards(ctx, app, func(ids []push.Shard) {
				m.behind.Add(int64(len(ids)))
				looked()
				for _, id := range ids {
					s := newShard(m, app, id)
					g.Go(func() error { return s.run(ctx) })
				}
			})
		})
	}
	return g.Wait()
}

// Ready says whether every shard that is known has read its log.
func (m *Matcher) Ready() error {
	if n := m.behind.Load(); n > 0 {
		return fmt.Errorf("the matcher is still reading the logs of %d apps or shards", n)
	}
	return nil
}
