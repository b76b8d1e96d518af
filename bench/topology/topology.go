// Package topology measures the whole service in three shapes, in one run: in one process, with the broker and two gateways
// in processes of their own, and with three brokers that keep everything three times. They stand side by side and are asked
// in turns, so that whatever else the machine does hits all alike. Services and clients are package crowd's, so that main
// and TestMain must call crowd.Child first.
package topology

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/carillon-push/carillon/bench/crowd"
	"github.com/carillon-push/carillon/bench/fleet"
	"github.com/carillon-push/carillon/bench/report"
	"github.com/carillon-push/carillon/pkg/client"
)

// Options of a run. Use Default and change what differs.
type Options struct {
	// Sessions of each shape that a push goes to.
	Sessions int
	// Pushes to each shape.
	Pushes int
	// Changes of users, to each shape in each of two rounds.
	Changes int
	// Idle is how long the shapes are watched while nothing happens.
	Idle time.Duration
}

// Default measures for about a minute.
func Default() Options {
	return Options{Sessions: 10_000, Pushes: 40, Changes: 6000, Idle: 3 * time.Second}
}

// Long measures more, for about three minutes.
func Long() Options {
	return Options{Sessions: 10_000, Pushes: 300, Changes: 50_000, Idle: 10 * time.Second}
}

// Short is a run for tests; what it measures means nothing.
func Short() Options {
	return Options{Sessions: 20, Pushes: 6, Changes: 200, Idle: 100 * time.Millisecond}
}

// Validate says what cannot work.
func (o Options) Validate() error {
	if o.Sessions < 1 || o.Pushes < 1 || o.Changes < together || o.Idle <= 0 {
		return fmt.Errorf("sessions and pushes must be at least 1, changes %d, and the idle time positive", together)
	}
	return nil
}

const (
	messageSize = 300 // bytes
	warmRounds  = 5   // not counted
	turn        = 5   // pushes before it is another's turn
)

// shape of a service, and what was measured of it.
type shape struct {
	name string
	crowd.Candidate
	*crowd.Stage

	accept, last []float64 // ms
	cpu          []float64 // ms a push, of each turn
	idle         float64   // ms a second
	changes      []float64 // users a second, of each round
	resident     float64   // MiB
}

// The shapes, by their places.
const (
	single = iota
	gateways
	cluster
)

func shapes(o Options) []*shape {
	roles := fleet.Shape{Brokers: 1, Ingest: 1, Matcher: 1, Deliver: 2, Offline: 1}
	replicated := roles
	replicated.Brokers = 3
	return []*shape{
		{name: "all in one process", Candidate: crowd.Carillon(o.Sessions)},
		{name: "two gateways, one broker", Candidate: crowd.Fleet(o.Sessions, roles)},
		{name: "two gateways, three brokers", Candidate: crowd.Fleet(o.Sessions, replicated)},
	}
}

// Run measures all shapes.
func Run(ctx context.Context, o Options) (figures []report.Figure, err error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("measure topologies: %w", err)
	}
	all := shapes(o)
	defer func() {
		for _, s := range all {
			if s.Stage != nil {
				err = errors.Join(err, s.Stop())
			}
		}
	}()
	for _, s := range all {
		if err := s.begin(ctx, o); err != nil {
			return nil, fmt.Errorf("measure the shape with %s: %w", s.name, err)
		}
	}
	if err := idle(ctx, all, o.Idle); err != nil {
		return nil, err
	}
	err = inTurns(all, (o.Pushes+turn-1)/turn, func(s *shape) error { return s.push(ctx, min(turn, o.Pushes)) })
	if err == nil {
		err = inTurns(all, 2, func(s *shape) error { return s.change(ctx, o) })
	}
	if err != nil {
		return nil, err
	}
	return list(o, all), nil
}

// inTurns does something with each shape so many times: in their order and then the other way round, so that none is always
// behind the same.
func inTurns(all []*shape, rounds int, do func(*shape) error) error {
	order := slices.Clone(all)
	for range rounds {
		for _, s := range order {
			if err := do(s); err != nil {
				return fmt.Errorf("measure the shape with %s: %w", s.name, err)
			}
		}
		slices.Reverse(order)
	}
	return nil
}

func (s *shape) begin(ctx context.Context, o Options) (err error) {
	if s.Stage, err = crowd.NewStage(ctx, s.Candidate, crowd.Message(messageSize)); err != nil {
		return err
	}
	if err := s.Connect(ctx, o.Sessions, 0); err != nil {
		return err
	}
	if _, _, err := s.Rounds(ctx, warmRounds, 1); err != nil {
		return fmt.Errorf("warm up: %w", err)
	}
	service, ok := s.Server.(interface{ RSS() (int64, error) })
	if !ok {
		return errors.New("its memory cannot be read")
	}
	rss, err := service.RSS()
	s.resident = float64(rss) / (1 << 20)
	return err
}

// idle watches all at the same time.
func idle(ctx context.Context, all []*shape, wait time.Duration) error {
	before := make([]time.Duration, len(all))
	var err error
	for i, s := range all {
		if before[i], err = s.Server.CPU(ctx); err != nil {
			return fmt.Errorf("measure the shape with %s: %w", s.name, err)
		}
	}
	select { // the time wakes it, ctx ends it
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(wait):
	}
	for i, s := range all {
		after, err := s.Server.CPU(ctx)
		if err != nil {
			return fmt.Errorf("measure the shape with %s: %w", s.name, err)
		}
		s.idle = ms(after-before[i]) / wait.Seconds()
	}
	return nil
}

func (s *shape) push(ctx context.Context, n int) error {
	before, err := s.Server.CPU(ctx)
	if err != nil {
		return err
	}
	for range n {
		acceptance, arrived, err := s.Push(ctx)
		if err != nil {
			return err
		}
		s.accept, s.last = append(s.accept, ms(acceptance)), append(s.last, ms(slices.Max(arrived)))
	}
	after, err := s.Server.CPU(ctx)
	s.cpu = append(s.cpu, ms(after-before)/float64(n))
	return err
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func (s *shape) change(ctx context.Context, o Options) error {
	service, ok := s.Server.(interface{ Caller() *client.REST })
	if !ok {
		return errors.New("it has no REST interface")
	}
	rate, err := tag(ctx, service.Caller(), o, len(s.changes))
	s.changes = append(s.changes, rate)
	return err
}

// list gives the figures, each of the fleet's shapes against the one process.
func list(o Options, all []*shape) (figures []report.Figure) {
	sessions := report.Text(float64(o.Sessions))
	one := all[single]
	for _, s := range all {
		against := ""
		if s != one {
			against = ", against " + one.name
		}
		under := func(what, unit string, value, peer float64) report.Figure {
			f := report.New(s.name+": "+what+against, unit, value)
			if s != one {
				f = f.Under(peer)
			}
			return f
		}
		at := func(of []float64, p float64) float64 { return report.Percentile(slices.Clone(of), p) }
		figures = append(figures,
			under("from acceptance to the last of "+sessions+" sessions, p50", "ms", at(s.last, 50), at(one.last, 50)),
			under("from acceptance to the last of "+sessions+" sessions, p99", "ms", at(s.last, 99), at(one.last, 99)).
				Noting("of %d pushes", len(s.last)),
			under("push acceptance, p50", "ms", at(s.accept, 50), at(one.accept, 50)).Noting("p99 %s ms", report.Text(at(s.accept, 99))),
			under("CPU time of all its processes for a push to "+sessions+" sessions", "ms", report.Median(s.cpu...), report.Median(one.cpu...)).
				Noting("while idle %s ms a second", report.Text(s.idle)),
			under("resident memory of all its processes with "+sessions+" sessions", "MiB", s.resident, one.resident),
		)
		changes := report.New(s.name+": users changed by im_add_tag, 100 a call, 8 callers"+against, "users/s", s.changes...)
		if s != one {
			changes = changes.Over(one.changes...)
		}
		figures = append(figures, changes)
	}
	return figures
}
