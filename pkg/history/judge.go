package history

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/carillon-push/carillon/pkg/predicate"
)

// judge gives the outcome, and why.
func (t *tracing) judge() {
	if t.original == nil && (t.state == existing && !t.look.record().Deleted || t.state == unknown && t.Matched != nil) {
		t.Clauses = t.look.clauses(t.node, t.Matched)
	}
	switch {
	case t.part.standing == later:
		t.Outcome, t.Why = Unregistered, "the account was registered after the push was accepted"
	case t.part.standing == waiting:
		t.Outcome, t.Why = Waiting, "the user's shard has not evaluated the push yet"
	case !t.had.opened.IsZero():
		t.Outcome, t.Why = Opened, "the user's client acknowledged the push, and the user opened it"
	case !t.had.received.IsZero():
		t.Outcome, t.Why = Received, "the user's client acknowledged the push"
	case !t.had.sent.IsZero():
		t.Outcome, t.Why = Sent, "the push was written to a connection of the user, and not acknowledged"+t.onwards("sent again")
	case t.phones.notified != "":
		t.Outcome, t.Why = Notified, fmt.Sprintf("%s took a notification for the user's phone, and the push itself was not sent", t.phones.notified)+t.onwards("sent")
	case t.Matched == nil:
		t.Outcome, t.Why = Unknown, "the audience of the push is no longer in the logs, and no receipt tells of this user"
	case *t.Matched:
		t.missed()
	case t.state == absent:
		t.Outcome, t.Why = Unregistered, fmt.Sprintf("the account was registered at %s, after the push was evaluated at %s",
			moment(t.look.vs[0].at, t.look.vs[0].log), t.evaluation())
	case t.state == existing && t.look.record().Deleted:
		t.Outcome, t.Why = Deleted, fmt.Sprintf("the account was deleted at %s, before the push was evaluated at %s",
			moment(t.look.vs[t.look.at].at, t.look.vs[t.look.at].log), t.evaluation())
	case t.original != nil:
		t.Outcome, t.Why = Unmatched, t.original.out()
	default:
		t.Outcome, t.Why = Unmatched, t.lacked()
	}
}

// missed is of a user who was to get the push and has not been sent it.
func (t *tracing) missed() {
	end, last := time.Unix(t.p.Expire(), 0), version{}
	if n := len(t.look.vs); n > 0 {
		last = t.look.vs[n-1]
	}
	switch {
	case last.record.Deleted && last.log > t.Evaluated:
		t.Outcome, t.Why = Deleted, fmt.Sprintf("%s, but the account was deleted at %s before it was sent the push", t.in(), moment(last.at, last.log))
	case t.revoked != nil:
		t.Outcome, t.Why = Revoked, fmt.Sprintf("%s, but the push was revoked at %s before the user was sent it", t.in(), clock(t.revoked.At))
	case t.p.Lifetime == 0:
		t.Outcome, t.Why = Offline, t.in()+", but the push was for online users only, and the user had no session"
	case end.After(t.h.now()):
		t.Outcome, t.Why = Pending, fmt.Sprintf("%s, and has not logged in since; the push waits until %s%s", t.in(), clock(end), t.phones.why())
	default:
		t.Outcome, t.Why = Expired, fmt.Sprintf("%s, but did not log in before the push's lifetime was over at %s%s", t.in(), clock(end), t.phones.why())
	}
}

// onwards is what is still to come of a push without an acknowledgement.
func (t *tracing) onwards(how string) string {
	if end := time.Unix(t.p.Expire(), 0); t.revoked == nil && t.p.Lifetime > 0 && end.After(t.h.now()) {
		return fmt.Sprintf("; it is %s at the next login until %s", how, clock(end))
	}
	return ""
}

// lacked says what a user who did not match lacked, and which change would have made the difference.
func (t *tracing) lacked() string {
	if len(t.Clauses) == 0 {
		return "the audience does not hold the user"
	}
	whole, why := t.Clauses[0], "did not match"
	if of := failing(t.Clauses); len(of) > 0 {
		why += ": " + strings.Join(of, ", ")
	} else if t.state == unknown {
		why += "; the record as it was then is no longer in the logs"
	}
	if c := whole.Until; c != nil {
		why += fmt.Sprintf("; matched only from %s on (%s), and the push was evaluated at %s", moment(c.At, c.Log), what(c), t.evaluation())
	}
	if c := whole.Since; c != nil && !(t.look.born && c.Log == t.look.vs[0].log) {
		why += fmt.Sprintf("; had matched until %s (%s)", moment(c.At, c.Log), what(c))
	}
	return why
}

// failing are the clauses without others below them that would have had to be otherwise.
func failing(clauses []Clause) (of []string) {
	for i, c := range clauses {
		if i+1 < len(clauses) && clauses[i+1].Depth > c.Depth || c.Holds == nil {
			continue
		}
		nots := 0 // above it
		for depth, j := c.Depth, i-1; j >= 0 && depth > 0; j-- {
			if clauses[j].Depth < depth {
				depth = clauses[j].Depth
				if clauses[j].Text == spell(predicate.Not{}, nil) {
					nots++
				}
			}
		}
		switch {
		case nots%2 == 0 && !*c.Holds:
			of = append(of, "lacked "+c.Text)
		case nots%2 == 1 && *c.Holds:
			of = append(of, "had "+c.Text)
		}
	}
	return of
}

func what(c *Change) string {
	if len(c.What) == 0 {
		return "what changed then is no longer in the logs"
	}
	return strings.Join(c.What, ", ")
}

func (t *tracing) evaluation() string {
	at := t.part.cut
	if at.IsZero() {
		at = t.part.at
	}
	return moment(at, t.Evaluated)
}

// clock is a time of day and its date, for people.
func clock(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05.000Z") }

func moment(at time.Time, log uint64) string { return fmt.Sprintf("%s (log %d)", clock(at), log) }

// finish tells of the evaluation, of the changes that matter and of the end, and puts the events in order.
func (t *tracing) finish() {
	if t.Matched != nil {
		text := "not in the audience"
		if *t.Matched {
			text = "in the audience"
		}
		if t.original != nil && *t.Matched {
			text += fmt.Sprintf(": had missed %s", t.original.id)
		}
		if t.raced {
			text += "; a change that came while it was evaluated was seen"
		}
		t.event(t.part.at, EventEvaluated, t.Evaluated, text)
	}
	told := map[uint64]bool{}
	for _, c := range t.Clauses {
		for _, change := range []*Change{c.Since, c.Until} {
			if change != nil && !told[change.Log] && len(change.What) > 0 {
				told[change.Log] = true
				kind := EventChanged
				if t.look.born && change.Log == t.look.vs[0].log {
					kind = EventRegistered
				}
				t.event(change.At, kind, change.Log, strings.Join(change.What, ", "))
			}
		}
	}
	if vs := t.look.vs; len(vs) > 0 {
		if t.state == existing && t.look.born && !told[vs[0].log] {
			told[vs[0].log] = true
			t.event(vs[0].at, EventRegistered, vs[0].log, "the account was registered")
		}
		if last := vs[len(vs)-1]; last.record.Deleted && !told[last.log] {
			t.event(last.at, EventDeleted, last.log, "the account was deleted")
		}
		if t.state == absent && !told[vs[0].log] {
			t.event(vs[0].at, EventRegistered, vs[0].log, "the account was registered")
		}
	}
	if end := time.Unix(t.p.Expire(), 0); t.Outcome == Expired {
		t.event(end, EventExpired, 0, "the push's lifetime was over")
	}
	order := []Kind{EventRegistered, EventChanged, EventAccepted, EventCut, EventEvaluated, EventSent, EventPhones, EventNotified,
		EventRefused, EventGone, EventSpared, EventReceived, EventOpened, EventDeleted, EventRevoked, EventTakenBack, EventExpired}
	rank := func(e Event) int {
		if e.Kind == EventChanged && e.Log > t.Place {
			return slices.Index(order, EventDeleted)
		}
		return slices.Index(order, e.Kind)
	}
	slices.SortStableFunc(t.Events, func(a, b Event) int { return cmp.Or(a.At.Compare(b.At), rank(a)-rank(b)) })
}
