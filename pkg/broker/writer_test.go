package broker

import (
	"testing"
	"testing/synctest"
	"time"
)

// A commit waits for as many units as the one before saw, for half of that one's time and no longer; and not at all where
// that would win nothing.
func TestAwait(t *testing.T) {
	t.Parallel()
	const took = 10 * time.Millisecond
	for name, c := range map[string]struct {
		units, messages int           // that wait
		last            int           // units of the load
		took            time.Duration // of the last commit
		idle            time.Duration // since then
		comes           time.Duration // when one more unit comes; 0: never
		want            time.Duration
	}{
		"all are here":       {units: 2, messages: 100, last: 2, took: took},
		"few messages":       {units: 1, messages: bulk - 1, last: 2, took: took},
		"a large batch":      {units: 1, messages: largeBatch, last: 2, took: took},
		"an idle stream":     {units: 1, messages: 100, last: 2, took: took, idle: took + 1},
		"nobody comes":       {units: 1, messages: 100, last: 2, took: took, want: took / 2},
		"after a long time":  {units: 1, messages: 100, last: 2, took: time.Minute, want: maxPatience},
		"one comes":          {units: 1, messages: 100, last: 2, took: took, comes: time.Millisecond, want: time.Millisecond},
		"one of two comes":   {units: 1, messages: 100, last: 3, took: took, comes: time.Millisecond, want: took / 2},
		"the batch is full":  {units: 1, messages: 500, last: 9, took: took, comes: time.Millisecond, want: time.Millisecond},
		"the first commit":   {units: 1, messages: 100},
		"one too late to be": {units: 1, messages: 100, last: 2, took: took, comes: took, want: took / 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := &writer{arrived: make(chan struct{}, 1), load: load{units: c.last, took: c.took, ended: time.Now()}}
				<-time.After(c.idle)
				for range c.units {
					w.join(&unit{msgs: make([]Message, c.messages)})
				}
				came := make(chan struct{})
				if c.comes == 0 {
					close(came)
				} else {
					go func() {
						defer close(came)
						<-time.After(c.comes)
						w.join(&unit{msgs: make([]Message, max(c.messages, bulk))})
					}()
				}
				start := time.Now()
				w.await()
				if waited := time.Since(start); waited != c.want {
					t.Errorf("waited %v, want %v", waited, c.want)
				}
				<-came
			})
		})
	}
}
