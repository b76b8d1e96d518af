package offline

import (
	"fmt"
	"sync"
	"testing"

	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/push"
)

// A worker that dies at any step of its checkpoints, with another alive or alone, leaves what the next one can go on from.
// The one that compares cannot write, so that each death meets what the one before left.
func TestCrashAtEveryStep(t *testing.T) {
	t.Parallel()
	for _, workers := range []int{1, 2} {
		t.Run(fmt.Sprint(workers, " workers"), func(t *testing.T) {
			t.Parallel()
			h := newBench(t, 4, 0, 2)
			e := hour()
			for n, came := 0, false; !came; n++ {
				seq := push.Seq(2*n + 1)
				died, stops := make(chan struct{}), []func(){}
				for range workers {
					step := 0
					var mu sync.Mutex
					view := h.b.Faulty(func(string) error {
						mu.Lock()
						defer mu.Unlock()
						if step++; step <= n {
							return nil
						}
						if step == n+1 {
							died <- struct{}{}
						}
						return brokertest.ErrCrash
					})
					_, stop := h.run(view, tick)
					stops = append(stops, stop)
				}
				givenUp := make(chan struct{})
				var wg sync.WaitGroup
				wg.Go(func() { // all have died: whatever is not written never will be
					defer close(givenUp)
					for range workers {
						if _, open := <-died; !open {
							return
						}
					}
				})
				for s := range h.waiting {
					h.audience(s, seq, e, 1, 2, 3)
					h.receipt(s, seq, e, 1)
					h.audience(s, seq+1, e, 2, 3, 4)
					h.receipt(s, seq+1, e, 4)
					h.receipt(s, seq, e, 2)
				}
				h.written(givenUp)
				select {
				case <-givenUp:
				default:
					came = true
				}
				for _, stop := range stops {
					stop()
				}
				close(died)
				wg.Wait()
				stop := h.reader()
				h.answers(fmt.Sprint("dead at step ", n))
				stop()
			}
		})
	}
}
