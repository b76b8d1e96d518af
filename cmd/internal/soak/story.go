package soak

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// maxStories is how many violations are told in full.
const maxStories = 20

// story tells everything that is known of a violation.
func (l *Ledger) story(w io.Writer, v Violation) {
	c, p := v.copy, v.copy.push
	fmt.Fprintf(w, "%s: push %d (%s) and %s: %s\n", v.Fault, p.N, c.id, l.name(v.User), v.What)
	fmt.Fprintf(w, "  push: %s, lifetime %v, to %v; seq %d, called %v, answered %v as %s, evaluated %v (%d matched); copies %d\n",
		p.Kind, p.Lifetime, p.Condition, c.seq, seconds(p.begun), seconds(p.answered), p.task, seconds(p.evaluated), p.matched, len(p.copies))
	if p.revoking != never {
		fmt.Fprintf(w, "  revoked: called %v, answered %v; the user got the revocation: %v\n", seconds(p.revoking), seconds(p.revoked), c.revokes.has(v.User))
	}
	who := l.users[v.User]
	for _, f := range p.Condition.facts() {
		var changes []string
		for _, ch := range who.facts[f] {
			changes = append(changes, fmt.Sprintf("%q %v–%v", ch.value, seconds(ch.begun), seconds(ch.done)))
		}
		fmt.Fprintf(w, "  %s: %s\n", f, strings.Join(changes, ", "))
	}
	if at := l.firstAck(v.User, c); at != never {
		fmt.Fprintf(w, "  acknowledged %v\n", seconds(at))
	}
	for _, s := range who.sessions {
		l.chapter(w, s, c)
	}
	l.surroundings(w, p)
}

// chapter tells of one session of the user.
func (l *Ledger) chapter(w io.Writer, s *Session, c *copyOf) {
	fmt.Fprintf(w, "  session at %s: dialled %v, hello %v (pending %d), ended %v (%s)", s.gateway, seconds(s.dialed), seconds(s.hello), s.pending, seconds(s.ended), s.how)
	if s.unwell != never {
		fmt.Fprintf(w, ", not well since %v", seconds(s.unwell))
	}
	fmt.Fprintf(w, ", got %d pushes", len(s.received))
	i := s.find(c.index)
	if i < 0 { // those before and after it in the log
		i = slices.IndexFunc(s.received, func(r receipt) bool { return l.copies[r.copy].seq > c.seq })
		if i < 0 {
			i = len(s.received)
		}
	} else {
		fmt.Fprintf(w, ", this one %v", seconds(s.received[i].at()))
	}
	if near := s.received[max(0, i-3):min(len(s.received), i+4)]; len(near) > 0 {
		fmt.Fprint(w, "; around it")
		for _, r := range near {
			fmt.Fprintf(w, " %d@%v", l.copies[r.copy].seq, seconds(r.at()))
		}
	}
	fmt.Fprintln(w)
}

// surroundings tells what was done to the processes from a little before the push until it should have come.
func (l *Ledger) surroundings(w io.Writer, p *Push) {
	until := p.begun + 20*time.Second
	if p.evaluated != never {
		until = p.evaluated + 20*time.Second
	}
	for _, t := range l.troubles {
		if t.From <= until && (t.To == never || t.To >= p.begun-10*time.Second) {
			fmt.Fprintf(w, "  %s %s: %v–%v\n", t.Slot, t.What, seconds(t.From), seconds(t.To))
		}
	}
}
