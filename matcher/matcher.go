// Package matcher turns pushes into audiences. The matchers divide the shards among themselves (broker.ShardRunner). For each
// that it holds, a matcher folds the shard's log into an index (package index) and takes the shard's pushes as tasks; for
// each it publishes who matches, as one bitmap.
//
// It folds USERS_<app>_<shard>: user records change the index, pushes only mark their place. It publishes
// audience.<app>.<shard>.<seq>, create-once, evaluated at or after the push's place in the log, so that every change that
// was acknowledged before the push was accepted is seen. A revocation's and a replay's go by the audience of the push that
// they are about, and a replay's by its receipts too (earlier.go).
// It also answers match.<app>.<shard>: whom some predicates hold for, without a push (count.go).
// Now and then the first of a shard puts the index into the INDEX bucket, with its place in the log, so that the next to
// take the shard over need fold only the rest (snapshot.go).
//
// Why a crash between any two lines is safe: the index is rebuilt from the log, or from a snapshot and the log behind it. A
// snapshot is put in place whole or not at all; it may hold more of the log than it says, never less, and folding a record
// again changes nothing. The log keeps the last record of every user, tombstones too, so that what a snapshot's rest does
// not have the snapshot does. One that is of another log, cannot be read or does not come in time is not used.
// A push's task is acknowledged only when its audience stands on the broker; a task that comes again, to this matcher or
// another, finds the audience there (broker.ErrConflict) and is done. So no push is missed and none is published twice,
// also while two matchers believe that they are the first of a shard; and while none does the task waits on the broker.
package matcher

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/tracing"
	"github.com/carillon-push/carillon/pkg/wire"
)

// Config of a matcher.
type Config struct {
	// Apps whose shards it works on, until SetApps says otherwise.
	Apps []push.AppID
	// Standby is how many matchers keep an index of a shard beside the first, so that they can go on at once.
	Standby int
	// Snapshot is how often it is looked whether a new snapshot of a shard's index is due.
	Snapshot time.Duration
	// SnapshotChanges is how far in the shard's log one is behind the one before.
	SnapshotChanges uint64
	// Tracer of pushes; nil for none.
	Tracer *tracing.Tracer
}

// Default has one standby, and snapshots every five minutes of shards whose log would otherwise take more than a tenth of a
// second to fold.
func Default() Config { return Config{Standby: 1, Snapshot: 5 * time.Minute, SnapshotChanges: 20_000} }

// Validate says what is wrong, in a sentence.
func (c Config) Validate() error {
	switch {
	case c.Standby < 0:
		return fmt.Errorf("a shard has no fewer standbys than none, not %d", c.Standby)
	case c.Snapshot <= 0:
		return fmt.Errorf("the time between two snapshots must be positive, not %v", c.Snapshot)
	case c.SnapshotChanges == 0:
		return fmt.Errorf("a snapshot is due after one change or more, not none")
	}
	return nil
}

// Matcher works on those shards of its apps that are its own.
type Matcher struct {
	cfg     Config
	b       *broker.Broker
	log     *slog.Logger
	metrics *metrics
	shards  *broker.ShardRunner
	waiting atomic.Int64  // counts that wait for the log
	writing chan struct{} // capacity 1: a snapshot is being written

	mu    sync.Mutex
	snaps map[*broker.Hold]snapshot // the newest of each shard that is held, for the metrics
}

// New makes a matcher that does nothing until Run.
func New(cfg Config, b *broker.Broker, reg prometheus.Registerer, log *slog.Logger) (*Matcher, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m := &Matcher{
		cfg: cfg, b: b, log: log.With("component", "matcher"),
		writing: make(chan struct{}, 1), snaps: map[*broker.Hold]snapshot{},
	}
	m.shards = broker.NewShardRunner(b, broker.ShardConfig{Role: wire.RoleMatcher, Apps: cfg.Apps, Standby: cfg.Standby},
		func(ctx context.Context, h *broker.Hold) error {
			defer m.drop(h)
			return newShard(m, h).run(ctx)
		})
	var err error
	if m.metrics, err = newMetrics(reg, m); err != nil {
		return nil, fmt.Errorf("register the matcher's metrics: %w", err)
	}
	return m, nil
}

// keep notes the newest snapshot of a shard that is held.
func (m *Matcher) keep(h *broker.Hold, s snapshot) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.snaps[h] = s
}

func (m *Matcher) drop(h *broker.Hold) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.snaps, h)
}

// snapshots gives the size of all snapshots of shards that are held, and the age of the oldest; zeros without any.
func (m *Matcher) snapshots() (bytes uint64, age time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.snaps {
		bytes, age = bytes+s.bytes, max(age, time.Since(s.written))
	}
	return bytes, age
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
