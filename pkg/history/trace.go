package history

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// Outcome is what has become of a push for a user, as of now.
type Outcome string

// Outcomes. The last three are of users who did not get it and will not.
const (
	Opened       Outcome = "opened"       // got it and opened it
	Received     Outcome = "received"     // acknowledged it
	Sent         Outcome = "sent"         // it was written to a connection, and not acknowledged
	Notified     Outcome = "notified"     // a vendor took a notification for a phone, and nothing was acknowledged
	Pending      Outcome = "pending"      // waits for a login
	Waiting      Outcome = "waiting"      // the matcher has not evaluated it yet
	Unknown      Outcome = "unknown"      // the logs do not tell
	Expired      Outcome = "expired"      // no login within the lifetime
	Offline      Outcome = "offline"      // for online users only, and there was no session
	Revoked      Outcome = "revoked"      // cancelled before it was sent
	Unmatched    Outcome = "unmatched"    // the condition did not hold
	Unregistered Outcome = "unregistered" // there was no such account yet
	Deleted      Outcome = "deleted"      // the account was deleted, before the push or before it could be sent
)

// Trace is what became of one push for one user.
type Trace struct {
	ID push.TaskID `json:"id"`
	// Again is the push that this one is a replay of. A replay has no clauses: it is for those who had missed the other.
	Again push.TaskID `json:"again,omitempty"`
	// Account, or its bytes where they are no UTF-8.
	Account       string `json:"account,omitempty"`
	AccountBase64 []byte `json:"accountBase64,omitempty"`
	// Ordinal is the account's, 0 when there is none.
	Ordinal push.Ordinal `json:"ordinal"`
	Shard   push.Shard   `json:"shard"`
	Outcome Outcome      `json:"outcome"`
	// Why is the outcome in a sentence, with the change that would have made the difference.
	Why string `json:"why"`
	// Place is where the push stands in the shard's log, and Evaluated up to where the records were folded when it was
	// evaluated: what the matcher saw. 0 where the logs do not tell.
	Place     uint64 `json:"place"`
	Evaluated uint64 `json:"evaluated"`
	// Matched is what the audience says; nil when there is none.
	Matched *bool `json:"matched"`
	// Clauses of the condition, the whole one first; none where there was no account.
	Clauses []Clause `json:"clauses"`
	// Events in the order of their times.
	Events []Event `json:"events"`
	// Fault is set when the audience and the record that it was made from are at odds.
	Fault string `json:"fault,omitempty"`
}

// Kind of an event.
type Kind string

// Kinds of events, in the order in which those of one millisecond are listed.
const (
	EventRegistered Kind = "registered"
	EventChanged    Kind = "changed"
	EventDeleted    Kind = "deleted"
	EventAccepted   Kind = "accepted"
	EventCut        Kind = "cut"
	EventEvaluated  Kind = "evaluated"
	EventSent       Kind = "sent"
	EventPhones     Kind = "phones"
	EventNotified   Kind = "notified"
	EventRefused    Kind = "refused"
	EventGone       Kind = "gone"
	EventSpared     Kind = "spared"
	EventReceived   Kind = "received"
	EventOpened     Kind = "opened"
	EventRevoked    Kind = "revoked"
	EventTakenBack  Kind = "taken_back"
	EventExpired    Kind = "expired"
)

// Event is one thing that the logs hold.
type Event struct {
	At   time.Time `json:"at"`
	Kind Kind      `json:"kind"`
	// Log is its sequence in the shard's log, 0 for what does not stand there.
	Log  uint64 `json:"log,omitempty"`
	Text string `json:"text"`
}

// tracing is a trace while it is made.
type tracing struct {
	*Trace
	h       *History
	p       *push.Push
	subject string // of the push
	node    predicate.Node
	part    *part
	look    look
	state   state
	raced   bool // the matcher had folded more than it says
	had     struct{ sent, received, opened, other time.Time }
	phones  phones
	revoked *push.Push
	// original is set in a replay.
	original *original
}

// Trace tells what became of a push for an account. The error is ErrNoPush when there is no such push; of an account that
// never was the outcome says so.
func (h *History) Trace(ctx context.Context, app push.AppID, seq push.Seq, account string) (*Trace, error) {
	p, subject, err := h.find(ctx, app, seq)
	if err != nil {
		return nil, err
	}
	node, err := predicate.Parse(p.Condition)
	if err != nil {
		return nil, fmt.Errorf("the condition of push %d: %w", seq, err)
	}
	revoked, err := h.Revocation(ctx, p)
	if err != nil {
		return nil, err
	}
	names, err := h.dir.AttrNames(ctx, app)
	if err != nil {
		return nil, err
	}
	trace := func(ordinal push.Ordinal) (*tracing, error) {
		t := &tracing{
			h: h, p: p, subject: subject, node: node, revoked: revoked, look: look{names: names, at: -1},
			Trace: &Trace{ID: p.TaskID(), Ordinal: ordinal, Clauses: []Clause{}, Events: []Event{}},
		}
		if utf8.ValidString(account) {
			t.Account = account
		} else {
			t.AccountBase64 = []byte(account)
		}
		return t, t.run(ctx)
	}
	var now *tracing
	m, err := h.b.Last(ctx, wire.AccountsStream(app), wire.AccountSubject(app, account))
	if err == nil {
		if now, err = trace(push.Ordinal(m.Seq)); err != nil || now.Outcome != Unregistered {
			return now.trace(), err
		}
	} else if !errors.Is(err, broker.ErrNotFound) {
		return nil, err
	}
	// Today's account is younger than the push, or there is none: another of the name may have been there.
	former, whole, err := h.former(ctx, p, account)
	if err != nil {
		return nil, err
	}
	for _, ordinal := range former {
		if t, err := trace(ordinal); err != nil || t.Outcome != Unregistered {
			return t.trace(), err
		}
	}
	if now != nil {
		return now.Trace, nil
	}
	t, err := trace(0)
	if err == nil && !whole {
		t.Outcome, t.Why = Unknown, "there is no such account, and too many records have changed since the push was accepted to tell whether there was one"
	}
	return t.trace(), err
}

func (t *tracing) trace() *Trace {
	if t == nil {
		return nil
	}
	return t.Trace
}

// maxFormer bounds how many records are looked through for accounts that were deleted.
const maxFormer = 1_000_000

// errEnough ends a fold that has read as much as it may.
var errEnough = errors.New("enough is read")

// former gives the ordinals that accounts of the name had which were deleted since the push, or at most the retention of
// pushes ago, newest first. whole says that there were no others at the push's time: the log keeps what says that an account
// was deleted, so that it is not so only where too many records have changed since, or one cannot be read.
func (h *History) former(ctx context.Context, p *push.Push, account string) (ordinals []push.Ordinal, whole bool, err error) {
	shards, err := h.shards(ctx, p.App)
	if err != nil {
		return nil, false, err
	}
	since := h.now().Add(-h.b.Retention())
	if accepted := p.At.Add(-settled); accepted.Before(since) {
		since = accepted
	}
	left := maxFormer
	whole = true
	for _, shard := range shards {
		err = h.b.Fold(ctx, broker.FoldConfig{
			Stream: wire.UsersStream(p.App, shard), Filter: wire.UserShardFilter(p.App, shard), Since: since, StopWhenRead: true,
			Handle: func(m *broker.Message) error {
				if left--; left < 0 {
					return errEnough
				}
				r, err := wire.DecodeRecord(m.Data)
				if err != nil {
					h.log.Error("a user record cannot be read and is left out", "subject", m.Subject, "seq", m.Seq, "err", err)
					whole = false
				}
				if !r.Deleted || r.Account != account {
					return nil
				}
				o, err := wire.ParseUserSubject(m.Subject)
				ordinals = append(ordinals, o)
				return err
			},
		})
		if err != nil {
			break
		}
	}
	if errors.Is(err, errEnough) {
		whole, err = false, nil
	}
	slices.Sort(ordinals)
	slices.Reverse(ordinals)
	return ordinals, whole, err
}

func (t *tracing) run(ctx context.Context) (err error) {
	t.Shard = t.h.b.Sharding().Shard(t.Ordinal)
	if err := t.readOriginal(ctx); err != nil {
		return err
	}
	by := fmt.Sprintf("accepted from %q", t.p.Caller)
	if t.original != nil {
		by += fmt.Sprintf(", as a replay of %s", t.original.id)
	}
	if t.p.Sender != t.p.Caller {
		by += fmt.Sprintf(", to be shown as from %q", t.p.Sender)
	}
	if t.p.Lifetime > 0 {
		by += fmt.Sprintf(", kept for %s", t.p.Lifetime)
	} else {
		by += ", for online users only"
	}
	t.event(t.p.At, EventAccepted, 0, by)
	if t.revoked != nil {
		t.event(t.revoked.At, EventRevoked, 0, fmt.Sprintf("revoked by %q", t.revoked.Caller))
	}
	if t.Ordinal == 0 {
		t.Outcome, t.Why = Unregistered, "there was no such account when the push was accepted"
		t.finish()
		return nil
	}
	if t.part, err = t.h.part(ctx, t.p, t.subject, t.Shard); err != nil {
		return err
	}
	t.Place, t.Evaluated = t.part.place, t.part.folded
	if t.Place > 0 {
		t.event(t.part.cut, EventCut, t.Place, "reached the log of the user's shard: later changes are too late")
	}
	if err := t.readRecord(ctx); err != nil {
		return err
	}
	if err := t.readReceipts(ctx); err != nil {
		return err
	}
	if err := t.readNotices(ctx); err != nil {
		return err
	}
	t.judge()
	t.finish()
	return nil
}

// readRecord finds what the matcher saw.
func (t *tracing) readRecord(ctx context.Context) (err error) {
	l := &t.look
	var before uint64
	if l.vs, before, err = t.h.versions(ctx, t.p.App, t.Ordinal); err != nil {
		return err
	}
	l.born = before == 0
	place := t.Evaluated
	if place == 0 { // not evaluated, or forgotten: the push's own place is the least that a matcher sees
		place = t.Place
	}
	if t.part.standing == evaluated {
		bit := t.part.audience.Contains(t.h.b.Sharding().Local(t.Ordinal))
		t.Matched = &bit
	}
	if place == 0 {
		return nil
	}
	var i int
	if i, t.state = l.vs.at(place, l.born); t.state == existing {
		l.at = i
	}
	l.whole = t.state != unknown || before <= place
	t.agree()
	return nil
}

// slack is how much later than the audience a version that the matcher saw may have been written by the clock of another
// server of the broker's.
const slack = time.Second

// agree compares the audience with the record. The matcher says how far it had folded before it evaluated, so that it may
// have seen a change that came between. Anything else that is at odds is a fault.
func (t *tracing) agree() {
	if t.original != nil {
		t.agreeOnMissed()
		return
	}
	l := &t.look
	if t.Matched == nil || t.state == unknown {
		return
	}
	saw := func(i int) bool { return i >= 0 && matches(t.node, &l.vs[i].record) }
	if saw(l.at) == *t.Matched {
		return
	}
	for i := l.at + 1; i < len(l.vs) && l.vs[i].at.Before(t.part.at.Add(slack)); i++ {
		if saw(i) == *t.Matched {
			l.at, t.state, t.raced = i, existing, true
			return
		}
	}
	t.Fault = fmt.Sprintf("the audience says %t, the user's record as of log %d says %t: the matcher was wrong",
		*t.Matched, t.Evaluated, !*t.Matched)
	t.h.log.Error("an audience is at odds with the record that it was made from", "app", t.p.App, "push", t.p.Seq,
		"shard", t.Shard, "ordinal", t.Ordinal, "evaluated", t.Evaluated, "audience", *t.Matched)
}

// readReceipts finds when the user was sent the push, and what came back.
func (t *tracing) readReceipts(ctx context.Context) error {
	if t.Matched != nil && !*t.Matched {
		return nil // a client may acknowledge anything
	}
	local := t.h.b.Sharding().Local(t.Ordinal)
	note := func(at time.Time, first *time.Time, has bool, kind Kind, text string) {
		if has && first.IsZero() {
			*first = at
			t.event(at, kind, 0, text)
		}
	}
	return t.h.receipts(ctx, t.p, t.Shard, func(m *broker.Message, r wire.Receipt) {
		at := m.Time
		if r.Sent.Contains(local) {
			t.event(at, EventSent, 0, "by then written to a connection of the user")
			t.had.sent = at
		}
		note(at, &t.had.received, r.Received.Contains(local), EventReceived, "by then acknowledged by the user's client")
		note(at, &t.had.opened, r.Opened.Contains(local), EventOpened, "by then opened by the user")
	})
}

func (t *tracing) event(at time.Time, kind Kind, log uint64, text string) {
	t.Events = append(t.Events, Event{At: at.UTC().Truncate(time.Millisecond), Kind: kind, Log: log, Text: text})
}
