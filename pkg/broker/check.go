package broker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// checkTime bounds what the broker is asked for a check: what has no leader is not answered at all.
const checkTime = 2 * time.Second

// Check asks the broker whether pushes and audiences can be written and read now: there is a connection, JetStream answers,
// and these streams have leaders.
func (b *Broker) Check(ctx context.Context) error {
	if s := b.nc.Status(); s != nats.CONNECTED {
		return fmt.Errorf("the connection to the broker at %s is %v", place(b.cfg.URL), s)
	}
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	for _, name := range []string{wire.PushesStream, wire.AudiencesStream} {
		s, err := b.in.Stream(ctx, name)
		if err != nil {
			return fmt.Errorf("the broker at %s does not answer for %s: %w", place(b.cfg.URL), name, err)
		}
		if c := s.CachedInfo().Cluster; c != nil && c.Leader == "" {
			return fmt.Errorf("the broker's stream %s has no leader", name)
		}
	}
	return nil
}

// Place is a shard of an app that a role works on.
type Place struct {
	Role  string
	App   push.AppID
	Shard push.Shard
}

func (p Place) String() string {
	return fmt.Sprintf("shard %d of app %d has no %s", p.Shard, p.App, p.Role)
}

// Bounds of Unheld: how many holders are asked for at once, in one look, and how long each has to answer.
const (
	unheldAsk  = 8
	unheldMost = 128
	unheldWait = time.Second
)

// Unheld asks, for the shards of apps, whether anybody does the work of each role, and gives those places where nobody
// answers. Where there are more than it asks for, it looks at some at random, and at those that were unheld before.
func (b *Broker) Unheld(ctx context.Context, apps []push.AppID, before []Place) ([]Place, error) {
	var places []Place
	for _, app := range apps {
		shards, err := b.Shards(ctx, app)
		if err != nil {
			return before, err
		}
		for _, s := range shards {
			places = append(places, Place{wire.RoleMatcher, app, s}, Place{wire.RoleOffline, app, s})
		}
	}
	rand.Shuffle(len(places), func(i, j int) { places[i], places[j] = places[j], places[i] })
	places = append(before[:len(before):len(before)], places...)
	asked, unheld := map[Place]bool{}, []Place(nil)
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(unheldAsk)
	for _, p := range places {
		if asked[p] || len(asked) >= unheldMost {
			continue
		}
		asked[p] = true
		g.Go(func() error {
			if err := b.holder(ctx, p); err != nil {
				mu.Lock()
				defer mu.Unlock()
				unheld = append(unheld, p)
			}
			return nil
		})
	}
	_ = g.Wait() // none of them fails
	return unheld, ctx.Err()
}

// holder asks whether somebody does the work of a place. A connection that is lost says nothing about that.
func (b *Broker) holder(ctx context.Context, p Place) error {
	ctx, cancel := context.WithTimeout(ctx, unheldWait)
	defer cancel()
	_, err := b.nc.RequestWithContext(ctx, wire.HolderSubject(p.Role, p.App, p.Shard), nil)
	if errors.Is(err, nats.ErrNoResponders) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}
