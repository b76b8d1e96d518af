package soak

import (
	"fmt"
	"sync"
	"time"
)

// Ledger is what the actors have done and seen. Its methods are safe for concurrent use; times are given, so that a history
// can be written by hand.
type Ledger struct {
	mu     sync.Mutex
	users  []*user
	pushes map[int]*Push
	copies []*copyOf
	byID   map[string]*copyOf
	calm   bool

	troubles   []Trouble
	violations []Violation // what is seen at once; the judge adds the rest
	accused    map[accusation]bool
	counts     map[Fault]int
	oddities   []string
	repeats    []repeat

	accepted, revocations, revokesReceived, repeated int
	received, logins, online                         int
	kinds, ends                                      map[string]int
	waits                                            []time.Duration // from acceptance to a live session
}

// NewLedger is for users with numbers from 0.
func NewLedger(users int) *Ledger {
	l := &Ledger{pushes: map[int]*Push{}, byID: map[string]*copyOf{}, kinds: map[string]int{}, ends: map[string]int{},
		accused: map[accusation]bool{}, counts: map[Fault]int{}}
	for range users {
		l.users = append(l.users, &user{facts: map[Fact][]*Change{}})
	}
	return l
}

// Trouble is what was done to a process.
type Trouble struct {
	Slot, What string
	From, To   Moment // never: it was not restarted
}

// repeat is a push that came to a login after it had been acknowledged.
type repeat struct {
	copy    *copyOf
	session *Session
	at      Moment
	ack     ack
}

// maxRepeats bounds those that are kept to be explained; all are counted.
const maxRepeats = 100_000

// accountName is the account of a user's number.
func accountName(u int) string       { return fmt.Sprintf("user%d", u) }
func (l *Ledger) name(u int) string  { return accountName(u) }
func seconds(at Moment) fmt.Stringer { return inSeconds(at) }

type inSeconds Moment

func (s inSeconds) String() string {
	if Moment(s) == never {
		return "never"
	}
	return fmt.Sprintf("%.3fs", time.Duration(s).Seconds())
}

// Begin notes that a fact of some users is about to be changed.
func (l *Ledger) Begin(at Moment, users []int, f Fact, value string) *Change {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &Change{value: value, begun: at, done: never}
	for _, u := range users {
		l.users[u].facts[f] = append(l.users[u].facts[f], c)
	}
	return c
}

// Done notes that the call which changes something was answered.
func (l *Ledger) Done(at Moment, changes ...*Change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range changes {
		c.done = at
	}
}

// Exists says whether the account certainly is there.
func (l *Ledger) Exists(u int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.users[u].facts[Exists]
	return len(e) > 0 && e[0].done != never
}

// Disturbed notes what was done to a process; it is told again when it has an end.
func (l *Ledger) Disturbed(t Trouble) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.troubles {
		if l.troubles[i].Slot == t.Slot && l.troubles[i].From == t.From {
			l.troubles[i] = t
			return
		}
	}
	l.troubles = append(l.troubles, t)
}

// Calm notes that nothing disturbs the cluster from now on, and that it has recovered.
func (l *Ledger) Calm() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calm = true
}

// maxOdd bounds the oddities that are kept.
const maxOdd = 1000

// Odd notes something that should not be and is no matter of a pair.
func (l *Ledger) Odd(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.odd(format, args...)
}

func (l *Ledger) odd(format string, args ...any) {
	if len(l.oddities) < maxOdd {
		l.oddities = append(l.oddities, fmt.Sprintf(format, args...))
	}
}

// Progress is where the run is, in a line.
func (l *Ledger) Progress() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	kills := 0
	for _, t := range l.troubles {
		if t.What == Kill {
			kills++
		}
	}
	return fmt.Sprintf("pushes %d (%d unsure), pairs %d, received %d, sessions %d, logins %d, kills %d, violations %d",
		l.accepted, len(l.pushes)-l.accepted, l.accepted*len(l.users), l.received, l.online, l.logins, kills, len(l.violations)+len(l.oddities))
}
