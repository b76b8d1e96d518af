package broker_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// All subjects are there, and there is an end, although they are written anew all the time and nobody ever pauses.
func TestLastEachAmongWritersThatNeverPause(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, func(c *broker.Config) { c.Sync = broker.SyncInterval })
	const subjects = 300
	with := wire.PositionSubject(app, 0)
	write := func(ctx context.Context, subject string) (uint64, error) {
		seq, _, err := b.Publish(ctx, broker.Message{Subject: subject, Data: []byte("x")})
		return seq, err
	}
	for n := range subjects {
		if _, err := write(t.Context(), wire.PendingSubject(app, 0, push.Seq(n+1))); err != nil {
			t.Fatal(err)
		}
	}
	before, err := write(t.Context(), with)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var writing sync.WaitGroup
	defer writing.Wait()
	defer stop()
	for range 3 {
		writing.Go(func() {
			for ctx.Err() == nil {
				subject := wire.PendingSubject(app, 0, push.Seq(1+rand.IntN(subjects)))
				if rand.IntN(10) == 0 {
					subject = with
				}
				if _, err := write(ctx, subject); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
	}
	for range 20 {
		seen := map[string]bool{}
		err := b.LastEach(t.Context(), wire.PendingStream, wire.PendingFilter(app, 0), with, func(found map[string]*broker.Message) error {
			if m := found[with]; m == nil || m.Seq < before {
				return fmt.Errorf("an answer has %+v beside it", m)
			}
			for subject := range found {
				seen[subject] = true
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(seen) != subjects+1 {
			t.Errorf("%d of %d subjects", len(seen), subjects+1)
		}
	}
}

func TestLastEachOfNothing(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	answers := 0
	err := b.LastEach(t.Context(), wire.PendingStream, wire.PendingFilter(app, 0), wire.PositionSubject(app, 0), func(found map[string]*broker.Message) error {
		answers += 1 + len(found)
		return nil
	})
	if err != nil || answers != 1 {
		t.Errorf("%d, %v: want one answer with nothing", answers, err)
	}
}
