package soak

import (
	"time"
)

// Push is one call that pushes, and what came of it.
type Push struct {
	// N is what its body says: recipients know the push by it, whether or not the call was answered.
	N         int
	Kind      string // for the report
	Condition Condition
	Lifetime  time.Duration
	// Native says that it goes by /v1 with an Idempotency-Key, so that it cannot have two copies.
	Native bool

	begun     Moment
	answered  Moment // never: it may have been accepted or not
	evaluated Moment // when it was seen to be; never: it may still be
	matched   uint64 // by the service's count, once evaluated
	task      string // of the answer

	revoking Moment // when the first call to revoke it began; never: none has
	revoked  Moment // when one was answered; never: not yet

	copies []*copyOf
}

// copyOf is one push on the broker. A call without an answer may have made one, and a repeat of it another.
type copyOf struct {
	index  uint32 // in the ledger
	push   *Push
	id     string
	seq    uint64 // zero until somebody got it
	expire int64  // unix seconds as recipients are told, 0 for online users only
	last   Moment // when it last came to a session that was open and well before the call; zero: to none

	got, acked bits
	revokes    bits // who got its revocation
}

// certain says that the copy is the one which the call's answer named.
func (c *copyOf) certain() bool { return c.push.answered != never && c.id == c.push.task }

// seen is the interval in which the push looked at its users. Of a copy that nobody was told of, no end is known.
func (c *copyOf) seen() (from, to Moment) {
	if !c.certain() {
		return c.push.begun, never
	}
	return c.push.begun, c.push.evaluated
}

// copy finds a push's copy by its id, or makes it.
func (l *Ledger) copy(p *Push, id string) *copyOf {
	for _, c := range p.copies {
		if c.id == id {
			return c
		}
	}
	c := &copyOf{index: uint32(len(l.copies)), push: p, id: id, got: newBits(len(l.users)), acked: newBits(len(l.users)), revokes: newBits(len(l.users))}
	p.copies = append(p.copies, c)
	l.copies = append(l.copies, c)
	l.byID[id] = c
	return c
}

// BeginPush notes that a push is about to be called for. N is given by the schedule, each once.
func (l *Ledger) BeginPush(at Moment, p *Push) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p.begun, p.answered, p.evaluated, p.revoking, p.revoked = at, never, never, never, never
	l.pushes[p.N] = p
	l.kinds[p.Kind]++
}

// Accepted notes the call's answer.
func (l *Ledger) Accepted(at Moment, p *Push, task string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p.answered, p.task = at, task
	l.copy(p, task)
	l.accepted++
}

// Evaluated notes that the service was seen to know the whole audience, and how many it counts.
func (l *Ledger) Evaluated(at Moment, p *Push, matched uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p.evaluated, p.matched = at, matched
}

// BeginRevoke notes that a push is about to be revoked; false when that has begun already.
func (l *Ledger) BeginRevoke(at Moment, p *Push) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.revoking != never {
		return false
	}
	p.revoking = at
	return true
}

// Revoked notes that the revocation was answered.
func (l *Ledger) Revoked(at Moment, p *Push) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p.revoked = at
	l.revocations++
}

// Task is the push's name, empty while its call has no answer.
func (l *Ledger) Task(n int) (p *Push, task string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p = l.pushes[n]; p == nil {
		return nil, ""
	}
	return p, p.task
}
