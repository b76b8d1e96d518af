package client

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/carillon-push/carillon/pkg/wire"
)

const (
	firstPause = 200 * time.Millisecond
	maxPause   = 30 * time.Second
	// steady is how long a session has to be open for the pauses to begin anew. A service that takes sessions and drops them
	// at once is thus not called any more often than one that is not there.
	steady = 30 * time.Second
	// drainLeast and drainMost bound the pause after a service has told its sessions to go elsewhere.
	drainLeast = 500 * time.Millisecond
	drainMost  = 5 * time.Second
	// maxRetryAfter bounds what a service may ask for.
	maxRetryAfter = 10 * time.Minute
)

// backoff counts the attempts since the last steady session.
type backoff struct{ attempts int }

// pause is how long to wait after an attempt that came to err after it was open for some time, 0 when it never was. It is
// random from nothing up to a bound that doubles with each attempt ("full jitter"): those who lost their sessions together
// do not come back together.
func (b *backoff) pause(open time.Duration, err error) time.Duration {
	if open >= steady {
		b.attempts = 0
	}
	bound := firstPause
	for range b.attempts {
		if bound = min(2*bound, maxPause); bound == maxPause {
			break
		}
	}
	b.attempts++
	pause := rand.N(bound)

	var closed *Closed
	var later *Unavailable
	switch {
	case errors.As(err, &closed) && closed.Code == int(wire.CloseDraining):
		pause = max(pause, drainLeast+rand.N(drainMost-drainLeast))
	case errors.As(err, &later):
		after := min(later.RetryAfter, maxRetryAfter)
		pause += after + rand.N(after/4+1)
	}
	return pause
}
