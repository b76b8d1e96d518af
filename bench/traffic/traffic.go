// Package traffic counts what one push sends through the broker, in messages and bytes, for 1, 10 and 100 million users.
//
// What is real: the broker (a server in this process, durable streams, reached over TCP), the push as ingest writes it, the
// shards' logs with the copy of the push in each, the consumers of matchers, gateways and the offline role, the audiences'
// bitmaps (package index's, of a shard that is full), their layouts, and the offline role itself with its entries. What is
// simulated: every shard has the same users, so that one index stands for all; a matcher publishes the audience without
// folding the log of records; a gateway has no sessions, and writes for each audience one receipt of its part of those who
// are online. Everything is counted at the broker's connections, without what they carry while nothing is pushed.
package traffic

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/carillon-push/carillon/bench/report"
	"github.com/carillon-push/carillon/pkg/push"
)

// Options of a run. Use Default and change what differs.
type Options struct {
	// Users of a shard.
	Users int
	// Shards, ascending, and Gateways that are counted with.
	Shards, Gateways []int
	// Pushes of each kind.
	Pushes int
	// Idle is how long it is counted what passes without a push, for each number of shards and gateways.
	Idle time.Duration
}

// Default counts for up to 100 million users, in about a minute.
func Default() Options {
	return Options{Users: 1_000_000, Shards: []int{1, 10, 100}, Gateways: []int{2}, Pushes: 2, Idle: time.Second}
}

// Long counts more pushes, and with one gateway and eight, too.
func Long() Options {
	o := Default()
	o.Gateways, o.Pushes, o.Idle = []int{1, 2, 8}, 5, 3*time.Second
	return o
}

// Short is a run for tests; what it counts means nothing.
func Short() Options {
	return Options{Users: 20_000, Shards: []int{1, 2}, Gateways: []int{1, 2}, Pushes: 1, Idle: 50 * time.Millisecond}
}

// Validate says what cannot work.
func (o Options) Validate() error {
	switch {
	case o.Users < 1 || o.Users > int(push.DefaultSharding.Width()):
		return fmt.Errorf("there are %d users; a shard has from 1 to %d", o.Users, push.DefaultSharding.Width())
	case len(o.Shards) == 0 || len(o.Gateways) == 0 || slices.Min(o.Shards) < 1 || slices.Min(o.Gateways) < 1 || !slices.IsSorted(o.Shards):
		return errors.New("numbers of shards, ascending, and of gateways must be at least 1")
	case o.Pushes < 1 || o.Idle <= 0:
		return errors.New("pushes must be at least 1, and the idle time positive")
	}
	return nil
}

// online says that one user in so many is, and acknowledges.
const online = 10

// kind of a push: which part of the users it goes to.
type kind struct {
	name string
	tag  string // empty for everybody
	one  uint32 // of so many users has it, at random
}

func kinds() []kind {
	return []kind{
		{"all users", "", 1},
		{"10 % of the users", "tenth", 10},
		{"1 % of the users", "hundredth", 100},
		{"one user in 10,000", "few", 10_000},
	}
}

// Run counts.
func Run(ctx context.Context, o Options) (figures []report.Figure, err error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("count traffic: %w", err)
	}
	if figures, err = count(ctx, o); err != nil {
		return nil, fmt.Errorf("count traffic: %w", err)
	}
	return figures, nil
}

func count(ctx context.Context, o Options) (figures []report.Figure, err error) {
	s, err := serve(ctx, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	err = s.offline(ctx, func() error {
		for _, shards := range o.Shards {
			if err := s.grow(ctx, shards); err != nil {
				return err
			}
			for _, gateways := range o.Gateways {
				passed, err := s.with(ctx, gateways)
				if err != nil {
					return fmt.Errorf("with %d shards and %d gateways: %w", shards, gateways, err)
				}
				for i, k := range kinds() {
					figures = append(figures, passed[i].figures(o, k, shards, gateways)...)
				}
			}
		}
		return nil
	})
	return figures, err
}

// figures of one kind of push: what passes the broker, by the push.
func (p passed) figures(o Options, k kind, shards, gateways int) []report.Figure {
	users := float64(o.Users) * float64(shards)
	name := fmt.Sprintf("a push to %s of %s, %d shards, %d gateways: ", k.name, report.Text(users), shards, gateways)
	n := float64(o.Pushes)
	mb := func(bytes float64) float64 { return max(bytes, 0) / n / 1e6 }
	return []report.Figure{
		report.New(name+"bytes through the broker", "MB", mb(p.in.bytes+p.out.bytes)).
			Noting("in %s, out %s; an audience of a shard has %s bytes; the streams grow by %s MB, times the replicas",
				report.Text(mb(p.in.bytes)), report.Text(mb(p.out.bytes)), report.Text(float64(p.audience)), report.Text(mb(p.stored))),
		report.New(name+"messages through the broker", "messages", max(p.in.messages+p.out.messages, 0)/n).
			Noting("in %s, out %s, acknowledgements among them; while idle %s a second pass",
				report.Text(p.in.messages/n), report.Text(p.out.messages/n), report.Text(p.idle)),
	}
}
