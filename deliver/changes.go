package deliver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nuid"

	"github.com/carillon-push/carillon/deliver/socket"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// changes takes what becomes of sessions to the broker, for the callbacks of apps that have one. No login waits for that:
// what there is no room for is dropped and counted.
type changes struct {
	d     *Deliver
	queue chan change
	// waiting is what has been taken from the queue, by app. Of the goroutine of run, and of flush once that has ended.
	waiting map[push.AppID][]wire.SessionEvent
}

type change struct {
	app push.AppID
	wire.SessionEvent
}

const (
	// maxChanges wait: a second's logins and a half. One more is dropped and counted.
	maxChanges = 16 << 10
	// changesEvery is how long a change waits for others, at most.
	changesEvery = 200 * time.Millisecond
	// changesAgain is how long after a failure it is tried again.
	changesAgain = 250 * time.Millisecond
)

func newChanges(d *Deliver) *changes {
	return &changes{d: d, queue: make(chan change, maxChanges), waiting: map[push.AppID][]wire.SessionEvent{}}
}

// tell notes a change of the session, if its app wants that. It never waits. Called with mu held, so that what becomes of
// one session is in order.
func (s *session) tell(what wire.SessionChange, reason string) {
	d := s.shard.d
	if !(*d.apps.Load())[s.shard.app].Events {
		return
	}
	c := change{s.shard.app, wire.SessionEvent{
		Change: what, Ordinal: s.ordinal(), At: time.Now(), Platform: s.platform.String(), Reason: reason,
	}}
	select { // never waits: without room it is dropped
	case d.changes.queue <- c:
	default:
		d.metrics.changes.WithLabelValues(changeFull).Inc()
	}
}

// ended tells how a session that had begun has ended: why we closed it, or else what became of its connection. Called with
// mu held.
func (s *session) ended(why socket.Why) {
	switch {
	case !s.begun:
	case s.closing == wire.CloseNormal:
		s.tell(wire.SessionLogout, "")
	case s.closing != 0:
		s.tell(wire.SessionDisconnect, s.closing.Reason())
	case why == socket.Slow: // the socket closed it by itself
		s.tell(wire.SessionDisconnect, wire.CloseTooSlow.Reason())
	default:
		s.tell(wire.SessionDisconnect, why.String())
	}
}

// run publishes changes until ctx ends.
func (c *changes) run(ctx context.Context) error {
	due := time.NewTimer(0)
	defer due.Stop()
	<-due.C
	for {
		select { // a change or the timer wakes it, ctx ends it
		case <-ctx.Done():
			return ctx.Err()
		case <-due.C:
			for app := range c.waiting {
				if err := c.publish(ctx, app); err != nil {
					return err
				}
			}
		case ch := <-c.queue:
			if len(c.waiting) == 0 {
				due.Reset(changesEvery)
			}
			if c.add(ch) {
				if err := c.publish(ctx, ch.app); err != nil {
					return err
				}
			}
		}
	}
}

// add takes one into what waits, and says whether that is a message's worth.
func (c *changes) add(ch change) (full bool) {
	c.waiting[ch.app] = append(c.waiting[ch.app], ch.SessionEvent)
	return len(c.waiting[ch.app]) == wire.MaxSessionEvents
}

// publish publishes what waits of an app, and tries until it can or ctx ends; meanwhile the queue fills. A message that was
// taken without our hearing of it stands twice, with one ID.
func (c *changes) publish(ctx context.Context, app push.AppID) error {
	events := c.waiting[app]
	m := broker.Message{Subject: wire.SessionEventSubject(app), Data: wire.EncodeSessionEvents(wire.SessionEvents{ID: nuid.Next(), Events: events})}
	for {
		once, cancel := context.WithTimeout(ctx, loginWait)
		_, _, err := c.d.b.Publish(once, m)
		cancel()
		if err == nil {
			c.d.metrics.changes.WithLabelValues(changePublished).Add(float64(len(events)))
			delete(c.waiting, app)
			return nil
		}
		if ctx.Err() != nil || errors.Is(err, broker.ErrClosed) {
			return fmt.Errorf("publish changes of sessions: %w", errors.Join(err, ctx.Err()))
		}
		c.d.log.Warn("publish changes of sessions; will try again", "app", app, "err", err)
		select { // the pause wakes it, ctx ends it
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(changesAgain):
		}
	}
}

// flush publishes what is left when run has ended, until ctx ends.
func (c *changes) flush(ctx context.Context) (err error) {
	take := func(app push.AppID) {
		if err == nil {
			err = c.publish(ctx, app)
		}
		if err != nil {
			c.d.metrics.changes.WithLabelValues(changeFailed).Add(float64(len(c.waiting[app])))
			delete(c.waiting, app)
		}
	}
	for len(c.queue) > 0 {
		if ch := <-c.queue; c.add(ch) {
			take(ch.app)
		}
	}
	for app := range c.waiting {
		take(app)
	}
	return err
}
