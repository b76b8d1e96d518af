package brokertest

import (
	"errors"
	"sync"
	"testing"

	"github.com/carillon-push/carillon/pkg/broker"
)

// ErrCrash is what every operation fails with from the moment of a crash.
var ErrCrash = errors.New("crashed here by the test")

// Crashing is a view of the broker that dies at the n-th step, counted from 0: there is one step before each changing
// operation and one behind it. From there on every operation fails, as for a process that is gone. died says whether it
// came to that.
func Crashing(b *broker.Broker, n int) (view *broker.Broker, died func() bool) {
	var mu sync.Mutex
	step, dead := 0, false
	view = b.Faulty(func(string) error {
		mu.Lock()
		defer mu.Unlock()
		dead = dead || step >= n
		step++
		if dead {
			return ErrCrash
		}
		return nil
	})
	return view, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return dead
	}
}

// EachCrash runs do with a view that crashes at the first step, then with one that crashes at the second, and so on until
// one run comes through. After each run check sees what is left behind.
func EachCrash(t testing.TB, b *broker.Broker, do func(view *broker.Broker, step int), check func(step int)) {
	t.Helper()
	for step := 0; ; step++ {
		view, died := Crashing(b, step)
		do(view, step)
		check(step)
		if !died() {
			if step == 0 {
				t.Fatal("nothing was done that could crash")
			}
			return
		}
	}
}
