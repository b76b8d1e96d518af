// Package notify measures what it costs to show pushes on phones: each vendor's channel behind its sender, and the worker
// that finds out whose phones.
//
// The vendors are answered for by a process of its own, and of the channels the CPU time of this process is counted, so that
// only what Carillon does is in it. The peer is bare net/http, which repeats the very request that the channel sent last:
// nothing is built, signed, encrypted or read of the answer.
//
// The worker is in a process of its own too, beside an embedded broker as the service runs it. Its vendor holds all tasks
// back until the last of them is in the queue, and then takes all at once.
package notify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/carillon-push/carillon/bench/report"
)

// Options of a run. Use Default and change what differs.
type Options struct {
	// Each is how long each channel sends in each repeat, and its peer as long.
	Each time.Duration
	// Repeats of the channels.
	Repeats int
	// Users that a push is for.
	Users int
	// Registered is how many of them have a device.
	Registered int
	// Grace is how long the worker waits for acknowledgements.
	Grace time.Duration
}

// Default measures nine channels and a push to a million users, 30 % of whom have a device, in about 40 seconds.
func Default() Options {
	return Options{Each: 200 * time.Millisecond, Repeats: 3, Users: 1_000_000, Registered: 300_000, Grace: 2 * time.Second}
}

// Short is a run for tests; what it measures means nothing.
func Short() Options {
	return Options{Each: 20 * time.Millisecond, Repeats: 1, Users: 5000, Registered: 2500}
}

// Validate says what cannot work.
func (o Options) Validate() error {
	switch {
	case o.Each <= 0 || o.Repeats < 1:
		return errors.New("channels must send for some time, at least once")
	case o.Users < 1 || o.Registered < 1 || o.Registered > o.Users || o.Users > 1<<22:
		return errors.New("there must be from 1 to 4194304 users, and at least one of them with a device")
	case o.Grace < 0:
		return errors.New("the grace time must not be negative")
	}
	return nil
}

// Run measures the channels in turns with their peers, and then the worker.
func Run(ctx context.Context, o Options) ([]report.Figure, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("measure notifications: %w", err)
	}
	list, err := channels(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("measure the vendors' channels: %w", err)
	}
	c, err := cut(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("measure the notification worker: %w", err)
	}
	of := fmt.Sprintf("push to %s users of whom %s have a device", report.Text(float64(o.Users)), report.Text(float64(o.Registered)))
	return append(list,
		report.New(of+", from the end of the grace time until all tasks are in the queue", "s", c.cut.Seconds()).
			Noting("%d tasks; %d shards", c.tasks, c.shards),
		report.New(of+", resident memory of the worker that has cut it", "MB", float64(c.memory)/(1<<20)).
			Noting("%s MB before the push, the devices read", report.Text(float64(c.before)/(1<<20))),
		report.New("tokens a second and core, read for tasks of 1,000 users, against a read a user", "/s", c.tokens).Over(c.single).
			Noting("the broker's own work is in it; %s a second, four tasks at once", report.Text(c.tokensWall)),
		report.New(of+", users a second that one worker notifies, from the queue to what became of each", "/s", c.users).
			Noting("%s a second of the worker's CPU time; the vendor takes all at once", report.Text(c.usersCPU)),
	), nil
}
