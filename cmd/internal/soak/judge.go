package soak

import (
	"fmt"
	"slices"
	"time"
)

// Fault is a kind of violation.
type Fault string

// Faults.
const (
	// Lost is a pair that must have got the push, or its revocation, and never did.
	Lost Fault = "lost"
	// Stranger got a push and certainly is not in its audience, or after its lifetime, or after its revocation was answered.
	Stranger Fault = "stranger"
	// Twice is a push that came to one session twice.
	Twice Fault = "twice"
	// Disorder is a push that came to a session after a later one.
	Disorder Fault = "disorder"
	// Missed is a login that should have had a push and had not, even if another had it.
	Missed Fault = "missed"
)

// Violation is a pair that broke a promise.
type Violation struct {
	Fault Fault
	User  int
	What  string

	copy *copyOf
}

// maxViolations bounds those that are kept for their stories; all are counted.
const maxViolations = 1000

type accusation struct {
	fault Fault
	copy  uint32
	user  int
}

// accuse notes a violation, a pair once for each fault.
func (l *Ledger) accuse(f Fault, c *copyOf, u int, what string) {
	a := accusation{f, c.index, u}
	if l.accused[a] {
		return
	}
	l.accused[a] = true
	l.counts[f]++
	if len(l.violations) < maxViolations {
		l.violations = append(l.violations, Violation{Fault: f, User: u, What: what, copy: c})
	}
}

// Verdict is what the judge found.
type Verdict struct {
	// Pairs that were checked, and what was known of them beforehand: the user is in the audience, is not, or either.
	Pairs, In, Out, Open int
	// Obliged are the pairs that must have got the push.
	Obliged int
	// Repeated are the pushes that came to a login after their acknowledgement was sent, and Unexplained those of them whose
	// acknowledgement should have reached the broker long before.
	Repeated, Unexplained int
	Counts                map[Fault]int
	// Odd is what else should not have been.
	Odd int
}

// Failed says whether a promise was broken.
func (v Verdict) Failed() bool { return len(v.Counts) > 0 || v.Odd > 0 }

// Judge is how strict to be.
type Judge struct {
	// Start is the wall clock's time at moment zero.
	Start time.Time
	// End is when every user had been brought online once more: what is within its lifetime then must have come.
	End Moment
	// Grace is how long a push may take from its evaluation to the sessions that are open, while processes come and go. A
	// user who was there for less is not obliged to have got it.
	Grace time.Duration
	// Skew is by how much the clocks of processes may be wrong, either way. Lifetimes are counted by them.
	Skew time.Duration
}

// Verdict judges every pair. Nothing may be noted any more.
func (j Judge) Verdict(l *Ledger) Verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := Verdict{Repeated: l.repeated}
	in := make([]bits, len(l.copies)) // who certainly is in the audience
	for i, c := range l.copies {
		in[i] = newBits(len(l.users))
		before := v
		for u := range l.users {
			j.pair(l, &v, c, u, in[i])
		}
		j.expiry(l, c)
		least, most := uint64(v.In-before.In), uint64(v.In-before.In+v.Open-before.Open)
		if p := c.push; c.certain() && p.evaluated != never && (p.matched < least || p.matched > most) {
			l.odd("push %d (%s), to %v, matched %d users by the service's count, and is for %d to %d", p.N, c.id, p.Condition, p.matched, least, most)
		}
	}
	for u, who := range l.users {
		for _, s := range who.sessions {
			j.session(l, u, s, in)
		}
	}
	for _, r := range l.repeats {
		if l.unexplained(r) {
			v.Unexplained++
		}
	}
	v.Counts, v.Odd = l.counts, len(l.oddities)
	return v
}

// pair judges what a user got of a push.
func (j Judge) pair(l *Ledger, v *Verdict, c *copyOf, u int, in bits) {
	p, who := c.push, l.users[u]
	from, to := c.seen()
	truth, got := who.matches(p.Condition, from, to), c.got.has(u)
	if truth == No && got {
		l.accuse(Stranger, c, u, "the user certainly is not in the audience")
	}
	if !c.certain() || truth == No && who.gone < p.begun { // nobody is left to whom it could come
		return
	}
	v.Pairs++
	switch truth {
	case Yes:
		v.In++
		in.add(u)
	case No:
		v.Out++
	default:
		v.Open++
	}
	if truth == Yes && j.obliged(who, c) {
		v.Obliged++
		if !got {
			l.accuse(Lost, c, u, "the user certainly is in the audience, and never got it")
		}
	}
	if p.revoking != never {
		j.revocation(l, c, u)
	}
}

// ends is the earliest moment at which the push's lifetime may have passed: the service counts it from a moment after
// the call's beginning, in whole seconds. One process says when that is, and another whether it has come.
func (j Judge) ends(p *Push) Moment { return p.begun + p.Lifetime - time.Second - 2*j.Skew }

// expiry judges what recipients are told of a push's end.
func (j Judge) expiry(l *Ledger, c *copyOf) {
	p := c.push
	if c.seq == 0 || !c.certain() {
		return
	}
	least, most := j.Start.Add(p.begun+p.Lifetime-j.Skew), j.Start.Add(p.answered+p.Lifetime+j.Skew)
	if told := time.Unix(c.expire, 0); (p.Lifetime == 0) != (c.expire == 0) || p.Lifetime > 0 && (told.Before(least.Add(-time.Second)) || told.After(most.Add(time.Second))) {
		l.odd("push %d (%s) has a lifetime of %v, and recipients are told that it ends at %v; called %v, answered %v", p.N, c.id, p.Lifetime,
			told.Sub(j.Start), seconds(p.begun), seconds(p.answered))
	}
}

// obliged says that a user in the audience must have got the copy.
func (j Judge) obliged(who *user, c *copyOf) bool {
	p := c.push
	if p.revoking != never || p.evaluated == never {
		// A push that was never evaluated is told of elsewhere.
		return false
	}
	if p.Lifetime > 0 && j.ends(p) > j.End+j.Grace && who.gone == never {
		return true
	}
	return slices.ContainsFunc(who.sessions, func(s *Session) bool {
		if p.Lifetime == 0 {
			return s.well(p.begun, p.evaluated+j.Grace)
		}
		from := max(s.hello, p.evaluated)
		return from+j.Grace <= j.ends(p) && s.well(from, from+j.Grace)
	})
}

// revocation judges a push that was revoked: after the answer nobody gets it first, and who had it learns that. A gateway
// that dies with what it has just sent takes the knowledge of that with it.
func (j Judge) revocation(l *Ledger, c *copyOf, u int) {
	p := c.push
	first, by := l.firstReceipt(u, c)
	if by == nil || p.revoked == never {
		return
	}
	if first > p.revoked+revokeSlack && by.unwell > first {
		l.accuse(Stranger, c, u, fmt.Sprintf("it first came at %v, after its revocation was answered at %v", seconds(first), seconds(p.revoked)))
	}
	if first < p.revoking && l.users[u].gone == never && p.Lifetime > 0 && j.ends(p) > j.End+j.Grace && !c.revokes.has(u) && !l.disturbed(by.gateway, first, first) {
		l.accuse(Lost, c, u, fmt.Sprintf("the user had it at %v, and never got its revocation of %v", seconds(first), seconds(p.revoking)))
	}
}

// revokeSlack is how long a frame that was written before a revocation may take to a client that reads.
const revokeSlack = 2 * time.Second

// firstReceipt is when a user got a copy for the first time, and in which session.
func (l *Ledger) firstReceipt(u int, c *copyOf) (first Moment, by *Session) {
	if !c.got.has(u) {
		return 0, nil
	}
	for _, s := range l.users[u].sessions {
		if i := s.find(c.index); i >= 0 && (by == nil || s.received[i].at() < first) {
			first, by = s.received[i].at(), s
		}
	}
	return first, by
}

// session judges one login: nothing of it came after its lifetime or its revocation, and what waited for the user came.
func (j Judge) session(l *Ledger, u int, s *Session, in []bits) {
	for _, r := range s.received {
		c := l.copies[r.copy]
		if c.certain() && s.dialed > c.push.revoked { // of two copies, the call knows one, and revokes that
			l.accuse(Stranger, c, u, fmt.Sprintf("it came to the login of %v, after its revocation was answered at %v", seconds(s.dialed), seconds(c.push.revoked)))
		}
		if c.expire != 0 && j.Start.Add(s.dialed-j.Skew).After(time.Unix(c.expire+1, 0)) {
			l.accuse(Stranger, c, u, fmt.Sprintf("it came to the login of %v, when its lifetime had passed", seconds(s.dialed)))
		}
	}
	if !s.calm && !s.well(s.hello, s.hello+j.Grace) {
		return
	}
	for i, c := range l.copies {
		p := c.push
		if !in[i].has(u) || p.Lifetime == 0 || p.evaluated >= s.dialed || p.revoking < s.ended || j.ends(p) <= s.hello+j.Grace {
			continue
		}
		if at := l.firstAck(u, c); at < s.ended || s.has(c.index) {
			continue
		}
		l.accuse(Missed, c, u, fmt.Sprintf("it was not acknowledged, and did not come to the session from %v (hello %v, pending %d) to %v",
			seconds(s.dialed), seconds(s.hello), s.pending, seconds(s.ended)))
	}
}

// firstAck is when a user first sent an acknowledgement.
func (l *Ledger) firstAck(u int, c *copyOf) Moment {
	if c.acked.has(u) {
		if a := l.users[u].ack(c.index); a != nil {
			return a.at()
		}
	}
	return never
}

// settled is the time after which an acknowledgement has reached the broker, if nothing disturbs it and the gateway
// (Config.Settled).
const settled = 5 * time.Second

// unexplained says that a repeat has no excuse: the session that acknowledged went on for a while, neither its gateway nor
// the broker was disturbed in that time, and the login came after it. What becomes of other processes, then or later,
// is none: from there on the acknowledgement is on disk.
func (l *Ledger) unexplained(r repeat) bool {
	on := r.ack.at() + l.settled
	return r.session.dialed > on && r.ack.session.well(r.ack.session.hello, on) && !l.disturbed(r.ack.session.gateway, r.ack.at(), on)
}

// unexplainedRepeats are the first of them.
func (l *Ledger) unexplainedRepeats(most int) []repeat {
	var rs []repeat
	for _, r := range l.repeats {
		if len(rs) < most && l.unexplained(r) {
			rs = append(rs, r)
		}
	}
	return rs
}

// disturbed says whether a process or the broker was disturbed in an interval, or just before or after.
func (l *Ledger) disturbed(slot string, from, to Moment) bool {
	return slices.ContainsFunc(l.troubles, func(t Trouble) bool {
		return (t.Slot == slot || isNode(t.Slot)) && t.From-l.settled <= to && (t.To == never || t.To+l.settled >= from)
	})
}
