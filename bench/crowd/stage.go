package crowd

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// stepTimeout is for any single step: connecting all, a round, an answer.
	stepTimeout = 30 * time.Second
	// warmSessions are opened and closed before memory is first read. Code is then loaded, and what the runtime keeps of a
	// burst of handshakes, however many sessions they lead to, is in the base and not in the sessions: stacks of up to 64
	// goroutines a processor, which hold on to some megabyte around them.
	warmSessions = 1000
)

// Stage is a server with its clients.
type Stage struct {
	Server  Server
	clients *clients
	size    int // sessions that are connected
	stalled int // of them, those that do not read
}

// NewStage starts a candidate, without clients.
func NewStage(ctx context.Context, c Candidate, message []byte) (*Stage, error) {
	server, err := c.Start(ctx, message)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", c.Name(), err)
	}
	return &Stage{Server: server}, nil
}

// Fill connects n sessions and returns what each takes of the server's memory while it is idle, in bytes.
func (s *Stage) Fill(ctx context.Context, n int) (float64, error) {
	if _, err := s.resident(ctx, min(n, warmSessions)); err != nil {
		return 0, fmt.Errorf("warming up: %w", err)
	}
	if err := s.empty(ctx); err != nil {
		return 0, fmt.Errorf("after warming up: %w", err)
	}
	before, err := s.settle(ctx)
	if err != nil {
		return 0, err
	}
	after, err := s.resident(ctx, n)
	return float64(after-before) / float64(n), err
}

// resident connects n sessions, sends each a message, and returns the server's memory when it is idle again.
func (s *Stage) resident(ctx context.Context, n int) (int64, error) {
	if err := s.Connect(ctx, n, 0); err != nil {
		return 0, err
	}
	if _, _, err := s.Rounds(ctx, 1, 1); err != nil {
		return 0, err
	}
	return s.settle(ctx)
}

// Connect connects n sessions, one in every so many of which reads nothing once it stands; 0 for none.
func (s *Stage) Connect(ctx context.Context, n, stalled int) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	p := plan{Addrs: s.Server.Addrs(), Paths: make([]string, n), Greeting: s.Server.Greeting(), Secure: s.Server.Secure(), Stalled: stalled}
	for i := range p.Paths {
		p.Paths[i] = s.Server.Path(i)
	}
	var err error
	if s.clients, err = connect(ctx, p); err != nil {
		return err
	}
	s.size, s.stalled = n, 0
	if stalled > 0 {
		s.stalled = (n + stalled - 1) / stalled
	}
	if err := s.Server.Await(ctx, n); err != nil {
		return fmt.Errorf("waiting for %d sessions: %w", n, err)
	}
	return nil
}

func (s *Stage) settle(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	rss, err := s.Server.Settle(ctx)
	if err != nil {
		return 0, fmt.Errorf("reading the server's memory: %w", err)
	}
	return rss, nil
}

// empty ends the clients and waits for the server to notice.
func (s *Stage) empty(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	err := s.clients.stop()
	s.clients = nil
	return errors.Join(err, s.Server.Await(ctx, 0))
}

// Rounds sends n rounds of so many pushes, each when the last client that reads has the one before, and returns the
// server's CPU time for all and the wall time of each.
func (s *Stage) Rounds(ctx context.Context, n, pushes int) (cpu time.Duration, took []time.Duration, err error) {
	cpu, err = s.used(ctx, func() error {
		for range n {
			began, _, _, err := s.round(ctx, orderRound, pushes)
			if err != nil {
				return err
			}
			took = append(took, time.Since(began))
		}
		return nil
	})
	return cpu, took, err
}

// Arrivals is a round of one push, and returns how long after its acceptance, which is the end of Server.Round, it came
// to each session that reads. A client that was faster than the answer to the call has 0.
func (s *Stage) Arrivals(ctx context.Context) ([]time.Duration, error) {
	_, arrived, err := s.Push(ctx)
	return arrived, err
}

// Push is Arrivals, and says how long the acceptance took.
func (s *Stage) Push(ctx context.Context) (acceptance time.Duration, arrived []time.Duration, err error) {
	began, accepted, times, err := s.round(ctx, orderTimed, 1)
	took := make([]time.Duration, len(times))
	for i, t := range times {
		took[i] = max(0, t.Sub(accepted))
	}
	return accepted.Sub(began), took, err
}

// receiptTime is what a receipt is given at least before the next, so that a server which takes 100,000 a second finds one
// frame in a session's socket and not several.
const receiptTime = 10 * time.Microsecond

// Receipts has every session that reads acknowledge each push of the last round, one after the other, and returns how
// many receipts that were and the server's CPU time until it had taken all of them.
func (s *Stage) Receipts(ctx context.Context) (n int, cpu time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	before, err := s.Server.Taken(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("counting receipts: %w", err)
	}
	tick := time.NewTicker(receiptTime * time.Duration(s.size))
	defer tick.Stop()
	cpu, err = s.used(ctx, func() error {
		for _, text := range s.Server.Receipts() {
			if err := s.clients.order(ctx, orderSend, s.size-s.stalled, text); err != nil {
				return err
			}
			if _, err := s.clients.arrived(ctx); err != nil {
				return err
			}
			n += s.size - s.stalled
			<-tick.C
		}
		for {
			taken, err := s.Server.Taken(ctx)
			if err != nil || taken == before+n {
				return err
			}
			select { // the ticker wakes it, ctx ends it
			case <-ctx.Done():
				return fmt.Errorf("%d receipts were taken instead of %d: %w", taken-before, n, ctx.Err())
			case <-tick.C:
			}
		}
	})
	return n, cpu, err
}

// used is the server's CPU time while f runs.
func (s *Stage) used(ctx context.Context, f func() error) (time.Duration, error) {
	before, err := s.Server.CPU(ctx)
	if err != nil {
		return 0, fmt.Errorf("reading the server's CPU time: %w", err)
	}
	if err := f(); err != nil {
		return 0, err
	}
	after, err := s.Server.CPU(ctx)
	if err != nil {
		return 0, fmt.Errorf("reading the server's CPU time: %w", err)
	}
	return after - before, nil
}

func (s *Stage) round(ctx context.Context, op byte, pushes int) (began, accepted time.Time, times []time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	if err := s.clients.order(ctx, op, pushes*(s.size-s.stalled), nil); err != nil {
		return began, accepted, nil, err
	}
	began = time.Now()
	if err := s.Server.Round(ctx, pushes); err != nil {
		return began, accepted, nil, fmt.Errorf("sending a round: %w", err)
	}
	accepted = time.Now()
	times, err = s.clients.arrived(ctx)
	return began, accepted, times, err
}

// Stop ends the clients and the server.
func (s *Stage) Stop() error {
	var err error
	if s.clients != nil {
		err = s.clients.stop()
	}
	return errors.Join(err, s.Server.Stop())
}
