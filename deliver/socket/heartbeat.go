package socket

import (
	"context"
	"time"
)

// patience is how long a closing connection waits for its client to hang up, in seconds.
const patience = 5

// farewell is a connection that is closing, and the second at which waiting for its client ends.
type farewell struct {
	c     *Conn
	until uint32
}

// linger has the heartbeat hang up on a closing connection when its client does not. It is called with the connection's
// lock held.
func (p *Poller) linger(c *Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.stopped {
		p.lingering = append(p.lingering, farewell{c, p.now() + patience})
	}
}

// beat is woken every second and ends with the context. It visits each connection once a heartbeat, by its descriptor's
// remainder, so that there is no timer a connection and the pings are spread.
func (p *Poller) beat(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	done := uint32(0) // not now: the clock began with New, and may have moved before this goroutine does
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := p.now()
		// A second that was missed is made up for, but none twice.
		for done = max(done, now-min(now, p.heartbeat())); done < now; done++ {
			p.sweep(done+1, now)
		}
		p.release(now)
	}
}

// sweep pings the connections whose turn it is in the given second, and drops those that were silent for two heartbeats.
func (p *Poller) sweep(second, now uint32) {
	every := p.heartbeat()
	for fd := int(second % every); fd < p.table.size(); fd += int(every) {
		c := p.table.get(fd)
		if c == nil {
			continue
		}
		if c.protocol == WebSocket && now >= c.seen.Load()+2*every {
			c.mu.Lock()
			c.hangUp(Silent)
			c.mu.Unlock()
			continue
		}
		_ = c.Send(heartbeat) // what an error tells is told to the owner
	}
}

// release hangs up on the closing connections whose time is over.
func (p *Poller) release(now uint32) {
	p.mu.Lock()
	over := 0
	for over < len(p.lingering) && p.lingering[over].until <= now {
		over++
	}
	late := p.lingering[:over]
	p.lingering = p.lingering[over:]
	if len(p.lingering) == 0 {
		p.lingering = nil
	}
	p.mu.Unlock()
	for _, f := range late {
		f.c.mu.Lock()
		f.c.hangUp(f.c.why)
		f.c.mu.Unlock()
	}
	clear(late) // the list's memory must not hold connections that are gone
}

// heartbeat in seconds.
func (p *Poller) heartbeat() uint32 { return uint32(p.cfg.Heartbeat / time.Second) }
