// Package failover measures what users see when a process of a fleet is killed or stands still: how long the longest push and
// the longest login takes meanwhile, until everything is as before. The fleet has three servers of the broker and two
// processes of each role. A push that was accepted and does not come to everybody fails the measurement.
package failover

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/carillon-push/carillon/bench/fleet"
	"github.com/carillon-push/carillon/bench/report"
)

// Options of a run. Use Default and change what differs.
type Options struct {
	// Kills of each role's process and of the broker's leader.
	Kills int
	// Stops (SIGSTOP) of each role's process but a gateway's, and GatewayStops of a gateway's, which take longest.
	Stops, GatewayStops int
	// Watchers are users who are always logged in, and get every push.
	Watchers int
	// Visitors are users who log in once each, for a push that waits for them.
	Visitors int
	// PushEvery and VisitEvery are the pauses between two pushes and two logins.
	PushEvery, VisitEvery time.Duration
	// Broker says that its leader is killed too.
	Broker bool
}

// Default measures for about two minutes.
func Default() Options {
	return Options{
		Kills: 5, Stops: 3, GatewayStops: 1, Watchers: 20, Visitors: 10_000,
		PushEvery: 40 * time.Millisecond, VisitEvery: 50 * time.Millisecond, Broker: true,
	}
}

// Long has more repeats, for about eight minutes.
func Long() Options {
	o := Default()
	o.Kills, o.Stops, o.GatewayStops, o.Visitors = 20, 20, 5, 40_000
	return o
}

// Short is a run for tests; what it measures means nothing.
func Short() Options {
	o := Default()
	o.Kills, o.Stops, o.GatewayStops, o.Watchers, o.Visitors, o.Broker = 1, 0, 0, 4, 2000, false
	return o
}

// maxWatchers is how many a push counts.
const maxWatchers = 64

// Validate says what cannot work.
func (o Options) Validate() error {
	if o.Kills < 1 || o.Stops < 0 || o.GatewayStops < 0 {
		return errors.New("there must be a kill or more, and of stops no fewer than none")
	}
	if o.Watchers < 1 || o.Watchers > maxWatchers || o.Visitors < 1 || o.PushEvery <= 0 || o.VisitEvery <= 0 {
		return fmt.Errorf("there must be 1 to %d watchers, a visitor, and some time between pushes and visits", maxWatchers)
	}
	return nil
}

// heartbeat of the sessions: the shortest that the client knows, as a gateway that stands still is found out by it.
const heartbeat = time.Second

// kind of a disturbance.
type kind struct {
	name    string
	role    string
	stop    bool
	repeats int
	// goal in seconds; 0 for none.
	goal float64
	// logins says that the longest login is the figure, and not the longest push.
	logins bool
	note   string

	pushes, visits []float64 // seconds, of each repeat
	// Of the broker's: seconds until PUSHES had a leader, until all that a push goes through had, and how much longer the
	// longest push took.
	leader, leaders, behind []float64
}

func kinds(o Options) []*kind {
	const role = 1 // second
	all := []*kind{
		{name: "the matcher that does the work, kill -9", role: fleet.Matcher, repeats: o.Kills, goal: role},
		{name: "the offline worker that does the work, kill -9", role: fleet.Offline, repeats: o.Kills, goal: role, logins: true},
		{name: "an ingest process, kill -9", role: fleet.Ingest, repeats: o.Kills, goal: role},
		{name: "a gateway, kill -9", role: fleet.Deliver, repeats: o.Kills, goal: role, note: "its sessions come back by the Go client, which waits up to 0.2 s"},
		{name: "the matcher that does the work, SIGSTOP", role: fleet.Matcher, stop: true, repeats: o.Stops, goal: role},
		{name: "the offline worker that does the work, SIGSTOP", role: fleet.Offline, stop: true, repeats: o.Stops, goal: role, logins: true},
		{
			name: "an ingest process, SIGSTOP", role: fleet.Ingest, stop: true, repeats: o.Stops, goal: role,
			note: fmt.Sprintf("the caller tries the other after %v", callWait),
		},
		{
			name: "a gateway, SIGSTOP", role: fleet.Deliver, stop: true, repeats: o.GatewayStops,
			note: fmt.Sprintf("the Go client takes it for lost after two heartbeats, of %v, and five seconds", heartbeat),
		},
	}
	if o.Broker {
		all = append(all, &kind{name: "the server that leads the pushes, kill -9", role: fleet.Broker, repeats: o.Kills, goal: 6})
	}
	return all
}

// Run disturbs the fleet, every kind once and then all again.
func Run(ctx context.Context, o Options) (figures []report.Figure, err error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("measure failover: %w", err)
	}
	f, err := fleet.Start(ctx, fleet.Shape{Brokers: 3, Ingest: 2, Matcher: 2, Deliver: 2, Offline: 2, Heartbeat: heartbeat})
	if err != nil {
		return nil, fmt.Errorf("measure failover: %w", err)
	}
	defer func() { err = errors.Join(err, f.Stop()) }()
	w := newWorld(f, o)
	if err := w.begin(ctx); err != nil {
		return nil, fmt.Errorf("measure failover: %w", errors.Join(err, w.end()))
	}
	all := kinds(o)
	err = w.measure(ctx, all)
	if err = errors.Join(err, w.end()); err != nil {
		return nil, fmt.Errorf("measure failover: %w", err)
	}
	for _, k := range all {
		if len(k.pushes) > 0 {
			figures = append(figures, k.figure())
		}
		if len(k.leader) > 0 {
			figures = append(figures, k.elections()...)
		}
	}
	return append(figures, w.calm()...), nil
}

func (w *world) measure(ctx context.Context, all []*kind) error {
	if err := w.quiet(ctx); err != nil {
		return err
	}
	most := 0
	for _, k := range all {
		most = max(most, k.repeats)
	}
	for i := range most {
		for _, k := range all {
			if i >= k.repeats {
				continue
			}
			if err := w.disturb(ctx, k, i); err != nil {
				return fmt.Errorf("%s, repeat %d of %d: %w", k.name, i+1, k.repeats, err)
			}
		}
	}
	return nil
}

const (
	// patience bounds each step of a disturbance.
	patience = 30 * time.Second
	// stopTime is how long a process stands still at most, and gatewayStopTime a gateway: longer than its clients believe in it.
	stopTime        = 5 * time.Second
	gatewayStopTime = 15 * time.Second
	// before and behind a disturbance this much more belongs to it.
	margin = 300 * time.Millisecond
)

// disturb does what the kind says, waits until pushes and logins that begin then come through, undoes it, and waits until
// the fleet is whole. All of that is the disturbance's time.
func (w *world) disturb(ctx context.Context, k *kind, repeat int) error {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	victim, err := w.victim(ctx, k, repeat)
	if err != nil {
		return err
	}
	var elected *elections
	if k.role == fleet.Broker {
		if elected, err = newElections(ctx, w.f, victim); err != nil {
			return err
		}
	}
	from := time.Now()
	if k.stop {
		victim.Signal(syscall.SIGSTOP)
	} else {
		victim.Kill()
	}
	if elected != nil {
		if err := elected.watch(ctx, victim, from); err != nil {
			return err
		}
	}
	if err := w.standing(ctx, k, from.Add(margin)); err != nil {
		return err
	}
	if k.stop {
		victim.Signal(syscall.SIGCONT)
	}
	if err := w.f.Up(ctx, victim); err != nil {
		return err
	}
	if err := w.whole(ctx); err != nil {
		return err
	}
	if err := w.flows(ctx, time.Now().Add(margin)); err != nil {
		return err
	}
	until := time.Now()
	k.pushes = append(k.pushes, w.pushes.longest(from.Add(-w.o.PushEvery), until).Seconds())
	if elected != nil {
		k.leader = append(k.leader, elected.pushes.Seconds())
		k.leaders = append(k.leaders, elected.all.Seconds())
		k.behind = append(k.behind, max(0, k.pushes[len(k.pushes)-1]-elected.all.Seconds()))
	}
	k.visits = append(k.visits, w.visits.longest(from.Add(-w.o.VisitEvery), until).Seconds())
	if k.role == fleet.Deliver {
		return w.again(ctx)
	}
	return nil
}

// standing waits until what begins after a time comes through, or what stands still has done so for long enough.
func (w *world) standing(ctx context.Context, k *kind, at time.Time) error {
	if !k.stop {
		return w.flows(ctx, at)
	}
	limit := stopTime
	if k.role == fleet.Deliver {
		limit = gatewayStopTime
	}
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := w.flows(within, at); err != nil && !(errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil) {
		return err
	}
	return nil
}

// victim is who does the work now.
func (w *world) victim(ctx context.Context, k *kind, repeat int) (*fleet.Process, error) {
	switch k.role {
	case fleet.Matcher, fleet.Offline:
		return w.f.First(ctx, k.role, held(k.role))
	case fleet.Broker:
		return w.f.Leader(ctx)
	}
	of := w.f.Of(k.role)
	return of[repeat%len(of)], nil
}

// held is the metric by which a role says whose shards it holds.
func held(role string) string { return "carillon_" + role + "_shards_held" }

// whole waits until one process of each role that divides shards does the work.
func (w *world) whole(ctx context.Context) error {
	for _, role := range []string{fleet.Matcher, fleet.Offline} {
		if _, err := w.f.First(ctx, role, held(role)); err != nil {
			return err
		}
	}
	return nil
}

// elections are the parts of the time that the loss of the broker's leader takes.
func (k *kind) elections() []report.Figure {
	return []report.Figure{
		report.New("failover: "+k.name+": of that, until PUSHES has another leader", "s", k.leader...).Noting("NATS's; 1.5 to 3 s by nats.election_timeout"),
		report.New("failover: "+k.name+": of that, until all that a push goes through have", "s", k.leaders...).Noting("NATS's; PUSHES, the shard's log, AUDIENCES and two consumers"),
		report.New("failover: "+k.name+": of that, from then until the longest push has come", "s", k.behind...).Noting("ours: what has gathered meanwhile goes out"),
	}
}

// figure is the median of the repeats, and the goal is of the longest.
func (k *kind) figure() report.Figure {
	values, what := k.pushes, "the longest push meanwhile"
	if k.logins {
		values, what = k.visits, "the longest login meanwhile, with a push that waited"
	}
	f := report.New("failover: "+k.name+": "+what, "s", values...)
	if k.goal > 0 {
		f = f.AtMost(k.goal)
		f.Met = f.Met && f.Values[len(f.Values)-1] <= k.goal // each of them, and not the median alone
	}
	other, others := "logins", k.visits
	if k.logins {
		other, others = "pushes", k.pushes
	}
	note := fmt.Sprintf("the longest of %d: %s s; of %s %s s", len(values), report.Text(f.Values[len(f.Values)-1]), other, report.Text(report.Percentile(others, 100)))
	if k.stop && k.role != fleet.Deliver {
		note += fmt.Sprintf("; it goes on after %v at the latest", stopTime)
	}
	if k.note != "" {
		note += "; " + k.note
	}
	return f.Noting("%s", note)
}
