// Package latency measures how long a push takes through the whole service: from its acceptance, which is the answer to
// the call, until the last of many sessions has it. The service, the clients, and the bare loop beside it are package
// crowd's, so that main and TestMain must call crowd.Child first.
package latency

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/carillon-push/carillon/bench/crowd"
	"github.com/carillon-push/carillon/bench/report"
)

// Options of a run. Use Default and change what differs.
type Options struct {
	// Sessions that a push goes to.
	Sessions int
	// Pushes counted in each repeat.
	Pushes int
	// Repeats with a fresh service.
	Repeats int
}

// Default measures for about a minute.
func Default() Options { return Options{Sessions: 10_000, Pushes: 200, Repeats: 3} }

// Short is a run for tests; what it measures means nothing.
func Short() Options { return Options{Sessions: 20, Pushes: 6, Repeats: 1} }

// Validate says what cannot work.
func (o Options) Validate() error {
	if o.Sessions < 1 || o.Pushes < 1 || o.Repeats < 1 {
		return errors.New("sessions, pushes and repeats must be at least 1")
	}
	return nil
}

const (
	messageSize = 300 // bytes
	warmRounds  = 5   // not counted
	turn        = 10  // pushes before it is the bare loop's turn
)

// times in milliseconds, by repeat.
type times struct {
	p50, p99 []float64
	bare     []float64 // of a round, the median
}

// Run measures one idle session, and then all of them.
func Run(ctx context.Context, o Options) ([]report.Figure, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("measure latency: %w", err)
	}
	var one, all times
	for i := range o.Repeats {
		for _, of := range []struct {
			sessions int
			*times
		}{{1, &one}, {o.Sessions, &all}} {
			if err := repeat(ctx, of.sessions, o.Pushes, of.times); err != nil {
				return nil, fmt.Errorf("measure the latency of %d sessions, repeat %d of %d: %w", of.sessions, i+1, o.Repeats, err)
			}
		}
	}
	sessions := report.Text(float64(o.Sessions))
	return []report.Figure{
		report.New("from acceptance to one idle session, p50", "ms", one.p50...).AtMost(3).
			Noting("p99 %s ms; the client looks every 0.3 ms", report.Text(report.Median(one.p99...))),
		report.New("from acceptance to the last of "+sessions+" sessions, all roles in one process, p50, against a bare sendto loop", "ms", all.p50...).
			Under(all.bare...).AtMost(80),
		report.New("from acceptance to the last of "+sessions+" sessions, all roles in one process, p99", "ms", all.p99...).AtMost(150),
	}, nil
}

// repeat measures once, with a service and a bare loop that take turns.
func repeat(ctx context.Context, sessions, pushes int, into *times) (err error) {
	var stages []*crowd.Stage
	defer func() {
		for _, s := range stages {
			err = errors.Join(err, s.Stop())
		}
	}()
	for _, c := range []crowd.Candidate{crowd.Carillon(sessions), crowd.Bare()} {
		s, err := crowd.NewStage(ctx, c, crowd.Message(messageSize))
		if err != nil {
			return err
		}
		stages = append(stages, s)
		if err := s.Connect(ctx, sessions, 0); err != nil {
			return fmt.Errorf("connect to %s: %w", c.Name(), err)
		}
		if _, _, err := s.Rounds(ctx, warmRounds, 1); err != nil {
			return fmt.Errorf("warm %s up: %w", c.Name(), err)
		}
	}
	service, bare := stages[0], stages[1]
	var last, rounds []float64
	for len(last) < pushes {
		n := min(turn, pushes-len(last))
		for range n {
			arrived, err := service.Arrivals(ctx)
			if err != nil {
				return err
			}
			last = append(last, ms(slices.Max(arrived)))
		}
		_, took, err := bare.Rounds(ctx, n, 1)
		if err != nil {
			return err
		}
		for _, d := range took {
			rounds = append(rounds, ms(d))
		}
	}
	into.p50 = append(into.p50, report.Percentile(last, 50))
	into.p99 = append(into.p99, report.Percentile(last, 99))
	into.bare = append(into.bare, report.Percentile(rounds, 50))
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
