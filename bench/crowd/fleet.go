package crowd

import (
	"context"
	"errors"
	"fmt"

	"github.com/carillon-push/carillon/bench/fleet"
	"github.com/carillon-push/carillon/pkg/client"
)

// Fleet is Carillon with the broker and the roles in processes of their own. The sessions are shared evenly by its gateways,
// and pushes go to the first of its REST interfaces. Its CPU time and memory are those of all its processes.
func Fleet(sessions int, shape fleet.Shape) Candidate { return fleeting{sessions, shape} }

type fleeting struct {
	sessions int
	shape    fleet.Shape
}

func (f fleeting) Name() string {
	return fmt.Sprintf("carillon in %d brokers and %d gateways", f.shape.Brokers, f.shape.Deliver)
}

func (f fleeting) Start(ctx context.Context, message []byte) (server Server, err error) {
	running, err := fleet.Start(ctx, f.shape)
	if err != nil {
		return nil, err
	}
	s := &served{running: running, rest: running.REST[0], gateways: running.Gateways, message: message}
	if err := s.prepare(ctx, f.sessions); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// Caller calls the service.
func (s *served) Caller() *client.REST { return s.rest }
