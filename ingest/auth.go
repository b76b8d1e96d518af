package ingest

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/usersig"
)

// authenticate finds the app that a request is for and checks that its identifier signed it.
func (i *Ingest) authenticate(q url.Values, remote string) (*tenant, string, error) {
	id, identifier, sig := q.Get("sdkappid"), q.Get("identifier"), q.Get("usersig")
	if id == "" {
		return nil, "", refuse(codeNoApp, "sdkappid is missing in the URL")
	}
	if identifier == "" {
		return nil, "", refuse(codeNoIdentifier, "identifier is missing in the URL")
	}
	if sig == "" {
		return nil, "", refuse(codeNoUserSig, "usersig is missing in the URL")
	}
	app, err := push.ParseAppID(id)
	if err != nil {
		return nil, "", refuse(codeApp, err.Error())
	}
	t := i.tenant(app)
	if t == nil {
		return nil, "", refuse(codeApp, fmt.Sprintf("sdkappid %d is no app of this service", app))
	}
	now := i.now()
	if _, err := usersig.Verify(sig, t.Keys, app, identifier, now); err != nil {
		// An expired signature is genuine: its owner guesses nothing, and must learn what is wrong however often it asks.
		if !errors.Is(err, usersig.ErrExpired) && !i.failures.allow(app, identifier, remote, now) {
			err = refuse(codeFailures, "too many failed authentications: try again in a minute")
		}
		return nil, "", err
	}
	return t, identifier, nil
}

// Limits of failures: so many failed authentications a minute for one identifier and from one address, behind which there
// may be many callers, and so many of both remembered.
const (
	failuresPerMinute  = 20
	failuresPerAddress = 100
	failuresKept       = 4096
)

// failures counts failed authentications for each app and identifier, and for each address. One too many is told so instead
// of what was wrong with it. A signature that verifies is never refused, however many failed before: otherwise anybody who
// knows an admin's name, or shares a proxy with one, could lock the admin out, and what there is to guess, an HMAC, is out
// of reach at any rate.
type failures struct {
	counters *lru.Cache[failureKey, *rate.Limiter] // those that failed last
}

// failureKey is an app and identifier, or an address.
type failureKey struct {
	app                 push.AppID
	identifier, address string
}

func newFailures() (*failures, error) {
	c, err := lru.New[failureKey, *rate.Limiter](failuresKept)
	if err != nil {
		return nil, fmt.Errorf("make the counters of failed authentications: %w", err)
	}
	return &failures{c}, nil
}

// allow counts a failure and says whether it may be told what is wrong. The address is host:port.
func (f *failures) allow(app push.AppID, identifier, address string, now time.Time) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	// Identifiers that are too long for an account share counters. The clone lets go of the URL.
	short := strings.Clone(identifier[:min(len(identifier), push.MaxAccountLen+1)])
	of := f.take(failureKey{app: app, identifier: short}, failuresPerMinute, now)
	from := f.take(failureKey{address: host}, failuresPerAddress, now)
	return of && from
}

func (f *failures) take(key failureKey, perMinute int, now time.Time) bool {
	fresh := rate.NewLimiter(rate.Every(time.Minute/time.Duration(perMinute)), perMinute)
	counter, known, _ := f.counters.PeekOrAdd(key, fresh)
	if !known {
		counter = fresh
	} else {
		f.counters.Get(key) // it is among the recent again
	}
	return counter.AllowN(now, 1)
}
