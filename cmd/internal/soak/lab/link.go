package lab

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// link is one direction between two hosts. Packets are sent on it by one goroutine.
type link struct {
	net   *Network
	to    int
	cuts  atomic.Int64 // nothing passes while there are some
	delay atomic.Int64 // nanoseconds

	slow    sync.Once    // makes what follows
	late    chan packet  // in their order
	waiting atomic.Int64 // packets that are late and not there yet: others must not overtake them
}

// packet is to arrive at some time.
type packet struct {
	due  time.Time
	data []byte
}

// maxLate is how many packets a link with a delay holds; more vanish, as in a router.
const maxLate = 8192

func (l *link) send(p []byte) {
	if l.cuts.Load() > 0 {
		return
	}
	by := time.Duration(l.delay.Load())
	if by == 0 && l.waiting.Load() == 0 {
		l.arrive(p)
		return
	}
	l.waiting.Add(1)
	select { // never waits
	case l.late <- packet{time.Now().Add(by), slices.Clone(p)}:
	default:
		l.waiting.Add(-1)
	}
}

// deliver brings late packets; each wakes it, and the network's end ends it.
func (l *link) deliver() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var p packet
		select {
		case <-l.net.done:
			return
		case p = <-l.late:
		}
		timer.Reset(time.Until(p.due))
		select {
		case <-l.net.done:
			return
		case <-timer.C:
		}
		if l.cuts.Load() == 0 {
			l.arrive(p.data)
		}
		l.waiting.Add(-1)
	}
}

// arrive gives a packet to its host. What the kernel does not take is lost, and sent again by who sent it.
func (l *link) arrive(p []byte) {
	if h := l.net.hosts[l.to].Load(); h != nil {
		_, _ = h.port.Write(p)
	}
}
