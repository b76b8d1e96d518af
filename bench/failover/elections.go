package failover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/carillon-push/carillon/bench/fleet"
	"github.com/carillon-push/carillon/bench/service"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/wire"
)

// elections are what is led among that which a push goes through, and when each has another leader: what is not in our hands
// of the time that the loss of a server takes.
type elections struct {
	b   *broker.Broker
	led []led // by the victim

	pushes, all time.Duration // since the kill, until PUSHES has a leader, and until all have
}

// led is a stream, or a consumer of it.
type led struct{ stream, consumer string }

// wayOfAPush is what a push goes through, each led by itself.
func wayOfAPush() []led {
	users := wire.UsersStream(service.App, 0)
	return []led{{wire.PushesStream, ""}, {wire.PushesStream, users}, {users, ""}, {users, wire.MatcherConsumer}, {wire.AudiencesStream, ""}}
}

// newElections finds what the victim leads, before it is killed.
func newElections(ctx context.Context, f *fleet.Fleet, victim *fleet.Process) (*elections, error) {
	b, err := broker.Connect(ctx, f.Broker, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, fmt.Errorf("watch elections: %w", err)
	}
	e := &elections{b: b}
	for _, of := range wayOfAPush() {
		leader, err := e.leader(ctx, of)
		if err != nil {
			b.Close()
			return nil, fmt.Errorf("watch elections: %w", err)
		}
		if leader == victim.Name {
			e.led = append(e.led, of)
		}
	}
	return e, nil
}

// leader of one; empty for none.
func (e *elections) leader(ctx context.Context, of led) (string, error) {
	if of.consumer != "" {
		return e.b.ConsumerLeader(ctx, of.stream, of.consumer)
	}
	return e.b.Leader(ctx, of.stream)
}

const (
	electionAsk   = 100 * time.Millisecond
	electionPause = 10 * time.Millisecond
)

// watch waits until all that the victim led is led by others.
func (e *elections) watch(ctx context.Context, victim *fleet.Process, killed time.Time) error {
	defer e.b.Close()
	var (
		mu    sync.Mutex
		each  sync.WaitGroup
		wrong error
	)
	for _, of := range e.led {
		each.Go(func() {
			for {
				once, stop := context.WithTimeout(ctx, electionAsk)
				leader, err := e.leader(once, of)
				stop()
				if err == nil && leader != "" && leader != victim.Name {
					break
				}
				select { // the pause wakes it, ctx ends it
				case <-ctx.Done():
					mu.Lock()
					defer mu.Unlock()
					wrong = errors.Join(wrong, fmt.Errorf("wait for a leader of %s %s: %w", of.stream, of.consumer, ctx.Err()))
					return
				case <-time.After(electionPause):
				}
			}
			took := time.Since(killed)
			mu.Lock()
			defer mu.Unlock()
			if e.all = max(e.all, took); of == (led{wire.PushesStream, ""}) {
				e.pushes = took
			}
		})
	}
	each.Wait()
	return wrong
}
