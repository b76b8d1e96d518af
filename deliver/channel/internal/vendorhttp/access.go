package vendorhttp

import (
	"context"
	"sync"
	"time"

	"github.com/carillon-push/carillon/deliver/channel"
)

// Grant is an access token and how long it holds, counted from when it was asked for.
type Grant struct {
	Token string
	Life  time.Duration
}

// Access keeps a vendor's access token. Many callers need one at once, and vendors limit how often one is asked for, so that
// one caller fetches and the others wait for it, each no longer than its own context. Nobody waits for a renewal: while the
// old token still holds, one caller fetches the next and the rest go on with the old.
type Access struct {
	fetch func(context.Context) (Grant, channel.Result)
	// turn holds one element while somebody fetches.
	turn chan struct{}

	mu            sync.Mutex
	token         string
	renew, expire time.Time
	// fetches counts those that ended with the vendor's word, and last is that word.
	fetches uint64
	last    channel.Result
}

// renewAgain is when a renewal that failed is tried again, while the old token holds.
const renewAgain = time.Minute

// NewAccess keeps what fetch gives. Fetch's result is Sent with a grant, or else says why there is none.
func NewAccess(fetch func(context.Context) (Grant, channel.Result)) *Access {
	return &Access{fetch: fetch, turn: make(chan struct{}, 1)}
}

// Do makes an attempt with an access token, and one more with a new one if the vendor no longer takes the first. A vendor
// that does not take the new one either has denied access: attempt's results then say so.
func (a *Access) Do(ctx context.Context, b *Batch, attempt func(token string) (results []channel.Result, stale bool)) []channel.Result {
	var results []channel.Result
	for range 2 {
		token, r := a.Token(ctx)
		if r.Outcome != channel.Sent {
			return b.All(r)
		}
		var stale bool
		if results, stale = attempt(token); !stale {
			break
		}
		a.forget(token)
	}
	return results
}

// Token is the access token, with a result of Sent, or why there is none.
func (a *Access) Token(ctx context.Context) (string, channel.Result) {
	token, due, seen := a.held()
	if token != "" && !due {
		return token, channel.Result{Outcome: channel.Sent}
	}
	if token != "" {
		select {
		case a.turn <- struct{}{}:
		default:
			return token, channel.Result{Outcome: channel.Sent}
		}
	} else {
		select {
		case a.turn <- struct{}{}:
		case <-ctx.Done():
			return "", Unreachable()
		}
	}
	defer func() { <-a.turn }()

	// Whoever had the turn before has perhaps fetched; its failure is shared, so that a hundred callers with wrong
	// credentials make one request and not a hundred.
	token, due, fetches := a.held()
	if token != "" && !due {
		return token, channel.Result{Outcome: channel.Sent}
	}
	if last := a.word(); token == "" && fetches != seen && last.Outcome != channel.Sent {
		return "", last
	}
	asked := time.Now()
	g, r := a.fetch(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.Outcome != channel.Sent {
		// A caller that ran out of time says nothing of the vendor: the next one is to ask for itself.
		if ctx.Err() == nil {
			a.fetches, a.last = a.fetches+1, r
		}
		if a.token != "" && time.Now().Before(a.expire) {
			a.renew = time.Now().Add(renewAgain)
			return a.token, channel.Result{Outcome: channel.Sent}
		}
		return "", r
	}
	// A life of less than a minute or more than a day is a mistake at the other end.
	life := min(max(g.Life, time.Minute), 24*time.Hour)
	a.token, a.expire = g.Token, asked.Add(life)
	a.renew = a.expire.Add(-min(life/10, 5*time.Minute))
	a.fetches, a.last = a.fetches+1, r
	return a.token, r
}

// held is the token if it still holds, whether it is due to be renewed, and the count of fetches.
func (a *Access) held() (token string, due bool, fetches uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if !now.Before(a.expire) {
		a.token = ""
	}
	return a.token, !now.Before(a.renew), a.fetches
}

// word is the vendor's last on an access token.
func (a *Access) word() channel.Result {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.last
}

// forget drops the token, unless somebody has already put a newer one in its place.
func (a *Access) forget(token string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.token == token {
		a.token = ""
	}
}
