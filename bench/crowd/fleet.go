package crowd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

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

// Over is a fleet that runs already and goes on when the stage has ended, with sessions of accounts that it has, at some of
// its gateways. Each push has what else is to be said of it: a condition, a lifetime.
func Over(f *fleet.Fleet, gateways, accounts []string, saying map[string]any) Candidate {
	return over{f, gateways, accounts, saying}
}

type over struct {
	fleet              *fleet.Fleet
	gateways, accounts []string
	saying             map[string]any
}

func (over) Name() string { return "carillon as it runs" }

func (o over) Start(_ context.Context, message []byte) (Server, error) {
	s := &served{running: kept{o.fleet}, rest: o.fleet.REST[0], gateways: o.gateways, message: message, saying: o.saying}
	s.pushed = rand.Uint32() // what another stage has just pushed is not pushed again
	return s, s.sign(o.accounts)
}

// kept is a fleet that is somebody else's to stop.
type kept struct{ *fleet.Fleet }

func (kept) Stop() error { return nil }

// Caller calls the service.
func (s *served) Caller() *client.REST { return s.rest }
