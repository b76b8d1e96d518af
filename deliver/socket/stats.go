package socket

import "sync/atomic"

// Why a connection ended. The set is closed: metrics have a label for each.
type Why uint8

// Reasons for which connections end.
const (
	// Client sent a close frame.
	Client Why = iota
	// Gone clients hung up, or were reset, without a close frame.
	Gone
	// Silent clients sent nothing for two heartbeats.
	Silent
	// Slow clients had more than Config.QueueLimit waiting.
	Slow
	// BadFrame clients broke the protocol, or sent a message that the owner refused.
	BadFrame
	// Server called Close, or stopped.
	Server

	whys int = iota
)

var whyNames = [whys]string{"client", "gone", "silent", "slow", "bad frame", "server"}

func (w Why) String() string {
	if int(w) < whys {
		return whyNames[w]
	}
	return "unknown"
}

// Whys lists every Why, for those who make a metric of each.
func Whys() []Why {
	all := make([]Why, whys)
	for i := range all {
		all[i] = Why(i)
	}
	return all
}

// Stats is what a Poller has counted since it was made.
type Stats struct {
	// Open connections now, of which some may be waiting for the client to hang up.
	Open int64
	open [protocols][2]int64
	// Adopted connections.
	Adopted uint64
	// Closed connections, by Why.
	Closed [whys]uint64
	// Messages given to owners.
	Messages uint64
	// Full counts the sends that found a socket full and began a queue.
	Full uint64
	// Queued bytes that wait for full sockets now.
	Queued int64
}

type counters struct {
	open     [protocols][2]atomic.Int64 // the second with TLS
	adopted  atomic.Uint64
	closed   [whys]atomic.Uint64
	messages atomic.Uint64
	full     atomic.Uint64
	queued   atomic.Int64
}

// of is the number of open connections of a connection's kind.
func (n *counters) of(c *Conn) *atomic.Int64 { return &n.open[c.protocol][index(c.secure)] }

func index(secure bool) int {
	if secure {
		return 1
	}
	return 0
}

// OpenOf is how many of the open connections speak a protocol, over TLS or not.
func (s Stats) OpenOf(p Protocol, secure bool) int64 { return s.open[p][index(secure)] }

// Stats is a snapshot; its fields are read one after the other.
func (p *Poller) Stats() Stats {
	s := Stats{
		Adopted:  p.count.adopted.Load(),
		Messages: p.count.messages.Load(),
		Full:     p.count.full.Load(),
		Queued:   p.count.queued.Load(),
	}
	for protocol := range s.open {
		for i := range s.open[protocol] {
			s.open[protocol][i] = p.count.open[protocol][i].Load()
			s.Open += s.open[protocol][i]
		}
	}
	for i := range s.Closed {
		s.Closed[i] = p.count.closed[i].Load()
	}
	return s
}
