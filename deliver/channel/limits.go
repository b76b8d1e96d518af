package channel

import (
	"errors"
	"fmt"
	"time"
)

// Limits are how a Sender goes about with a vendor.
type Limits struct {
	// Rate is how many notifications a second are sent at most, over a while; 0: as many as the vendor takes.
	Rate float64
	// Concurrency is how many attempts are under way at a time at most, over all calls of Send.
	Concurrency int
	// Timeout is how long one attempt may take.
	Timeout time.Duration
	// Attempts is how often a device is tried in one call of Send.
	Attempts int
	// BackoffMin and BackoffMax bound the pause between two attempts, which grows from one to the other, give or take a half.
	// A vendor that asks for a longer one gets it.
	BackoffMin, BackoffMax time.Duration
	// Patience is how long one call of Send goes on trying in all. What would wait longer is given back as Later.
	Patience time.Duration
	// Failures is how many attempts in a row must have failed for the breaker to open.
	Failures int
	// Open is how long the breaker stays open, until one attempt is let through to try the vendor again.
	Open time.Duration
}

// DefaultLimits suit a vendor that publishes none.
func DefaultLimits() Limits {
	return Limits{
		Concurrency: 64,
		Timeout:     10 * time.Second,
		Attempts:    5,
		BackoffMin:  500 * time.Millisecond,
		BackoffMax:  30 * time.Second,
		Patience:    time.Minute,
		Failures:    20,
		Open:        15 * time.Second,
	}
}

// Validate says in full sentences what is wrong.
func (l Limits) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(l.Rate >= 0, "the rate must not be negative; it is %g", l.Rate)
	check(l.Concurrency >= 1, "the concurrency must be at least 1; it is %d", l.Concurrency)
	check(l.Timeout > 0, "the timeout of an attempt must be over zero; it is %s", l.Timeout)
	check(l.Attempts >= 1, "there must be at least 1 attempt; there are %d", l.Attempts)
	check(l.BackoffMin > 0 && l.BackoffMin <= l.BackoffMax,
		"the pause between attempts must be over zero and grow; it goes from %s to %s", l.BackoffMin, l.BackoffMax)
	check(l.Patience > 0, "the patience must be over zero; it is %s", l.Patience)
	check(l.Failures >= 1, "the breaker must open after at least 1 failure; it is to open after %d", l.Failures)
	check(l.Open > 0, "the time that the breaker stays open must be over zero; it is %s", l.Open)
	return errors.Join(errs...)
}
