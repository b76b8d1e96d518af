// Package pending measures what it costs to remember a push for users who are offline: the offline role's entries, one a
// shard, against one entry a user.
//
// Both are on an embedded broker as the service runs it, which syncs to disk before it answers. Ours is the offline role
// itself: the clock runs from publishing the audience, as a matcher does, until a reader of the bucket has seen the entry
// of every shard. The peer writes one message a key to a stream that keeps the last of each subject, as a key-value bucket
// does, in the fastest durable way that the broker has: atomic batches of a thousand. Its entry holds nothing but the
// push's number.
//
// A week of pushes is measured with the real binary, the broker and the worker in a process each: the worker is killed, and
// started again.
package pending

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/bench/report"
	"github.com/carillon-push/carillon/bench/roles"
	"github.com/carillon-push/carillon/bench/service"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
)

// Options of a run. Use Default and change what differs.
type Options struct {
	// Users who are offline and are to get the push.
	Users int
	// Repeats of either side.
	Repeats int
	// Pushes that the users are to get when a worker starts anew.
	Pushes int
	// Week is how many users there are for whom a worker that is killed remembers as many pushes, and Logins how often it is
	// asked then.
	Week, Logins int
}

// Default measures a million users, most of the time the peer's, and a week of ten million, in about five minutes.
func Default() Options {
	return Options{Users: 1_000_000, Repeats: 3, Pushes: 700, Week: 10 << 20, Logins: 100_000}
}

// Short is a run for tests; what it measures means nothing.
func Short() Options { return Options{Users: 3000, Repeats: 1, Pushes: 7, Week: 3000, Logins: 100} }

// Validate says what cannot work.
func (o Options) Validate() error {
	if o.Users < 1 || o.Users > 1<<22 || o.Repeats < 1 || o.Pushes < 1 {
		return errors.New("there must be from 1 to 4194304 users, and at least 1 repeat and 1 push")
	}
	if o.Week < 1000 || o.Week > 10<<20 || o.Logins < 1 {
		return errors.New("there must be from 1000 to 10485760 users of a week, and at least 1 login")
	}
	return nil
}

const app = service.App

// spread is how the users stand among the app's accounts.
type spread struct {
	name string
	// share is that one in so many accounts is to get the push, at random.
	share int
	// goal is how many times smaller than an entry a user the state is to be.
	goal float64
}

var spreads = []spread{
	{"all of its accounts", 1, 300},
	{"every other account at random", 2, 300},
	{"one account in ten at random", 10, 100}, // limit says why no more
}

// limit is what no encoding can go below on average: the entropy of who among the accounts is to get the push.
func (s spread) limit(users int, theirs []float64) string {
	if s.share == 1 {
		return ""
	}
	p := 1 / float64(s.share)
	bits := -math.Log2(p) - (1-p)/p*math.Log2(1-p) // for each who is
	least := float64(users) * bits / 8
	return fmt.Sprintf("; no encoding takes less than %s bytes on average, %s times less than the peer", report.Text(least), report.Text(report.Median(theirs...)/least))
}

// audience draws n users among their accounts, by shard.
func (s spread) audience(n int, width push.Sharding, r *rand.Rand) map[push.Shard]*roaring.Bitmap {
	shards := map[push.Shard]*roaring.Bitmap{}
	for i := range n {
		// One of each share consecutive accounts, so that there are exactly n.
		o := push.Ordinal(1 + i*s.share + r.IntN(s.share))
		b := shards[width.Shard(o)]
		if b == nil {
			b = roaring.New()
			shards[width.Shard(o)] = b
		}
		b.Add(width.Local(o))
	}
	for _, b := range shards {
		b.RunOptimize() // as the matcher does
	}
	return shards
}

// cost of remembering a push.
type cost struct{ bytes, seconds []float64 }

func (c *cost) add(bytes uint64, took time.Duration) {
	c.bytes = append(c.bytes, float64(bytes))
	c.seconds = append(c.seconds, took.Seconds())
}

// Run measures either side in turns, each turn on a fresh broker.
func Run(ctx context.Context, o Options) ([]report.Figure, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("measure pending state: %w", err)
	}
	ours, shards := make([]cost, len(spreads)), make([]int, len(spreads))
	var theirs, again cost
	var empty time.Duration
	for i := range o.Repeats {
		r := rand.New(rand.NewPCG(5, uint64(i)))
		for j, s := range spreads {
			err := roles.OnBroker(ctx, func(b *broker.Broker) error {
				audience := s.audience(o.Users, b.Sharding(), r)
				shards[j] = len(audience)
				bytes, took, err := remember(ctx, b, audience)
				ours[j].add(bytes, took)
				return err
			})
			if err != nil {
				return nil, fmt.Errorf("remember a push to %s: %w", s.name, err)
			}
		}
		err := roles.OnBroker(ctx, func(b *broker.Broker) error {
			bytes, took, err := entryEach(ctx, b, o.Users)
			theirs.add(bytes, took)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("remember a push with an entry a user: %w", err)
		}
		err = roles.OnBroker(ctx, func(b *broker.Broker) error {
			of, err := recovery(ctx, b, spreads[1].audience(o.Users, b.Sharding(), r), o.Pushes)
			again.add(of.bytes, of.took)
			empty = max(empty, of.empty)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("start a worker anew: %w", err)
		}
	}
	var list []report.Figure
	for j, s := range spreads {
		of := fmt.Sprintf("pending state of a push to %s offline users, %s, against one entry a user", report.Text(float64(o.Users)), s.name)
		list = append(list,
			report.New(of+", bytes on the broker", "bytes", ours[j].bytes...).Under(theirs.bytes...).Times(s.goal).
				Noting("%d entries; as much again stands in the log of audiences, for the gateways%s", shards[j], s.limit(o.Users, theirs.bytes)),
			report.New(of+", seconds until durable", "s", ours[j].seconds...).Under(theirs.seconds...).AtMost(0.05),
		)
	}
	of := fmt.Sprintf("offline worker that starts with %d pushes to %s offline users, %s", o.Pushes, report.Text(float64(o.Users)), spreads[1].name)
	list = append(list,
		report.New(of+", bytes on the broker", "bytes", again.bytes...),
		report.New(of+", seconds until it answers logins", "s", again.seconds...).Noting("%.2g s where nothing is pending", empty.Seconds()),
	)
	for _, m := range mixes {
		var w week
		if err := w.measure(ctx, o, m); err != nil {
			return nil, fmt.Errorf("measure a week, %s: %w", m.name, err)
		}
		list = append(list, w.figures(o, m)...)
	}
	return list, nil
}
