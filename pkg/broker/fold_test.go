package broker_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// A fold of last messages that stops when it has read everything has every subject, although they are written anew while
// it reads: what is replaced before it comes is not there any more, and what replaces it is awaited.
func TestFoldOfLastMessagesHasEverySubject(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	const subjects = 200
	write := func(ctx context.Context, n int) error {
		_, _, err := b.Publish(ctx, broker.Message{Subject: wire.PendingSubject(app, 0, push.Seq(n)), Data: []byte("x")})
		return err
	}
	for n := range subjects {
		if err := write(t.Context(), n+1); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		var writing sync.WaitGroup
		for range 3 {
			writing.Go(func() {
				for range 60 { // so many that a fold meets them, and not so many that it could never come to their end
					if err := write(t.Context(), 1+rand.IntN(subjects)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		seen := map[string]bool{}
		err := b.Fold(t.Context(), broker.FoldConfig{
			Stream: wire.PendingStream, Filter: wire.PendingFilter(app, 0), LastOnly: true, StopWhenRead: true,
			Handle: func(m *broker.Message) error {
				seen[m.Subject] = true
				return nil
			},
		})
		writing.Wait()
		if err != nil {
			t.Fatal(err)
		}
		if len(seen) != subjects {
			t.Errorf("a fold has %d of %d subjects", len(seen), subjects)
		}
	}
}

// A fold leaves nothing on the broker, which has room for so many followers of a stream only.
func TestFoldsLeaveNoConsumers(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for i := range 1100 { // more than a thousand
		err := b.Fold(ctx, broker.FoldConfig{Stream: wire.PushesStream, StopWhenRead: true, Handle: func(*broker.Message) error { return nil }})
		if err != nil {
			t.Fatalf("fold %d: %v", i, err)
		}
	}
}
