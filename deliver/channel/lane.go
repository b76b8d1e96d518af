package channel

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"
)

// Why an attempt failed, to the breaker.
var (
	errDenied = errors.New("the vendor denied the credentials")
	errBusy   = errors.New("the vendor took nothing")
	errEnded  = errors.New("the caller went away")
)

// lane is one part of a vendor (see Parted), or all of it: what fails there holds back nothing else. It is left alone while
// its breaker is open, and as long as it asked to be.
type lane struct {
	breaker *gobreaker.CircuitBreaker[[]Result]

	mu     sync.Mutex
	until  time.Time // left alone until then
	open   bool
	denied string // the reason, when the breaker is open because of it
}

// newLane makes a lane; changed is told when its breaker opens and when the vendor works again.
func newLane(limits Limits, changed func(open bool)) *lane {
	l := new(lane)
	l.breaker = gobreaker.NewCircuitBreaker[[]Result](gobreaker.Settings{
		Timeout: limits.Open,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return l.isDenied() || c.ConsecutiveFailures >= uint32(limits.Failures)
		},
		IsExcluded: func(err error) bool { return errors.Is(err, errEnded) },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			switch {
			case to == gobreaker.StateOpen:
				// The breaker lets one through after its time, not at it.
				l.leave(time.Now().Add(limits.Open + time.Millisecond))
				if from == gobreaker.StateClosed {
					changed(true)
				}
			case to == gobreaker.StateClosed:
				l.resume()
				changed(false)
			}
		},
	})
	return l
}

func (l *lane) isDenied() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.denied != ""
}

func (l *lane) isOpen() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open
}

func (l *lane) leave(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = true
	if until.After(l.until) {
		l.until = until
	}
}

func (l *lane) resume() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open, l.until = false, time.Time{}
}

// held is what becomes of devices while the lane is left alone; false when it is not.
func (l *lane) held(now time.Time) (Result, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	wait := l.until.Sub(now)
	switch {
	case wait <= 0:
		return Result{}, false
	case l.denied != "":
		return Result{Outcome: Denied, Reason: l.denied, After: wait}, true
	default:
		return Result{Outcome: Later, Reason: ReasonHeld, After: wait}, true
	}
}

// try makes an attempt, unless the breaker is open; false then. ctx is the caller's: when it ends, that is no fault of the
// vendor's.
func (l *lane) try(ctx context.Context, attempt func() []Result) ([]Result, bool) {
	results, err := l.breaker.Execute(func() ([]Result, error) {
		results := attempt()
		if ctx.Err() != nil {
			return results, errEnded
		}
		return results, l.judge(results)
	})
	return results, !errors.Is(err, gobreaker.ErrOpenState) && !errors.Is(err, gobreaker.ErrTooManyRequests)
}

// judge says whether an attempt failed, and remembers how long the vendor asks to be left alone.
func (l *lane) judge(results []Result) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	busy := len(results) > 0
	for _, r := range results {
		switch r.Outcome {
		case Denied:
			l.denied = r.Reason
			return errDenied
		case Later:
			if until := time.Now().Add(r.After); r.After > 0 && until.After(l.until) {
				l.until = until
			}
		default:
			busy = false
		}
	}
	if busy {
		return errBusy
	}
	l.denied = ""
	return nil
}
