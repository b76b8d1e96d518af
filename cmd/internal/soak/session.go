package soak

import (
	"fmt"
	"slices"
	"time"
)

// Session is one login of a user, from the client's side.
type Session struct {
	user    int
	gateway string
	dialed  Moment
	hello   Moment
	pending int
	unwell  Moment // since when it may not have read or answered, never: it was well to its end
	gone    Moment // since when its account is being deleted; never: it is not
	ended   Moment // never: it has not
	how     string // it ended

	received []receipt
	revoked  []uint32 // copies whose revocations came
	last     uint64   // greatest seq that came
	calm     bool     // nothing disturbs the cluster from before its login to its end
}

// receipt is a push that came, or was acknowledged, at some millisecond. It is small: there are very many.
type receipt struct{ copy, ms uint32 }

// ack is an acknowledgement that was sent on a session.
type ack struct {
	receipt
	session *Session
}

func milliseconds(at Moment) uint32  { return uint32(at / time.Millisecond) }
func (r receipt) at() Moment         { return Moment(r.ms) * time.Millisecond }
func (s *Session) has(c uint32) bool { return s.find(c) >= 0 }
func (s *Session) find(c uint32) int {
	return slices.IndexFunc(s.received, func(r receipt) bool { return r.copy == c })
}

// well says that the client was there and reading during an interval, after its login.
func (s *Session) well(from, to Moment) bool {
	return s.hello <= from && s.ended >= to && s.unwell >= to && s.gone >= to
}

// Dial notes that a user begins to log in. The first such moment may be the account's making.
func (l *Ledger) Dial(at Moment, account int, gateway string) *Session {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.current[account]
	if len(l.users[u].facts[Exists]) == 0 {
		l.users[u].facts[Exists] = []*Change{{value: "1", begun: at, done: never}}
	}
	return &Session{user: u, gateway: gateway, dialed: at, hello: never, unwell: never, gone: never, ended: never}
}

// Hello notes that the login has succeeded.
func (l *Ledger) Hello(at Moment, s *Session, pending int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.users[s.user]
	if exists := u.facts[Exists][0]; exists.done == never {
		exists.done = at
	}
	s.hello, s.pending, s.calm = at, pending, l.calm
	u.sessions = append(u.sessions, s)
	l.online++
	l.logins++
}

// Streamed notes that a login was over an event stream.
func (l *Ledger) Streamed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.streams++
}

// Unwell notes that the client does not read, or answer, from now on as it should.
func (l *Ledger) Unwell(at Moment, s *Session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.unwell = min(s.unwell, at)
}

// End notes the end of a session that had its hello.
func (l *Ledger) End(at Moment, s *Session, how string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.ended, s.how = at, how
	l.online--
	l.ends[how]++
}

// Frame is what came to a session: a push, or the revocation of one.
type Frame struct {
	Revokes bool
	// N is what a push's body says.
	N      int
	ID     string
	Seq    uint64
	Expire int64 // unix seconds
}

// Received notes a frame.
func (l *Ledger) Received(at Moment, s *Session, f Frame) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f.Revokes {
		l.revoke(at, s, f)
		return
	}
	p := l.pushes[f.N]
	if p == nil {
		l.odd("%s got push %s of which the body says number %d: nobody has sent that", l.name(s.user), f.ID, f.N)
		return
	}
	c := l.copy(p, f.ID)
	if c.seq == 0 {
		c.seq, c.expire = f.Seq, f.Expire
	}
	if c.seq != f.Seq || c.expire != f.Expire {
		l.odd("%s got push %s with seq %d and expire %d; another had %d and %d", l.name(s.user), f.ID, f.Seq, f.Expire, c.seq, c.expire)
	}
	l.received++
	switch {
	case f.Seq > s.last:
		s.last = f.Seq
	case s.has(c.index):
		l.accuse(Twice, c, s.user, fmt.Sprintf("it came twice on the session that began at %v, again at %v", seconds(s.hello), seconds(at)))
	default:
		l.accuse(Disorder, c, s.user, fmt.Sprintf("it came at %v, after seq %d, on the session that began at %v", seconds(at), s.last, seconds(s.hello)))
	}
	if c.acked.has(s.user) {
		l.again(at, s, c)
	}
	if slices.Contains(s.revoked, c.index) {
		l.accuse(Stranger, c, s.user, fmt.Sprintf("it came at %v, after its revocation on the same session", seconds(at)))
	}
	if p.answered != never && s.hello <= p.answered && s.unwell == never {
		l.waits = append(l.waits, at-p.answered)
	}
	if s.hello <= p.begun && s.unwell == never {
		c.last = max(c.last, at)
	}
	c.got.add(s.user)
	s.received = append(s.received, receipt{c.index, milliseconds(at)})
}

func (l *Ledger) revoke(at Moment, s *Session, f Frame) {
	c := l.byID[f.ID]
	if c == nil || c.push.revoking == never {
		l.odd("%s got the revocation of %q, which nobody has revoked", l.name(s.user), f.ID)
		return
	}
	if c.seq != 0 && c.seq != f.Seq {
		l.odd("%s got the revocation of %s with seq %d; it has %d", l.name(s.user), f.ID, f.Seq, c.seq)
	}
	c.revokes.add(s.user)
	s.revoked = append(s.revoked, c.index)
	l.revokesReceived++
}

// again notes a push that came to a user who had acknowledged it. Another device that was online then gets it
// too, which is no repeat: only a login after the acknowledgement is.
func (l *Ledger) again(at Moment, s *Session, c *copyOf) {
	first := l.users[s.user].ack(c.index)
	if first == nil || s.dialed <= first.at() {
		return
	}
	l.repeated++
	if len(l.repeats) < maxRepeats {
		l.repeats = append(l.repeats, repeat{copy: c, session: s, at: at, ack: *first})
	}
}

// Acked notes that a session is about to send an acknowledgement.
func (l *Ledger) Acked(at Moment, s *Session, ids []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.users[s.user]
	for _, id := range ids {
		if c := l.byID[id]; c != nil && !c.acked.has(s.user) {
			c.acked.add(s.user)
			u.acks = append(u.acks, ack{receipt{c.index, milliseconds(at)}, s})
		}
	}
}
