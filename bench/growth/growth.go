// Package growth measures how each cost grows: from 1 to 64 shards, from 1 to 8 gateways, from 1 to 1,000 live pushes and up
// to a million accounts; and it holds the model of docs/scale.md, which says what a fleet for a hundred million users
// takes, against the largest run that fits on one machine.
//
// Everything is real: the broker and the roles are processes of the real binary, accounts are registered, and sessions log
// in. For many shards the shards are narrow (sharding.bits), so that what is seen is what a shard costs, and not its users.
// Clients are package crowd's, so that main and TestMain must call crowd.Child first.
package growth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/carillon-push/carillon/bench/fleet"
	"github.com/carillon-push/carillon/bench/report"
	"github.com/carillon-push/carillon/pkg/push"
)

// Options of a run. Use Default and change what differs.
type Options struct {
	// Shards, Gateways and Live pushes that are measured with, ascending.
	Shards, Gateways, Live []int
	// Bits are the width of a shard while there are several.
	Bits push.Sharding
	// Sessions of all gateways together.
	Sessions int
	// Pushes at each point.
	Pushes int
	// Logins at each number of live pushes.
	Logins int
	// Window is how long it is watched, without a push and with pushes at its beginning. Processes look at their health every
	// five seconds, and entries that receipts have changed are written as often, so that a window has as many of either.
	Window time.Duration
	// Settle is how long receipts are gathered, and Later how long it takes until all pushes have been counted once.
	Settle, Later time.Duration
	// Check is the largest run.
	Check Check

	later time.Duration // Later where it is measured
}

// Default measures for about seven minutes.
func Default() Options {
	return Options{
		Shards: []int{1, 2, 4, 8, 16, 32, 64}, Gateways: []int{1, 2, 4, 8}, Live: []int{1, 10, 100, 1000},
		Bits: 11, Sessions: 2000, Pushes: 20, Logins: 400,
		Window: 5 * time.Second, Settle: 1200 * time.Millisecond, Later: 10 * time.Second,
		Check: Check{Accounts: []int{100_000, 1_000_000}, Bits: 17, Gateways: 4, Sessions: 15_000, Pushes: 20},
	}
}

// Long has a larger largest run, and takes some three minutes more.
func Long() Options {
	o := Default()
	o.Check.Accounts, o.Check.Bits = []int{100_000, 1_000_000, 2_000_000}, 18
	return o
}

// Short is a run for tests; what it measures means nothing.
func Short() Options {
	return Options{
		Shards: []int{1, 2}, Gateways: []int{1, 2}, Live: []int{1, 3}, Bits: 6, Sessions: 20, Pushes: 2, Logins: 10,
		Window: 50 * time.Millisecond, Settle: 50 * time.Millisecond, Later: 50 * time.Millisecond,
		Check: Check{Accounts: []int{100, 300}, Bits: 8, Gateways: 1, Sessions: 20, Pushes: 2},
	}
}

// Validate says what cannot work.
func (o Options) Validate() error {
	for _, points := range [][]int{o.Shards, o.Gateways, o.Live, o.Check.Accounts} {
		if len(points) < 2 || points[0] < 1 || !slices.IsSorted(points) {
			return errors.New("of each thing that grows there must be two numbers or more, ascending, from 1 on")
		}
	}
	switch {
	case o.Bits < 4 || o.Bits > push.DefaultSharding || o.Check.Bits < 4 || o.Check.Bits > push.DefaultSharding:
		return fmt.Errorf("a shard has from 4 to %d bits", push.DefaultSharding)
	case o.Sessions < 1 || o.Sessions >= o.Shards[0]<<o.Bits || o.Logins < 1:
		return errors.New("there must be sessions, fewer than users of the fewest shards, and logins")
	case o.Check.Sessions < 1 || o.Check.Sessions > o.Check.Accounts[0] || o.Check.Gateways < 1:
		return errors.New("the largest run must have sessions and a gateway")
	case o.Pushes < 1 || o.Check.Pushes < 1 || o.Window <= 0 || o.Settle <= 0 || o.Later <= 0:
		return errors.New("pushes must be at least 1, and times positive")
	}
	return nil
}

// Run measures.
func Run(ctx context.Context, o Options) (figures []report.Figure, err error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("measure growth: %w", err)
	}
	for _, measure := range []func(context.Context, Options) ([]report.Figure, error){shards, gateways, live, wide, check} {
		some, err := measure(ctx, o)
		if err != nil {
			return nil, fmt.Errorf("measure growth: %w", err)
		}
		figures = append(figures, some...)
	}
	return figures, nil
}

// roles that do the work of a push, in the order in which it comes to them.
var roles = []string{fleet.Broker, fleet.Ingest, fleet.Matcher, fleet.Deliver, fleet.Offline}

// called is what people call the processes of a role.
var called = map[string]string{
	fleet.Broker: "broker", fleet.Ingest: "ingest process", fleet.Matcher: "matcher", fleet.Deliver: "gateways", fleet.Offline: "offline worker",
}
