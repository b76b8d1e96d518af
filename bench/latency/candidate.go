package latency

import (
	"context"
	"time"

	"github.com/carillon-push/carillon/bench/fanout"
)

// candidate is package fanout's whole service, with the times of its pushes.
type candidate struct {
	fanout.Candidate
	pushes int               // that count; those before them warm up
	took   [][]time.Duration // of the counted pushes, by repeat: from acceptance to the last session
}

func (c *candidate) Start(ctx context.Context, message []byte) (fanout.Server, error) {
	s, err := c.Candidate.Start(ctx, message)
	if err != nil {
		return nil, err
	}
	return &server{Server: s, of: c}, nil
}

// server notes when pushes were accepted and when they had arrived. It takes from fanout's rule that a round begins when
// the last client has the one before, or is followed by a question for the CPU time: so the next call of either is the
// moment of the last arrival.
type server struct {
	fanout.Server
	of *candidate

	accepted time.Time // of the push that is under way, zero when there is none
	took     []time.Duration
}

// Round is one push, and returns when it was accepted.
func (s *server) Round(ctx context.Context) error {
	s.arrived()
	err := s.Server.Round(ctx)
	s.accepted = time.Now()
	return err
}

func (s *server) CPU(ctx context.Context) (time.Duration, error) {
	s.arrived()
	return s.Server.CPU(ctx)
}

func (s *server) arrived() {
	if !s.accepted.IsZero() {
		s.took = append(s.took, time.Since(s.accepted))
		s.accepted = time.Time{}
	}
}

// Settle does not wait for the collector, as memory is not asked for here.
func (s *server) Settle(context.Context) (int64, error) { return 0, nil }

func (s *server) Stop() error {
	s.of.took = append(s.of.took, s.took[max(0, len(s.took)-s.of.pushes):])
	return s.Server.Stop()
}
