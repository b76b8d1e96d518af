package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/gobwas/ws"
)

// online keeps one device of a user online: it logs in, at a gateway drawn anew each time, again and again until its time
// is over or ctx ends.
func (c *caller) online(ctx context.Context, p *Presence) {
	ctx, cancel := context.WithTimeout(ctx, p.Until-c.clock.now())
	defer cancel()
	r := rand.New(rand.NewPCG(p.Seed, 0))
	for failures := 0; ctx.Err() == nil; {
		gateway := c.gateways[r.IntN(len(c.gateways))]
		ph, err := c.dial(ctx, p.User, gateway, r.IntN(4) == 0)
		if err == nil {
			failures = 0
			c.sit(ctx, ph, p.Habit, r)
		} else {
			failures = min(failures+1, 3)
		}
		pause(ctx, time.Duration(50+r.IntN(500<<failures))*time.Millisecond)
	}
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// Why sessions end, in the report.
const (
	endLeft      = "left"
	endCut       = "cut by the client"
	endAbandoned = "abandoned"
	endLogout    = "logged out"
	endLost      = "connection lost"
	endCollected = "collected"
)

// sit is a session from its hello to its end. Its reading stops by the connection's end alone: when ctx ends, or a
// client cuts it, the connection is closed under it.
func (c *caller) sit(ctx context.Context, p *phone, h Habit, r *rand.Rand) {
	if h == Mute {
		c.l.Unwell(p.s.hello, p.s)
	}
	leave, reset := c.leaving(r)
	stopAt := time.Duration(r.IntN(15)) * time.Second // of those who stop reading
	stopFor := 3*time.Second + time.Duration(r.IntN(12))*time.Second
	acks := rand.New(rand.NewPCG(r.Uint64(), 1))
	begun := c.clock.now()

	done := make(chan string, 1) // how the writer ended the session
	work, stop := context.WithCancel(ctx)
	go func() {
		how := c.acknowledging(work, p, h, acks)
		if how == "" {
			how = leave
			c.farewell(p, how)
		}
		done <- how
		_ = p.conn.SetReadDeadline(time.Unix(1, 0)) // wakes the reader
	}()
	stops, fallen := h == Stalling || h == HalfOpen, false
	var err error
	for {
		if _, err = p.read(); err != nil {
			break
		}
		if !stops || c.clock.now()-begun < stopAt {
			continue
		}
		stops = false
		c.l.Unwell(c.clock.now(), p.s)
		if h == HalfOpen {
			fallen = true
			<-ctx.Done() // its time wakes it
			break
		}
		pause(ctx, stopFor)
	}
	at := c.clock.now()
	stop()
	how := <-done
	var code closed
	switch {
	case errors.As(err, &code):
		how = fmt.Sprintf("closed with %d", uint16(code))
	case fallen:
		how = endAbandoned
	case ctx.Err() == nil && how != endCut:
		how = endLost
	}
	p.end(at, how, reset || how == endCut)
}

// leaving draws how a client goes when its time is over.
func (c *caller) leaving(r *rand.Rand) (how string, reset bool) {
	switch r.IntN(4) {
	case 0:
		return endLogout, false
	case 1:
		return endLeft, true
	}
	return endLeft, false
}

// farewell says goodbye where a client does so. Nobody minds when it does not arrive.
func (c *caller) farewell(p *phone, how string) {
	if how == endLogout && p.post == nil {
		_ = p.write(ws.NewTextFrame([]byte(`{"t":"logout"}`)))
	}
}

// acknowledging acknowledges now and then, until ctx ends. What it gives is why it ended the session, empty when it did not.
func (c *caller) acknowledging(ctx context.Context, p *phone, h Habit, r *rand.Rand) (why string) {
	for {
		pause(ctx, 100*time.Millisecond+time.Duration(r.IntN(900))*time.Millisecond)
		if ctx.Err() != nil {
			return ""
		}
		if h == Forgetful || h == Mute || h == HalfOpen {
			continue
		}
		some, err := p.acknowledge()
		if err != nil {
			return ""
		}
		if some && h == Cutting && r.IntN(5) == 0 {
			return endCut
		}
	}
}

// collect brings a user online for the last times: it reads what waits, acknowledges it, and leaves when the service has
// handled that. It is tried until it has worked once, or ctx ends; failed is how often it had not.
func (c *caller) collect(ctx context.Context, u int) (failed int, err error) {
	for ; ; failed++ {
		err := c.collectAt(ctx, u, c.gateways[(u+failed)%len(c.gateways)])
		if err == nil || ctx.Err() != nil {
			return failed, err
		}
		pause(ctx, 200*time.Millisecond)
	}
}

func (c *caller) collectAt(ctx context.Context, u int, gateway string) error {
	p, err := c.dial(ctx, u, gateway, false)
	if err != nil {
		return err
	}
	// The service answers a ping in its place: the pong says that everything sent before it was read here, and that the
	// service has the acknowledgement.
	_ = p.conn.SetReadDeadline(time.Now().Add(dialWait))
	for n := 0; n < p.s.pending && err == nil; n++ {
		_, err = p.read()
	}
	if err == nil {
		_, err = p.acknowledge()
	}
	if err == nil {
		err = p.write(ws.NewPingFrame(nil))
	}
	for kind := ""; err == nil && kind != framePong; {
		kind, err = p.read()
	}
	p.end(c.clock.now(), endCollected, false)
	return err
}
