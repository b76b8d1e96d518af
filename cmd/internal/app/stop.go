package app

import (
	"context"
	"errors"
	"time"
)

// How long what is under way may take when the process ends: a request of an operator, and a login.
const (
	requestWait = 5 * time.Second
	loginWait   = time.Second
)

// abandonWait is how long a role may take to end when nothing that it waits for can come any more.
const abandonWait = time.Second

// reasonWait is how long the broker may take to say why a stop is late.
const reasonWait = 500 * time.Millisecond

// running is a role that has been started.
type running struct {
	name  Role
	end   context.CancelFunc
	ended chan struct{}
}

// start runs the role until end; failed is told when it fails before. It outlives ctx, so that the roles end in their order.
func (r role) start(ctx context.Context, failed func(error)) *running {
	ctx, end := context.WithCancel(context.WithoutCancel(ctx))
	is := &running{r.name, end, make(chan struct{})}
	go func() {
		defer close(is.ended)
		if err := r.run(ctx); err != nil && ctx.Err() == nil {
			failed(err)
		}
	}()
	return is
}

// stop ends everything, in order, and all of it within one time. The waits of its parts would add up: a broker without a
// quorum keeps each waiting for as long as that one thinks right. What is given up was never confirmed to anybody, or can be
// repeated: that is what a kill at this moment does, which the parts bear.
func (a *App) stop(roles []*running, stopTracing func()) error {
	bound := a.cfg.Stop.Timeout
	if a.sessions != nil {
		bound += a.cfg.Sessions.Drain
	}
	a.log.Info("stopping", "within", bound)
	a.stopping.Store(true)
	late, done := context.WithTimeout(context.Background(), bound)
	defer done()
	err := errors.Join(a.rest.shutdown(late, requestWait), a.sessions.shutdown(late, loginWait))
	a.end(late, roles)
	traced := make(chan struct{})
	go func() { defer close(traced); stopTracing() }()
	if !ends(late, traced) {
		a.log.Warn("given up: what was traced and the receiver of traces has not taken")
	}
	return errors.Join(err, a.admins.shutdown(late, requestWait))
}

// end ends the roles one after the other, and when it is late those that are left together, with the broker's connections:
// whatever they wait for there fails.
func (a *App) end(late context.Context, roles []*running) {
	for len(roles) > 0 {
		roles[0].end()
		if !ends(late, roles[0].ended) {
			break
		}
		roles = roles[1:]
	}
	if len(roles) == 0 {
		return
	}
	var names []Role
	for _, r := range roles {
		r.end()
		names = append(names, r.name)
	}
	asking, asked := context.WithTimeout(context.Background(), reasonWait)
	reason := a.b.Check(asking)
	asked()
	a.log.Warn("given up: what these roles still wait for at the broker. Nothing that was accepted is lost; what they had not written is written, "+
		"or comes, again", "roles", names, "reason", reason)
	a.b.Abandon()
	last, cancel := context.WithTimeout(context.Background(), abandonWait)
	defer cancel()
	for _, r := range roles {
		if !ends(last, r.ended) {
			a.log.Error("a role does not end", "role", r.name)
		}
	}
}

// ends waits for an end, until ctx ends.
func ends(ctx context.Context, ended <-chan struct{}) bool {
	select { // the end wakes it, or the time
	case <-ended:
		return true
	case <-ctx.Done():
	}
	select { // never waits: both may be so
	case <-ended:
		return true
	default:
		return false
	}
}
