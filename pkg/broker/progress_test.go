package broker_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/carillon-push/carillon/pkg/broker"
)

func TestProgressWakesWhoHasWaitedLongEnough(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var p broker.Progress
		p.Advance(3)
		if err := p.Await(t.Context(), 3); err != nil {
			t.Fatal(err)
		}
		woken := make(chan uint64, 3)
		for _, seq := range []uint64{5, 7, 9} {
			go func() {
				if p.Await(context.Background(), seq) == nil {
					woken <- seq
				}
			}()
		}
		synctest.Wait()
		p.Advance(7)
		p.Advance(2)
		synctest.Wait()
		if len(woken) != 2 || p.At() != 7 {
			t.Fatalf("%d woken at %d: want 2 at 7", len(woken), p.At())
		}
		p.Advance(100)
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.Await(ctx, 101); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	})
}
