package fanout

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Candidate is one way to deliver a message to many sessions.
type Candidate interface {
	// Name in the results.
	Name() string
	// Start starts a server in a process of its own, which ends with Stop or the context, and returns when it listens. The
	// message is UTF-8 JSON; it must reach a client once a round, byte for byte, though other bytes may stand around it.
	Start(ctx context.Context, message []byte) (Server, error)
}

// Server is a candidate that runs. Its methods are called one at a time.
type Server interface {
	// Addr is host:port, an IPv4 address, to which the client connects over TCP.
	Addr() string
	// Path is the path and query that the i-th client asks a WebSocket for; empty for a plain connection.
	Path(i int) string
	// Await returns once exactly n sessions are connected and would get a message.
	Await(ctx context.Context, n int) error
	// Round sends the message to every session. It may return before all of them have it.
	Round(ctx context.Context) error
	// CPU is what the server has used so far, user and system.
	CPU(ctx context.Context) (time.Duration, error)
	// Settle frees what can be freed and returns the resident memory in bytes.
	Settle(ctx context.Context) (int64, error)
	// Stop ends the process and waits for it.
	Stop() error
}

// Bare is a loop of sendto over plain sockets, with the bytes of a WebSocket frame. It is the measure of the others.
func Bare() Candidate { return child{"bare sendto"} }

// Sockets is package deliver/socket behind net/http: WebSocket handshakes, and one shared frame a round.
func Sockets() Candidate { return child{"deliver/socket"} }

// stage is a server with its client.
type stage struct {
	server Server
	client *client
	size   int // sessions that are connected
}

func newStage(ctx context.Context, c Candidate, message []byte) (*stage, error) {
	server, err := c.Start(ctx, message)
	if err != nil {
		return nil, err
	}
	return &stage{server: server}, nil
}

// fill connects n sessions and returns what each takes of the server's memory while it is idle, in bytes.
func (s *stage) fill(ctx context.Context, n int) (float64, error) {
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
func (s *stage) resident(ctx context.Context, n int) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	paths := make([]string, n)
	for i := range paths {
		paths[i] = s.server.Path(i)
	}
	var err error
	if s.client, err = connect(ctx, s.server.Addr(), paths); err != nil {
		return 0, err
	}
	s.size = n
	if err := s.server.Await(ctx, n); err != nil {
		return 0, fmt.Errorf("waiting for %d sessions: %w", n, err)
	}
	if _, _, err := s.rounds(ctx, 1); err != nil {
		return 0, err
	}
	return s.settle(ctx)
}

func (s *stage) settle(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	rss, err := s.server.Settle(ctx)
	if err != nil {
		return 0, fmt.Errorf("reading the server's memory: %w", err)
	}
	return rss, nil
}

// empty ends the client and waits for the server to notice.
func (s *stage) empty(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	err := s.client.stop()
	s.client = nil
	return errors.Join(err, s.server.Await(ctx, 0))
}

// rounds sends n rounds, each when the last client has the one before, and returns the server's CPU time for all and the
// wall time of each.
func (s *stage) rounds(ctx context.Context, n int) (cpu time.Duration, took []time.Duration, err error) {
	before, err := s.server.CPU(ctx)
	if err != nil {
		return 0, nil, fmt.Errorf("reading the server's CPU time: %w", err)
	}
	for range n {
		began := time.Now()
		if err := s.round(ctx); err != nil {
			return 0, nil, err
		}
		took = append(took, time.Since(began))
	}
	after, err := s.server.CPU(ctx)
	if err != nil {
		return 0, nil, fmt.Errorf("reading the server's CPU time: %w", err)
	}
	return after - before, took, nil
}

func (s *stage) round(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	if err := s.client.expect(s.size); err != nil {
		return err
	}
	if err := s.server.Round(ctx); err != nil {
		return fmt.Errorf("sending a round: %w", err)
	}
	return s.client.arrived(ctx)
}

func (s *stage) stop() error {
	var err error
	if s.client != nil {
		err = s.client.stop()
	}
	return errors.Join(err, s.server.Stop())
}
