// Package matcher turns pushes into audiences. For each shard it folds the shard's log into an index (package index) and
// takes the shard's pushes as tasks; for each it publishes who matches, as one bitmap.
//
// It folds USERS_<app>_<shard>: user records change the index, pushes only mark their place. It publishes
// audience.<app>.<shard>.<seq>, create-once, evaluated at or after the push's place in the log, so that every change that
// was acknowledged before the push was accepted is seen.
// It also answers match.<app>.<shard>: whom some predicates hold for, without a push (count.go).
//
// Why a crash between any two lines is safe: the index is rebuilt from the log. A push's task is acknowledged only when
// its audience stands on the broker; a task that comes again, to this matcher or another, finds the audience there
// (broker.ErrConflict) and is done. So no push is missed and none is published twice.
package matcher

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
)

// Config of a matcher.
type Config struct {
	// Apps whose shards it works on, until SetApps says otherwise.
	Apps []push.AppID
}

// Matcher works on the shards of its apps.
type Matcher struct {
	b       *broker.Broker
	log     *slog.Logger
	metrics *metrics
	shards  *broker.ShardRunner
}

// New makes a matcher that does nothing until Run.
func New(cfg Config, b *broker.Broker, reg prometheus.Registerer, log *slog.Logger) (*Matcher, error) {
	metrics, err := newMetrics(reg)
	if err != nil {
		return nil, fmt.Errorf("register the matcher's metrics: %w", err)
	}
	m := &Matcher{b: b, log: log.With("component", "matcher"), metrics: metrics}
	m.shards = broker.NewShardRunner(b, cfg.Apps, func(ctx context.Context, app push.AppID, id push.Shard, ready func()) error {
		return newShard(m, app, id).run(ctx, ready)
	})
	return m, nil
}

// SetApps changes the apps whose shards are worked on.
func (m *Matcher) SetApps(apps []push.AppID) { m.shards.SetApps(apps) }

// Run works until ctx ends, and returns when everything that it started has ended.
func (m *Matcher) Run(ctx context.Context) error { return m.shards.Run(ctx) }

// Ready says whether every shard that is known has read its log.
func (m *Matcher) Ready() error {
	if err := m.shards.Ready(); err != nil {
		return fmt.Errorf("the matcher is %w", err)
	}
	return nil
}
