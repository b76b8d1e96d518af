package soak

import (
	"fmt"
	"sync"
	"time"
)

// Ledger is what the actors have done and seen. Its methods are safe for concurrent use; times are given, so that a history
// can be written by hand.
type Ledger struct {
	mu      sync.Mutex
	users   []*user
	current []int // by account: the user who has it now
	pushes  map[int]*Push
	copies  []*copyOf
	byID    map[string]*copyOf
	calm    bool
	settled time.Duration // Config.Settled

	troubles   []Trouble
	violations []Violation // what is seen at once; the judge adds the rest
	accused    map[accusation]bool
	counts     map[Fault]int
	oddities   []string
	repeats    []repeat

	accepted, revocations, revokesReceived, repeated int
	streams                                          int // logins over event streams
	received, logins, online, removals, kicked       int
	kinds, ends                                      map[string]int
	waits                                            []time.Duration // from acceptance to a live session
}

// NewLedger is for users with numbers from 0.
func NewLedger(users int) *Ledger {
	l := &Ledger{pushes: map[int]*Push{}, byID: map[string]*copyOf{}, settled: settled, kinds: map[string]int{}, ends: map[string]int{},
		accused: map[accusation]bool{}, counts: map[Fault]int{}}
	for a := range users {
		l.users = append(l.users, &user{account: a, facts: map[Fact][]*Change{}, gone: never})
		l.current = append(l.current, a)
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

// accountName is the account of a number.
func accountName(a int) string       { return fmt.Sprintf("user%d", a) }
func seconds(at Moment) fmt.Stringer { return inSeconds(at) }

// name is a user's, for people.
func (l *Ledger) name(u int) string {
	who := l.users[u]
	if who.life == 0 {
		return accountName(who.account)
	}
	return fmt.Sprintf("%s (registered again, %d)", accountName(who.account), who.life)
}

type inSeconds Moment

func (s inSeconds) String() string {
	if Moment(s) == never {
		return "never"
	}
	return fmt.Sprintf("%.3fs", time.Duration(s).Seconds())
}

// Begin notes that a fact of some accounts is about to be changed.
func (l *Ledger) Begin(at Moment, accounts []int, f Fact, value string) *Change {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &Change{value: value, begun: at, done: never}
	for _, a := range accounts {
		u := l.users[l.current[a]]
		u.facts[f] = append(u.facts[f], c)
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
func (l *Ledger) Exists(account int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.users[l.current[account]].facts[Exists]
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

// Kicked notes that sessions of an account were ended by an operator.
func (l *Ledger) Kicked() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kicked++
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
