package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// Session keeps a user logged in, as long as Listen runs. Its fields are set before Listen and left alone after; its methods
// are safe for concurrent use.
//
// The callbacks are called in the order of what happened, never two at a time, and not after Listen has returned. They may
// call the Session's methods, but not Listen.
type Session struct {
	// URLs are the bases of the sessions, such as wss://push.example.com: one or more, of which each connection takes one at
	// random, though not the last one if there are others.
	URLs []string
	App  push.AppID
	// Account is the user. A first login creates the account.
	Account string
	// UserSig is the account's signature, which the app's own server makes.
	UserSig string
	// Sig, when set, is asked for the signature at each connection instead, so that one that has expired is replaced. Its
	// error is waited out like a lost connection, unless it is a *Refused.
	Sig func(ctx context.Context) (string, error)
	// Platform is Web, Android, iOS, iPad, Windows, Mac or Linux; empty for Web.
	Platform string
	// Device is this installation's own name for itself, the same at each start: a registration takes the place of its
	// earlier one. 1 to 128 printable ASCII characters; empty when it has none.
	Device string

	// OnPush is called for each push, and must be set. The push is acknowledged when it returns. While it runs, up to
	// 64 more are read; beyond that the service's writes wait, and it ends a session that it cannot write to.
	OnPush func(Push)
	// OnRevoke, when set, is called for each push that was cancelled.
	OnRevoke func(Revoke)
	// OnState, when set, is told what becomes of the session.
	OnState func(State)

	// Handshake is how long the service may take from the begin of a connection to its hello, up to 20 seconds; zero for 5.
	// Then another of the URLs is tried. While one after the other takes too long, each has twice the time of the one before,
	// up to 20 seconds. The time that Sig takes is not part of it.
	Handshake time.Duration
	// Gather is how long acknowledgements may wait for others, up to a second; zero for a second.
	Gather time.Duration
	// HTTP makes the connections; nil for http.DefaultClient. Its transport is where TLS is configured.
	HTTP *http.Client

	listening atomic.Bool
	counts    counts
	out       outbox

	// Of the goroutine in Listen.
	shown   *simplelru.LRU[push.Seq, struct{}]
	expired string // the signature that the service found expired
}

const (
	// remembered is how many sequences are known again: more than the contract's quota of pushes in a week, several times.
	remembered = 4096
	maxGather  = time.Second
)

// Listen keeps a session up until ctx ends (it returns ctx's error), until the user has logged out (nil), or until the
// service refuses the session (a *Refused). When the connection is lost it comes back after a pause. At ctx's end it waits
// for the callback that runs, sends the last acknowledgements, and takes a few seconds at most.
//
// Listen may be called again after it has returned: the Session knows what it has shown.
func (s *Session) Listen(ctx context.Context) error {
	if err := s.check(); err != nil {
		return err
	}
	if !s.listening.CompareAndSwap(false, true) {
		return errors.New("this session is listening already")
	}
	defer s.listening.Store(false)
	if s.shown == nil {
		var err error
		if s.shown, err = simplelru.NewLRU[push.Seq, struct{}](remembered, nil); err != nil {
			return fmt.Errorf("make room for what was shown: %w", err)
		}
	}
	err := s.listen(ctx)
	s.out.ended(err == nil)
	s.tell(Ended{err})
	return err
}

// Opened tells the service that the user has opened pushes. It never waits: without a connection up to 4096 are kept.
func (s *Session) Opened(seqs ...push.Seq) { s.out.open(seqs) }

// RegisterDevice tells the service where this device gets pushes of a vendor: a channel such as "apns", "fcm" or "webpush",
// and the vendor's token. It is told at once when there is a session, and at the begin of each later one, until another
// registration, RemoveDevice or Logout takes its place. The error (wire.ErrDevice) is of the arguments, and shows no token.
func (s *Session) RegisterDevice(channel, token string) error {
	f, err := deviceFrame(channel, token, false)
	if err == nil {
		s.out.setDevice(f)
	}
	return err
}

// RemoveDevice tells the service to forget a token of this device, now or as soon as there is a session. The newest 8 that
// wait for one are kept. Its error is RegisterDevice's.
func (s *Session) RemoveDevice(channel, token string) error {
	f, err := deviceFrame(channel, token, true)
	if err == nil {
		s.out.setDevice(f)
	}
	return err
}

// Logout ends the session, has the service forget the device, and has Listen return nil once the service has confirmed it.
// From here on no callback gets a push. Without a connection that has to wait for one; ctx gives it up.
func (s *Session) Logout() { s.out.logOut() }

// Counts of a Session since it was made.
type Counts struct {
	// Sessions that were opened.
	Sessions uint64
	// Shown is how many pushes and revocations were shown, Repeats how many came again and were only acknowledged.
	Shown, Repeats uint64
	// DroppedAcks and DroppedOpened are sequences that the service was not told, as too many waited for a connection. The
	// pushes of the former come again.
	DroppedAcks, DroppedOpened uint64
}

type counts struct{ sessions, shown, repeats atomic.Uint64 }

// Counts of what the Session has done.
func (s *Session) Counts() Counts {
	c := Counts{Sessions: s.counts.sessions.Load(), Shown: s.counts.shown.Load(), Repeats: s.counts.repeats.Load()}
	c.DroppedAcks, c.DroppedOpened = s.out.droppedCounts()
	return c
}

// check says what cannot work, in full sentences.
func (s *Session) check() error {
	var errs []error
	if len(s.URLs) == 0 {
		errs = append(errs, errors.New("URLs is empty; it needs the base of the sessions, such as wss://push.example.com"))
	}
	for _, base := range s.URLs {
		u, err := url.Parse(base)
		if err != nil || !slices.Contains([]string{"ws", "wss", "http", "https"}, u.Scheme) || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
			errs = append(errs, fmt.Errorf("%q is no base of sessions; it should be like wss://push.example.com", base))
		}
	}
	if err := push.ValidAccount(s.Account); err != nil {
		errs = append(errs, fmt.Errorf("the Account cannot be: %w", err))
	}
	if s.Device != "" {
		d := wire.Device{ID: s.Device, Channel: "any", Token: "any"}
		if err := d.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("the Device cannot be: %w", err))
		}
	}
	if s.OnPush == nil {
		errs = append(errs, errors.New("OnPush is not set; pushes would be acknowledged that nobody has seen"))
	}
	if s.Gather < 0 || s.Gather > maxGather {
		errs = append(errs, fmt.Errorf("the time to Gather is %v; it must be from 0 to %v", s.Gather, maxGather))
	}
	if s.Handshake < 0 || s.Handshake > maxHandshake {
		errs = append(errs, fmt.Errorf("the time for a Handshake is %v; it must be from 0 to %v", s.Handshake, maxHandshake))
	}
	return errors.Join(errs...)
}

// listen makes one connection after the other.
func (s *Session) listen(ctx context.Context) error {
	var pauses backoff
	base, patience := "", s.patience(0, nil)
	for {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		base = pick(s.URLs, base)
		s.tell(Connecting{base})
		open, err := s.once(ctx, base, patience)
		var refused *Refused
		switch {
		case errors.As(err, &refused):
			return refused
		case errors.Is(err, errLoggedOut):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		}
		patience = s.patience(patience, err)
		wait := Waiting{err, pauses.pause(open, err)}
		s.tell(wait)
		timer := time.NewTimer(wait.Pause)
		select { // the pause wakes it, ctx ends it
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
	}
}

// once makes one connection and holds its session to the end. It gives how long that was open, and why it ended, which is
// nil only at the end of ctx.
func (s *Session) once(ctx context.Context, base string, patience time.Duration) (open time.Duration, err error) {
	l, hello, err := s.connect(ctx, base, patience)
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	err = l.hold(ctx, hello)
	return time.Since(begin), err
}

// patience is how long the next connection may take, after one that had some time and ended with an error.
func (s *Session) patience(last time.Duration, err error) time.Duration {
	if errors.Is(err, errSlow) {
		return min(2*last, maxHandshake)
	}
	if s.Handshake > 0 {
		return s.Handshake
	}
	return handshake
}

// pick gives one of some URLs at random, though not the last one if there are others.
func pick(urls []string, last string) string {
	others := slices.DeleteFunc(slices.Clone(urls), func(u string) bool { return u == last })
	if len(others) == 0 {
		return last
	}
	return others[rand.IntN(len(others))]
}

func (s *Session) tell(st State) {
	if s.OnState != nil {
		s.OnState(st)
	}
}

// show calls back for a frame, unless it came before, and notes it for acknowledgement: again for one that came again, since
// its first acknowledgement was lost.
func (s *Session) show(f wire.ServerFrame) {
	ack := f.Seq
	if f.Type == wire.FrameRevoke {
		ack = f.Ack // a revocation has a sequence of its own; without one it does not come again
	}
	if ack != 0 && s.shown.Contains(ack) {
		s.counts.repeats.Add(1)
	} else {
		switch {
		case f.Type == wire.FramePush:
			s.OnPush(pushOf(f))
		case s.OnRevoke != nil:
			s.OnRevoke(Revoke{f.ID, f.Seq})
		}
		s.counts.shown.Add(1)
	}
	if ack != 0 {
		s.shown.Add(ack, struct{}{})
		s.out.ack(ack)
	}
}
