package bulk

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"time"

	"github.com/carillon-push/carillon/pkg/client"
)

// The service's codes that say something of the moment, and not of the call.
const (
	codeFrequency        = 60007
	codeInternal         = 91000
	codeInternalAccounts = 70500
)

// refusals are the codes that say that something in a body is not acceptable. Of such a call nothing was applied, so that
// its parts may be tried by themselves. Any other code would be the answer to every call.
var refusals = map[int]bool{
	60015: true, 70402: true, 90001: true, 90018: true, 90020: true, 90030: true, 90032: true, 90033: true, 90040: true,
	90048: true, 93000: true,
	// Of the interface under /v1, HTTP's: the account was deleted meanwhile, or what is said of it is not acceptable.
	400: true, 404: true, 409: true, 413: true, 422: true,
}

// refused gives the service's refusal of a body, nil when the error is something else.
func refused(err error) *client.Error {
	var answer *client.Error
	if errors.As(err, &answer) && refusals[answer.Code] {
		return answer
	}
	return nil
}

// passing says whether a call may succeed when it is made again: the service did not answer, or said so.
func passing(err error) bool {
	var answer *client.Error
	if !errors.As(err, &answer) {
		return true
	}
	return answer.Code == codeFrequency || answer.Code == codeInternal || answer.Code == codeInternalAccounts
}

// busy says whether the service was called too often.
func busy(err error) bool {
	var answer *client.Error
	return errors.As(err, &answer) && answer.Code == codeFrequency
}

// caller makes calls again until they succeed. It is safe for concurrent use.
type caller struct {
	rest *client.REST
	// first is the pause before a call is made again; it doubles up to longest, and each is cut at random so that callers
	// do not come back together.
	first, longest time.Duration
	// patience is how long a call is made again.
	patience time.Duration
	// again is told why a call is made again.
	again func(error)
}

// The pauses of a caller, and how long a service may be away before an import or export gives up. One that does not answer
// the very first call is more likely not there at all.
const (
	firstPause    = 20 * time.Millisecond
	longestPause  = 2 * time.Second
	patience      = 2 * time.Minute
	firstPatience = 3 * time.Second
)

func newCaller(rest *client.REST, again func(error)) *caller {
	return &caller{rest: rest, first: firstPause, longest: longestPause, patience: patience, again: again}
}

// impatient is the caller for a first call.
func (c caller) impatient() *caller {
	c.patience = min(c.patience, firstPatience)
	return &c
}

func (c *caller) call(ctx context.Context, command string, body, answer any) error {
	return c.do(ctx, func(ctx context.Context) error { return c.rest.Call(ctx, command, body, answer) })
}

// do calls until there is no error, or one that stays.
func (c *caller) do(ctx context.Context, call func(context.Context) error) error {
	begin, pause := time.Now(), c.first
	for {
		err := call(ctx)
		if err == nil || ctx.Err() != nil || !passing(err) {
			return err
		}
		if waited := time.Since(begin); waited+pause > c.patience {
			return fmt.Errorf("gave up after %s: %w", waited.Round(time.Millisecond), err)
		}
		c.again(err)
		timer := time.NewTimer(pause/2 + rand.N(pause/2+1))
		select { // the timer wakes it, ctx ends it
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
		pause = min(2*pause, c.longest)
	}
}

// withoutURL takes the URL out of an HTTP client's error: it holds the signature.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
