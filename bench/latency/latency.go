// Package latency measures how long a push takes through the whole service: from its acceptance, which is the answer to
// the call, until the last of many sessions has it. The service, the clients, and what a bare loop takes for as many are
// package fanout's, so that main and TestMain must call fanout.Child first.
package latency

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/carillon-push/carillon/bench/fanout"
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

// Default measures 10,000 sessions, fewer where not so many files may be open, in about a minute.
func Default() Options {
	o := Options{Sessions: 10_000, Pushes: 60, Repeats: 3}
	for o.Sessions > 1000 && o.fanout(o.Sessions, &candidate{}).Validate() != nil {
		o.Sessions /= 2
	}
	return o
}

// Short is a run for tests; what it measures means nothing.
func Short() Options { return Options{Sessions: 20, Pushes: 6, Repeats: 1} }

// Validate says what cannot work.
func (o Options) Validate() error {
	if o.Sessions < 1 || o.Pushes < 1 || o.Repeats < 1 {
		return errors.New("sessions, pushes and repeats must be at least 1")
	}
	return nil
}

// Run measures one idle session, and then all of them.
func Run(ctx context.Context, o Options) ([]report.Figure, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("measure latency: %w", err)
	}
	one, _, err := measure(ctx, o, 1)
	if err != nil {
		return nil, fmt.Errorf("measure the latency of one session: %w", err)
	}
	all, result, err := measure(ctx, o, o.Sessions)
	if err != nil {
		return nil, fmt.Errorf("measure the latency of %d sessions: %w", o.Sessions, err)
	}
	sessions := report.Text(float64(o.Sessions))
	bare, whole := result.Bare, result.Candidate
	return []report.Figure{
		report.New("from acceptance to one idle session, p50", "ms", percentiles(one, 50)...).AtMost(3).
			Noting("p99 %s ms; the client looks every 0.3 ms", report.Text(report.Median(percentiles(one, 99)...))),
		report.New("from acceptance to the last of "+sessions+" sessions, all roles in one process, p50, against a bare sendto loop", "ms", percentiles(all, 50)...).
			Under(bare.RoundMillis.Median).AtMost(80),
		report.New("from acceptance to the last of "+sessions+" sessions, all roles in one process, p99", "ms", percentiles(all, 99)...).AtMost(150),
		report.New("messages a CPU-second of the whole service, "+sessions+" sessions, against a bare sendto loop", "messages/CPU-s",
			whole.PerCPUSecond.Min, whole.PerCPUSecond.Median, whole.PerCPUSecond.Max).OverBy(bare.PerCPUSecond.Median, result.Ratio.Median).
			Noting("accepting, matching and dispatching are in it"),
	}, nil
}

// measure pushes to n sessions, and gives what each push took by repeat.
func measure(ctx context.Context, o Options, n int) ([][]time.Duration, fanout.Result, error) {
	c := &candidate{Candidate: fanout.Carillon(n), pushes: o.Pushes}
	r, err := fanout.Run(ctx, o.fanout(n, c))
	return c.took, r, err
}

func (o Options) fanout(sessions int, c *candidate) fanout.Options {
	f := fanout.Default()
	f.Sessions, f.Rounds, f.Repeats, f.Candidate = sessions, o.Pushes, o.Repeats, c
	return f
}

// percentiles of each repeat, in milliseconds.
func percentiles(repeats [][]time.Duration, p float64) (values []float64) {
	for _, took := range repeats {
		ms := make([]float64, len(took))
		for i, d := range took {
			ms[i] = float64(d) / float64(time.Millisecond)
		}
		values = append(values, report.Percentile(ms, p))
	}
	return values
}
