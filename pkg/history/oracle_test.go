package history

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/push"
)

// step does one thing at random.
func (w *world) step() {
	w.Helper()
	names := make([]string, 0, len(w.names))
	for n := range w.names {
		names = append(names, n)
	}
	slices.Sort(names)
	some := func() string { return names[w.rand.IntN(len(names))] }
	tagName := string(rune('A' + w.rand.IntN(3)))
	switch k := w.rand.IntN(20); {
	case k < 3 || len(names) == 0:
		w.register(fmt.Sprint("u", w.rand.IntN(24)))
	case k == 3:
		w.delete(some())
	case k < 8:
		w.change(some(), add(tagName))
	case k < 11:
		w.change(some(), remove(tagName))
	case k < 14:
		w.change(some(), set(w.rand.IntN(2), []string{"", "x", "y"}[w.rand.IntN(3)]))
	case k < 17:
		s := w.push(predicate.Simplify(w.condition(3)), []time.Duration{0, time.Hour}[w.rand.IntN(2)])
		for range w.rand.IntN(3) { // changes that the matcher happens to see as well
			w.change(some(), add(tagName))
		}
		w.match(s)
	case len(w.pushes) > 0:
		s := w.pushes[w.rand.IntN(len(w.pushes))]
		if members := s.members(w.b.Sharding()); len(members) > 0 && !s.revoked {
			for range 3 {
				w.deliver(s, []Outcome{Sent, Received, Opened}[w.rand.IntN(3)], members[w.rand.IntN(len(members))])
			}
		}
		if w.rand.IntN(6) == 0 && !s.revoked {
			w.revoke(s)
		}
	}
}

func (w *world) condition(depth int) predicate.Node {
	if depth == 0 || w.rand.IntN(3) == 0 {
		return []predicate.Node{
			predicate.All{}, tag("A"), tag("B"), tag("C"), attr(0, "x"), attr(1, "y"), predicate.HasAttr{Slot: 0},
		}[w.rand.IntN(7)]
	}
	switch w.rand.IntN(3) {
	case 0:
		return isNot(w.condition(depth - 1))
	case 1:
		return all(w.condition(depth-1), w.condition(depth-1))
	}
	return anyOf(w.condition(depth-1), w.condition(depth-1))
}

// truth is what the naive memory says of a push and a user.
func (w *world) truth(s *sent, name string) (outcome Outcome, clauses []bool, since, until uint64) {
	var o push.Ordinal // the newest of the name that had a record then
	for other, all := range w.told {
		if all[0].record.Account == name && other > o && w.at(other, s.folded[w.shard(other)]) != nil {
			o = other
		}
	}
	if o == 0 {
		return Unregistered, nil, 0, 0
	}
	shard := w.shard(o)
	r := w.at(o, s.folded[shard])
	var walk func(predicate.Node)
	walk = func(n predicate.Node) {
		clauses = append(clauses, matches(n, r))
		switch n := n.(type) {
		case predicate.Not:
			walk(n.Kid)
		case predicate.And:
			for _, k := range n.Kids {
				walk(k)
			}
		case predicate.Or:
			for _, k := range n.Kids {
				walk(k)
			}
		}
	}
	walk(s.node)
	in := matches(s.node, r)
	for _, v := range w.told[o] {
		switch same := matches(s.node, &v.record) == in; {
		case v.log <= s.folded[shard] && !same:
			since = 0
		case v.log <= s.folded[shard] && since == 0:
			since = v.log
		case v.log > s.folded[shard] && !same && until == 0:
			until = v.log
		}
	}
	last := w.told[o][len(w.told[o])-1]
	switch {
	case r.Deleted:
		outcome = Deleted
	case !in:
		outcome = Unmatched
	case s.had[o] != "":
		outcome = s.had[o]
	case s.notified(o):
		outcome = Notified
	case last.record.Deleted:
		outcome = Deleted
	case s.revoked:
		outcome = Revoked
	case s.Lifetime == 0:
		outcome = Offline
	default:
		outcome = Pending
	}
	return outcome, clauses, since, until
}

// Whatever happened, a trace says what a naive memory of it says: the outcome, each clause, and the changes that decided.
func TestTraceIsTheTruth(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, seed)
			for i := range 16 {
				w.register(fmt.Sprint("u", i))
			}
			for range 160 {
				w.step()
			}
			outcomes := map[Outcome]int{}
			for _, s := range w.pushes {
				w.checkTally(s)
				for _, i := range w.rand.Perm(24)[:8] {
					name := fmt.Sprint("u", i)
					got := w.trace(s, name)
					want, clauses, since, until := w.truth(s, name)
					outcomes[want]++
					if got.Outcome != want || got.Fault != "" {
						t.Errorf("push %d, %s: %s (%s) %s, want %s", s.Seq, name, got.Outcome, got.Why, got.Fault, want)
						continue
					}
					if want == Unregistered || len(got.Clauses) == 0 {
						continue
					}
					for k, c := range got.Clauses {
						if c.Holds == nil || *c.Holds != clauses[k] {
							t.Errorf("push %d, %s: clause %q is %v, want %t", s.Seq, name, c.Text, c.Holds, clauses[k])
						}
					}
					if c := got.Clauses[0]; logOf(c.Since) != since || logOf(c.Until) != until {
						t.Errorf("push %d, %s: since %d until %d, want %d and %d", s.Seq, name, logOf(c.Since), logOf(c.Until), since, until)
					}
					if !slices.IsSortedFunc(got.Events, func(a, b Event) int { return a.At.Compare(b.At) }) {
						t.Errorf("push %d, %s: events are not in order: %+v", s.Seq, name, got.Events)
					}
				}
			}
			for _, o := range []Outcome{Unregistered, Unmatched, Deleted, Opened, Pending} {
				if outcomes[o] == 0 {
					t.Errorf("the history of seed %d has nobody who is %s: %v", seed, o, outcomes)
				}
			}
		})
	}
}

func logOf(c *Change) uint64 {
	if c == nil {
		return 0
	}
	return c.Log
}

func (w *world) checkTally(s *sent) {
	w.Helper()
	got, err := w.h.Tally(w.Context(), s.Push)
	w.must(err)
	want := Tally{}
	for _, o := range s.members(w.b.Sharding()) {
		want.Audience++
		switch s.had[o] {
		case Opened:
			want.Opened++
			want.Received++
		case Received:
			want.Received++
		case Sent:
			want.Sent++
		default:
			switch {
			case s.revoked:
				want.Withheld++
			case s.Lifetime == 0:
				want.Offline++
			default:
				want.Pending++
			}
		}
	}
	if *got != want {
		w.Errorf("push %d: %+v, want %+v", s.Seq, *got, want)
	}
}
