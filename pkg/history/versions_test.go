package history

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// rewrite replaces a user's record by one with another past, as if more had happened than it has room for.
func (w *world) rewrite(o push.Ordinal, past *wire.Past) {
	w.Helper()
	all := w.told[o]
	last := all[len(all)-1]
	_, err := w.b.Write(wire.UsersStream(app, w.shard(o)), broker.Message{
		Subject: wire.UserSubject(app, w.shard(o), o), Data: wire.AppendRecordAfter(nil, &last.record, past),
	}.After(last.log))
	w.must(err)
	w.note(o)
}

// Of a record that does not reach back to the push, the audience still tells what it can.
func TestUnknownWhereTheRecordDoesNotReachBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	o := w.register("u")
	w.change("u", add("A"))
	s := w.push(all(tag("A"), tag("B")), 0)
	w.match(s)
	one := w.push(tag("B"), 0)
	w.match(one)
	w.change("u", add("B"))
	if got := w.trace(s, "u"); *got.Clauses[1].Holds != true || *got.Clauses[2].Holds || logOf(got.Clauses[0].Until) != 5 {
		t.Errorf("before: %+v", got.Clauses)
	}
	for _, c := range []struct {
		name  string
		past  wire.Past
		until uint64 // of the whole condition
	}{
		{"the version before is the push's", wire.Past{Before: 2}, 6},
		{"others may have been between", wire.Past{Before: 5}, 0},
		{"nothing tells what was before", wire.Past{Before: wire.BeforeUnknown}, 0},
	} {
		w.rewrite(o, &c.past)
		if c.until > 0 {
			c.until = w.told[o][len(w.told[o])-1].log
		}
		got := w.trace(s, "u")
		if got.Outcome != Unmatched || *got.Clauses[0].Holds || got.Clauses[1].Holds != nil || got.Clauses[2].Holds != nil || logOf(got.Clauses[0].Until) != c.until || got.Fault != "" {
			t.Errorf("%s: of two clauses: %+v", c.name, got)
		}
		if !strings.Contains(got.Why, "no longer in the logs") {
			t.Errorf("%s: %s", c.name, got.Why)
		}
		if got := w.trace(one, "u"); *got.Clauses[0].Holds {
			t.Errorf("%s: of one clause: %+v", c.name, got.Clauses)
		}
	}
	if got := w.trace(one, "nobody"); got.Outcome != Unregistered || got.Matched != nil {
		t.Errorf("of an account that is not there: %+v", got)
	}
}

// A change that was replaced at once is as good as any other, however many come within a millisecond.
func TestEveryChangeCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	o := w.register("u")
	s := w.push(tag("A"), 0)
	w.match(s)
	for i := range 60 {
		w.change("u", []func(*push.Record){add("A"), remove("A"), set(0, "x"), set(0, "")}[i%4])
	}
	vs, before, err := w.h.versions(t.Context(), app, o)
	w.must(err)
	if len(vs) != 61 || before != 0 {
		t.Fatalf("%d versions, before them %d", len(vs), before)
	}
	for i, v := range vs {
		if v.log != w.told[o][i].log || !v.record.Equal(&w.told[o][i].record) {
			t.Errorf("version %d is %+v, want %+v", i, v, w.told[o][i])
		}
		m, err := w.b.Last(t.Context(), wire.UsersStream(app, 0), wire.UserSubject(app, 0, o))
		w.must(err)
		if i == len(vs)-1 && v.at.UnixMilli() != m.Time.UnixMilli() || i > 0 && v.at.Before(vs[i-1].at) {
			t.Errorf("version %d was written at %v", i, v.at)
		}
	}
	got := w.trace(s, "u")
	if got.Outcome != Unmatched || logOf(got.Clauses[0].Since) != w.told[o][0].log || logOf(got.Clauses[0].Until) != w.told[o][1].log {
		t.Errorf("%+v", got)
	}
}

// Of a record that changes more often than it has room for, what it still knows is true.
func TestMoreChangesThanFit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	o := w.register("u")
	early := w.push(isNot(tag("A")), 0)
	w.match(early)
	var late *sent
	long := strings.Repeat("x", push.MaxTagLen)
	for i := range 100 {
		if i == 99 {
			late = w.push(tag("A"), 0)
			w.match(late)
		}
		w.change("u", []func(*push.Record){add(long), add("A"), remove(long), remove("A")}[i%4])
	}
	vs, before, err := w.h.versions(t.Context(), app, o)
	w.must(err)
	known := w.told[o][len(w.told[o])-len(vs):]
	if len(vs) < 10 || len(vs) > 60 || before != w.told[o][len(w.told[o])-len(vs)-1].log {
		t.Fatalf("%d versions, before them %d", len(vs), before)
	}
	for i, v := range vs {
		if v.log != known[i].log || !v.record.Equal(&known[i].record) {
			t.Errorf("version %d is %+v, want %+v", i, v, known[i])
		}
	}
	if got := w.trace(early, "u"); got.Outcome != Offline || !*got.Clauses[0].Holds || *got.Clauses[1].Holds || got.Clauses[0].Since != nil || got.Clauses[0].Until != nil || got.Fault != "" {
		t.Errorf("early: %+v", got)
	}
	if got := w.trace(late, "u"); got.Outcome != Offline || !*got.Clauses[0].Holds || logOf(got.Clauses[0].Until) != w.told[o][100].log || logOf(got.Clauses[0].Since) != w.told[o][98].log {
		t.Errorf("late: %+v", got)
	}
}

// Accounts that are deleted, and registered again, and deleted: each push finds the one of its time.
func TestDeletedAccounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	var ordinals []push.Ordinal
	var pushes []*sent
	push := func() {
		s := w.push(tag("A"), time.Hour)
		w.match(s)
		pushes = append(pushes, s)
	}
	push()
	for i := range 3 {
		ordinals = append(ordinals, w.register("u"))
		push()
		w.change("u", add("A"))
		push()
		if i < 2 {
			w.delete("u")
			push()
		}
		for n := range 16 { // the next of the name is of another shard
			w.register(fmt.Sprint(i, " ", n))
		}
	}
	for i, want := range []struct {
		outcome Outcome
		of      int // which of the accounts
	}{
		{Unregistered, 2}, {Unmatched, 0}, {Deleted, 0}, {Deleted, 0}, {Unmatched, 1}, {Deleted, 1}, {Deleted, 1}, {Unmatched, 2}, {Pending, 2},
	} {
		got := w.trace(pushes[i], "u")
		if got.Outcome != want.outcome || got.Ordinal != ordinals[want.of] || got.Fault != "" {
			t.Errorf("push %d: %+v, want %s of ordinal %d", i, got, want.outcome, ordinals[want.of])
		}
		if want.outcome == Unmatched && (len(got.Clauses) != 1 || logOf(got.Clauses[0].Until) == 0 || *got.Clauses[0].Holds) {
			t.Errorf("push %d: %+v", i, got.Clauses)
		}
	}
	// One that was deleted longer ago than anybody can ask for is nobody to a later push.
	last := w.push(tag("A"), time.Hour)
	w.match(last)
	w.delete("u")
	w.h.now = func() time.Time { return time.Now().Add(w.b.Retention() + time.Minute) }
	if got := w.trace(last, "u"); got.Outcome != Deleted || got.Ordinal != ordinals[2] {
		t.Errorf("deleted after the push: %+v", got)
	}
	if got := w.trace(pushes[0], "u"); got.Outcome != Unregistered {
		t.Errorf("registered after the push: %+v", got)
	}
}

// Records of earlier builds have no past; what their messages tell is told, and the next change goes on from there.
func TestRecordsOfEarlierBuilds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	if err := w.b.EnsureShard(t.Context(), app, 0); err != nil {
		t.Fatal(err)
	}
	o := w.register("u")
	w.register("v") // keeps the shard's next places
	write := func(after uint64, tags byte, rest ...byte) uint64 {
		data := append([]byte{1, 0, 1, 'u', tags}, rest...)
		seqs, err := w.b.Write(wire.UsersStream(app, 0), broker.Message{Subject: wire.UserSubject(app, 0, o), Data: append(data, 0, 0)}.After(after))
		w.must(err)
		w.note(o)
		return seqs[0]
	}
	first := write(1, 1, 1, 'A')
	s := w.push(tag("A"), 0)
	w.match(s)
	if got := w.trace(s, "u"); got.Outcome != Offline || got.Fault != "" || got.Clauses[0].Since != nil {
		t.Errorf("%+v", got)
	}
	w.change("u", remove("A"))
	if got := w.trace(s, "u"); got.Outcome != Offline || got.Fault != "" || !*got.Clauses[0].Holds || logOf(got.Clauses[0].Until) != w.told[o][2].log {
		t.Errorf("%+v", got)
	}
	vs, before, err := w.h.versions(t.Context(), app, o)
	if err != nil || len(vs) != 2 || vs[0].log != first || before != 1 {
		t.Errorf("%+v, before them %d, %v", vs, before, err)
	}
}
