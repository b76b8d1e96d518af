// Package stalled measures what clients that have stopped reading do to the others: when a push comes to each of those,
// counted from its acceptance, which is the answer to the call, with a tenth of the clients stalled and with none.
//
// Both services are up at the same time and take turns. What a stalled client does not take waits in its socket and then
// in the service, up to a limit beyond which it is closed; the measurement lies between the two, where its cost is the
// highest. The service and its clients are package crowd's, so that main and TestMain must call crowd.Child first.
package stalled

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/carillon-push/carillon/bench/crowd"
	"github.com/carillon-push/carillon/bench/report"
)

// Options of a run. Use Default and change what differs.
type Options struct {
	// Sessions of each service.
	Sessions int
	// Pushes counted in each repeat.
	Pushes int
	// Repeats with fresh services.
	Repeats int
}

// Default measures for about a minute.
func Default() Options { return Options{Sessions: 5000, Pushes: 100, Repeats: 2} }

// Short is a run for tests; what it measures means nothing.
func Short() Options { return Options{Sessions: 40, Pushes: 10, Repeats: 1} }

// Validate says what cannot work.
func (o Options) Validate() error {
	if o.Sessions < every || o.Pushes < 1 || o.Pushes > maxPushes || o.Repeats < 1 {
		return fmt.Errorf("there must be at least %d sessions, from 1 to %d pushes, and at least 1 repeat", every, maxPushes)
	}
	return nil
}

const (
	every       = 10  // one in so many clients stalls
	messageSize = 300 // bytes
	warm        = 100 // pushes, which fill the stalled clients' sockets
	turn        = 10  // pushes before it is the other service's turn
	// maxPushes fit into what waits for a client, 256 KiB with the frames around the messages.
	maxPushes = 300
)

// Run measures.
func Run(ctx context.Context, o Options) ([]report.Figure, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("measure stalled clients: %w", err)
	}
	var with, without times
	var ratios []float64
	for i := range o.Repeats {
		if err := repeat(ctx, o, &with, &without); err != nil {
			return nil, fmt.Errorf("measure stalled clients, repeat %d of %d: %w", i+1, o.Repeats, err)
		}
		ratios = append(ratios, without.p99[i]/with.p99[i])
	}
	what := fmt.Sprintf("from acceptance to each of the sessions that read, of %s, one in %d of which is stalled", report.Text(float64(o.Sessions)), every)
	return []report.Figure{
		// At most 1.2 times as late is the goal; the ratio, of the same repeat, says how many times better.
		report.New(what+", p99, against none stalled", "ms", with.p99...).OverBy(report.Median(without.p99...), report.Median(ratios...)).Times(1/1.2).
			Noting("p50 %s ms, against %s", report.Text(report.Median(with.p50...)), report.Text(report.Median(without.p50...))),
	}, nil
}

// times in milliseconds, by repeat.
type times struct{ p50, p99 []float64 }

// repeat measures once.
func repeat(ctx context.Context, o Options, into ...*times) (err error) {
	var stages []*crowd.Stage
	defer func() {
		for _, s := range stages {
			err = errors.Join(err, s.Stop())
		}
	}()
	for _, one := range []int{every, 0} {
		s, err := crowd.NewStage(ctx, crowd.Carillon(o.Sessions), crowd.Message(messageSize))
		if err != nil {
			return err
		}
		stages = append(stages, s)
		if err := s.Connect(ctx, o.Sessions, one); err != nil {
			return err
		}
		if _, _, err := s.Rounds(ctx, warm, 1); err != nil {
			return fmt.Errorf("warm up: %w", err)
		}
	}
	took := make([][]float64, len(stages))
	for done := 0; done < o.Pushes; done += turn {
		for i, s := range stages {
			for range min(turn, o.Pushes-done) {
				arrived, err := s.Arrivals(ctx)
				if err != nil {
					return err
				}
				for _, d := range arrived {
					took[i] = append(took[i], float64(d)/float64(time.Millisecond))
				}
			}
		}
	}
	for i, s := range stages {
		if err := as(ctx, s.Server, o.Sessions, i == 0); err != nil {
			return err
		}
		into[i].p50 = append(into[i].p50, report.Percentile(took[i], 50))
		into[i].p99 = append(into[i].p99, report.Percentile(took[i], 99))
	}
	return nil
}

// as makes sure that a service was what it was taken for: nobody was closed, and bytes wait for those who stalled.
func as(ctx context.Context, s crowd.Server, sessions int, stalled bool) error {
	if err := s.Await(ctx, sessions); err != nil {
		return fmt.Errorf("see that nobody was closed: %w", err)
	}
	service, ok := s.(interface {
		Metric(ctx context.Context, name string, labels ...string) (float64, error)
	})
	if !ok {
		return errors.New("the service has no metrics")
	}
	waiting, err := service.Metric(ctx, "carillon_deliver_queued_bytes")
	if err != nil {
		return err
	}
	if stalled != (waiting > 0) {
		return fmt.Errorf("%v bytes wait for clients, with stalled ones: %v", waiting, stalled)
	}
	return nil
}
