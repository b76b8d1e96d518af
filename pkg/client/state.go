package client

import (
	"fmt"
	"time"
)

// State is what a Session has come to: a Connecting, Open, Waiting or Ended.
type State interface {
	fmt.Stringer
	state()
}

// Connecting says that a connection is being made.
type Connecting struct {
	// URL is the base that was picked out of URLs.
	URL string
}

// Open says that a session has begun. What was kept for the user comes next, oldest first, and then live pushes.
type Open struct {
	// ID is the service's name for the session, for its logs.
	ID string
	// Heartbeat is how often the service is heard of, at least.
	Heartbeat time.Duration
	// Pending is how many pushes were kept. Some may have been shown before, and are not shown again.
	Pending int
}

// Waiting says that there is no session, why, and when the next connection is made.
type Waiting struct {
	// Err is a *Closed when the service ended the session, and an *Unavailable when it did not begin one.
	Err error
	// Pause until the next Connecting.
	Pause time.Duration
}

// Ended is the last state: Listen returns next.
type Ended struct {
	// Err is what Listen returns.
	Err error
}

func (Connecting) state() {}
func (Open) state()       {}
func (Waiting) state()    {}
func (Ended) state()      {}

func (s Connecting) String() string { return "connecting to " + s.URL }

func (s Open) String() string {
	return fmt.Sprintf("session %s is open, %d pending", s.ID, s.Pending)
}

func (s Waiting) String() string {
	return fmt.Sprintf("no session (%v), trying again in %s", s.Err, s.Pause.Round(time.Millisecond))
}

func (s Ended) String() string {
	if s.Err == nil {
		return "logged out"
	}
	return fmt.Sprintf("ended: %v", s.Err)
}

// Refused is returned by Listen when the service will not have this session: trying again is of no use until something
// has changed. It comes from HTTP 401 and 403, and from the close codes 4001 (kicked), 4002 (account deleted) and 4005 (too
// many sessions of the account). A Sig may return one to end Listen.
type Refused struct {
	Status int // of HTTP, 0 when the session was closed after it had begun
	Code   int // of the REST contract, such as 70009, or a close code; 0 when whoever refused gave none
	Info   string
}

func (r *Refused) Error() string {
	if r.Code == 0 {
		return fmt.Sprintf("the session was refused: HTTP %d: %s", r.Status, r.Info)
	}
	return fmt.Sprintf("the session was refused: %d: %s", r.Code, r.Info)
}

// Closed is why the service ended a session that may be opened again, such as 1001 (draining) or 4003 (too slow).
type Closed struct {
	Code int
	Info string
}

func (c *Closed) Error() string {
	return fmt.Sprintf("the service closed the session: %d: %s", c.Code, c.Info)
}

// Unavailable is an answer to a login that may be another one later, such as HTTP 503.
type Unavailable struct {
	Status int // of HTTP
	Code   int // of the REST contract, 0 when whoever answered gave none
	Info   string
	// RetryAfter is how long the service asks to wait, 0 when it does not.
	RetryAfter time.Duration
}

func (u *Unavailable) Error() string {
	if u.Code == 0 {
		return fmt.Sprintf("the service has no session now: HTTP %d: %s", u.Status, u.Info)
	}
	return fmt.Sprintf("the service has no session now: HTTP %d: %d: %s", u.Status, u.Code, u.Info)
}
