package failover

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// wait is a push or a login: when it was begun, and when it had come to everybody whom it concerns.
type wait struct {
	begun, done time.Time // done is zero until it has
	open        uint64    // a bit for each of those who have not got it
}

// waits are those of one kind, in the order of their beginning.
type waits struct {
	mu   sync.Mutex
	all  []wait
	news chan struct{} // capacity 1: one is done
}

func newWaits() *waits { return &waits{news: make(chan struct{}, 1)} }

// begin notes a new one and gives its number.
func (w *waits) begin(open uint64) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, wait{begun: time.Now(), open: open})
	return len(w.all) - 1
}

// came notes that it has come to one of them. To one it may come twice: that is no news.
func (w *waits) came(number, who int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if number < 0 || number >= len(w.all) {
		return
	}
	one := &w.all[number]
	if one.open &^= 1 << who; one.open == 0 && one.done.IsZero() {
		one.done = time.Now()
		select { // never waits: a mark that is there already says the same
		case w.news <- struct{}{}:
		default:
		}
	}
}

// longest of those that were begun in a time and are done.
func (w *waits) longest(from, until time.Time) (longest time.Duration) {
	for _, d := range w.took(from, until) {
		longest = max(longest, d)
	}
	return longest
}

func (w *waits) took(from, until time.Time) (took []time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := len(w.all) - 1; i >= 0 && !w.all[i].begun.Before(from); i-- {
		if one := w.all[i]; one.begun.Before(until) && !one.done.IsZero() {
			took = append(took, one.done.Sub(one.begun))
		}
	}
	return took
}

// open is how many of those begun before a time are not done, and whether one was begun at or after it and is.
func (w *waits) state(at time.Time) (open int, later bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.all {
		switch one := &w.all[i]; {
		case one.begun.Before(at) && one.done.IsZero():
			open++
		case !one.begun.Before(at) && !one.done.IsZero():
			later = true
		}
	}
	return open, later
}

// flow waits until one that was begun at or after a time is done, and all from before it.
func (w *waits) flow(ctx context.Context, at time.Time, what string) error {
	for {
		open, later := w.state(at)
		if open == 0 && later {
			return nil
		}
		select { // one that is done wakes it, ctx ends it
		case <-ctx.Done():
			return fmt.Errorf("%d %s have not come to where they belong: %w", open, what, ctx.Err())
		case <-w.news:
		}
	}
}
