// Package receipts measures what acknowledgements cost: on the wire, from a client's frame to a bit in the gateway, and
// in the offline role, which folds what the gateways have gathered.
//
// On the wire every session acknowledges some pushes, one by one, each by a frame of its own. The whole service takes
// them, every role and the broker in one process, so that its figure holds what becomes of them too. Beside it stand
// package deliver/socket, which reads the same frames and throws them away, and the library centrifuge, which decodes as
// many messages of its own protocol and throws them away.
//
// The servers and their clients are package crowd's, so that main and TestMain must call crowd.Child first.
package receipts

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
	// Sessions that acknowledge.
	Sessions int
	// Rounds of some pushes, which all of them acknowledge, in a repeat.
	Rounds int
	// Receipts of a thousand acknowledgements each that the offline role folds.
	Receipts int
	// Repeats with fresh processes.
	Repeats int
}

// Default measures for about half a minute.
func Default() Options { return Options{Sessions: 5000, Rounds: 3, Receipts: 4000, Repeats: 2} }

// Short is a run for tests; what it measures means nothing.
func Short() Options { return Options{Sessions: 20, Rounds: 2, Receipts: 20, Repeats: 1} }

// Validate says what cannot work.
func (o Options) Validate() error {
	if o.Sessions < 1 || o.Rounds < 1 || o.Receipts < 1 || o.Repeats < 1 {
		return errors.New("sessions, rounds, receipts and repeats must be at least 1")
	}
	return nil
}

const (
	messageSize = 300 // bytes
	pushes      = 10  // of a round
)

// Run measures.
func Run(ctx context.Context, o Options) ([]report.Figure, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("measure receipts: %w", err)
	}
	var service, sockets, library, folded []float64
	for i := range o.Repeats {
		for _, c := range []struct {
			crowd.Candidate
			rates *[]float64
		}{{crowd.Carillon(o.Sessions), &service}, {crowd.Sockets(), &sockets}, {crowd.Centrifuge(time.Millisecond), &library}} {
			rate, err := frames(ctx, o, c.Candidate)
			if err != nil {
				return nil, fmt.Errorf("measure receipts by %s, repeat %d of %d: %w", c.Name(), i+1, o.Repeats, err)
			}
			*c.rates = append(*c.rates, rate)
		}
		rate, err := fold(ctx, o.Receipts)
		if err != nil {
			return nil, fmt.Errorf("measure the folding of receipts, repeat %d of %d: %w", i+1, o.Repeats, err)
		}
		folded = append(folded, rate)
	}
	sessions := report.Text(float64(o.Sessions)) + " sessions"
	return []report.Figure{
		report.New("acknowledgements of "+sessions+", a frame each, by the whole service, against frames that centrifuge drops", "frames/CPU-s", service...).
			Over(library...).AtLeast(200_000).
			Noting("frames that deliver/socket drops: %s frames/CPU-s", report.Text(report.Median(sockets...))),
		report.New(fmt.Sprintf("acknowledgements folded by the offline role, of receipts of %d", acks), "acknowledgements/CPU-s", folded...).AtLeast(2_000_000).
			Noting("with the broker in the same process, which reads them from its log"),
	}, nil
}

// frames gives how many a CPU-second of a candidate takes.
func frames(ctx context.Context, o Options, c crowd.Candidate) (rate float64, err error) {
	s, err := crowd.NewStage(ctx, c, crowd.Message(messageSize))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	if err := s.Connect(ctx, o.Sessions, 0); err != nil {
		return 0, err
	}
	var taken int
	var used time.Duration
	for round := range 1 + o.Rounds { // the first warms up
		if _, _, err := s.Rounds(ctx, 1, pushes); err != nil {
			return 0, err
		}
		n, cpu, err := s.Receipts(ctx)
		if err != nil {
			return 0, err
		}
		if round > 0 {
			taken, used = taken+n, used+cpu
		}
	}
	return float64(taken) / used.Seconds(), nil
}
