package broker_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/wire"
)

// Whoever adds to a counter at the same time gets a sum of their own: with ones, each number once.
func TestAddCountsOnce(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	subject := wire.RateSubject(app, "im_push", 1)
	var mu sync.Mutex
	seen := map[int]bool{}
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			sum, err := b.Add(t.Context(), subject, 1)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if seen[sum] || sum < 1 || sum > 32 {
				t.Errorf("the sum %d comes twice or cannot be", sum)
			}
			seen[sum] = true
		})
	}
	wg.Wait()
	if sum, err := b.Add(t.Context(), subject, 10); err != nil || sum != 42 {
		t.Errorf("sum %d, %v, want 42", sum, err)
	}
	if _, err := b.Add(t.Context(), "nobody.counts.this", 1); err == nil {
		t.Error("a subject of no stream is counted")
	}
}

// A message that may only be a repeat is one, or is not there.
func TestRepeatOnly(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	m := broker.Message{Subject: wire.PushSubject(app, "first"), ID: "id"}
	repeat := broker.Message{Subject: wire.PushSubject(app, "second"), ID: "id", RepeatOnly: true}
	if _, _, err := b.Publish(t.Context(), repeat); !errors.Is(err, broker.ErrConflict) {
		t.Fatalf("a repeat of nothing: %v, want ErrConflict", err)
	}
	for { // until a round is done within the second, as it is at once
		seq, again, err := b.Publish(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		same, repeated, err := b.Publish(t.Context(), repeat)
		if errors.Is(err, broker.ErrConflict) || again {
			continue
		}
		if err != nil || !repeated || same != seq {
			t.Errorf("a repeat of %d: %d, %t, %v", seq, same, repeated, err)
		}
		return
	}
}

// What the broker refuses for another reason than an expectation is told apart from what may have been taken.
func TestErrRefused(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	m := broker.Message{Subject: wire.AudienceSubject(app, 0, 1), TTL: 1} // of a stream without lifetimes of messages
	if _, _, err := b.Publish(t.Context(), m); !errors.Is(err, broker.ErrRefused) || errors.Is(err, broker.ErrConflict) {
		t.Errorf("%v, want ErrRefused", err)
	}
}
