package demo

import (
	"fmt"
	"math"
	"sync"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// ledger counts what arrived, for every account and push.
type ledger struct {
	crowd *crowd
	uses  []*use
	body  map[string]int // of uses by their bodies

	mu     sync.Mutex
	counts []uint8       // of the use u at the person i: counts[i*len(uses)+u]
	ids    []push.TaskID // that the uses came with
	other  faults        // what is neither missing nor at a stranger nor twice
}

// faults are counted, and the first of them kept.
type faults struct {
	n     int
	first []string
}

// maxFaults is how many differences are printed.
const maxFaults = 10

func (f *faults) add(text string) {
	if f.n++; f.n <= maxFaults {
		f.first = append(f.first, text)
	}
}

func newLedger(c *crowd, uses []*use) *ledger {
	l := &ledger{
		crowd: c, uses: uses, body: make(map[string]int, len(uses)),
		counts: make([]uint8, len(c.people)*len(uses)), ids: make([]push.TaskID, len(uses)),
	}
	for i, u := range uses {
		l.body[string(u.body)] = i
	}
	return l
}

// arrived notes a push that a person has got, and gives the use that it is of: nil for none.
func (l *ledger) arrived(i int, f wire.ServerFrame) *use {
	l.mu.Lock()
	defer l.mu.Unlock()
	u, known := l.body[string(f.Body)]
	if !known {
		l.other.add(fmt.Sprintf("%s: push %s has a body that nobody sent: %.100s", accountName(i), f.ID, f.Body))
		return nil
	}
	if l.ids[u] == "" {
		l.ids[u] = f.ID
	}
	if f.ID != l.ids[u] {
		l.other.add(fmt.Sprintf("%s: the push to %s came as %s, and as %s to another", accountName(i), l.uses[u].name, f.ID, l.ids[u]))
	}
	if f.From != admin {
		l.other.add(fmt.Sprintf("%s: the push to %s came from %q", accountName(i), l.uses[u].name, f.From))
	}
	if c := &l.counts[i*len(l.uses)+u]; *c < math.MaxUint8 {
		*c++
	}
	return l.uses[u]
}

// fault notes something else that was wrong with an account.
func (l *ledger) fault(i int, what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.other.add(accountName(i) + ": " + what)
}

// verdict is what the check of every account found.
type verdict struct {
	accounts, expected, arrived int
	missing, strangers, twice   int
	other                       int
	first                       []string // of the differences
	uses                        []result
}

// result is what arrived of one use.
type result struct{ expected, online, later int }

// err is nil when nothing differs.
func (v *verdict) err() error {
	if n := v.missing + v.strangers + v.twice + v.other; n > 0 {
		return fmt.Errorf("the service did not do what it should have: %d differences", n)
	}
	return nil
}

// check compares every account with the naive filters. Nothing may arrive any more.
func (l *ledger) check() *verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := &verdict{accounts: len(l.crowd.people), uses: make([]result, len(l.uses))}
	found := l.other
	for i := range l.crowd.people {
		p := &l.crowd.people[i]
		for n, u := range l.uses {
			got, wanted := int(l.counts[i*len(l.uses)+n]), u.wants(p)
			r := &v.uses[n]
			if v.arrived += got; p.online {
				r.online += got
			} else {
				r.later += got
			}
			if wanted {
				v.expected++
				r.expected++
			}
			switch {
			case wanted && got == 0:
				v.missing++
				found.add(fmt.Sprintf("%s: the push to %s is missing", accountName(i), u.name))
			case !wanted && got > 0:
				v.strangers++
				found.add(fmt.Sprintf("%s: got the push to %s, and is none of them", accountName(i), u.name))
			case got > 1:
				v.twice++
				found.add(fmt.Sprintf("%s: the push to %s came %d times", accountName(i), u.name, got))
			}
		}
	}
	v.other = l.other.n
	for n, u := range l.uses {
		if l.ids[n] != "" && l.ids[n] != u.task {
			v.other++
			found.add(fmt.Sprintf("the push to %s was accepted as %s and came as %s", u.name, u.task, l.ids[n]))
		}
		if u.matched != uint64(v.uses[n].expected) {
			v.other++
			found.add(fmt.Sprintf("the push to %s matched %d by the service's count, and is for %d", u.name, u.matched, v.uses[n].expected))
		}
	}
	v.first = found.first
	return v
}
