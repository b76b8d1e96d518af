package soak

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const s = time.Second

// A history written by hand: three users, of whom 0 and 1 exist from the first second, 0 with a tag.
func history() *Ledger {
	l := NewLedger(3)
	l.Done(s, l.Begin(0, []int{0, 1}, Exists, "1"))
	l.Done(2*s, l.Begin(s, []int{0}, TagFact("t"), "1"))
	return l
}

var tagged = Condition{Op: HasTag, Name: "t"}

// accept notes a push that was called at some second, answered half a second later, and evaluated after another half.
func accept(l *Ledger, n int, at Moment, lifetime time.Duration, c Condition) *Push {
	p := &Push{N: n, Kind: "test", Condition: c, Lifetime: lifetime}
	l.BeginPush(at, p)
	l.Accepted(at+s/2, p, id(n))
	l.Evaluated(at+s, p, 1)
	return p
}

func id(n int) string { return fmt.Sprintf("task-%d", n) }

func pushFrame(n int) Frame { return Frame{N: n, ID: id(n), Seq: uint64(100 + n)} }

// told says in a frame when the push's lifetime ends, where it does not say so.
func told(l *Ledger, f Frame) Frame {
	if p := l.pushes[f.N]; !f.Revokes && p.Lifetime > 0 && f.Expire == 0 {
		f.Expire = int64((p.begun + p.Lifetime).Seconds())
	}
	return f
}

// login is a session from one moment to another.
func login(l *Ledger, u int, from, to Moment, frames ...Frame) *Session {
	se := l.Dial(from, u, "deliver-1")
	l.Hello(from, se, 0)
	for i, f := range frames {
		l.Received(from+s+Moment(i)*time.Millisecond, se, told(l, f))
	}
	l.End(to, se, endLeft)
	return se
}

// again deletes account 0 at a moment and registers it again a second later.
func again(l *Ledger, at Moment) {
	removal := l.BeginRemoval(at, 0)
	l.Done(at+s/2, removal)
	l.Done(at+s, l.Return(0, removal))
}

// judge is strict from second 1000 on.
func judge(l *Ledger) Verdict {
	return Judge{Start: time.Unix(0, 0), End: 1000 * s, Grace: 5 * s}.Verdict(l)
}

// check compares the counts of all faults.
func check(t *testing.T, v Verdict, want map[Fault]int) {
	t.Helper()
	for _, f := range []Fault{Lost, Stranger, Twice, Disorder, Missed} {
		if v.Counts[f] != want[f] {
			t.Errorf("%s: %d, want %d", f, v.Counts[f], want[f])
		}
	}
	if v.Failed() != (len(want) > 0) {
		t.Errorf("failed: %v, odd: %d", v.Failed(), v.Odd)
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	const long = 10_000 * s
	tests := []struct {
		name string
		play func(l *Ledger)
		want map[Fault]int
	}{
		{"all is well", func(l *Ledger) {
			accept(l, 1, 10*s, long, tagged)
			login(l, 0, 20*s, 40*s, pushFrame(1))
		}, nil},
		{"never got it", func(l *Ledger) {
			accept(l, 1, 10*s, long, tagged)
		}, map[Fault]int{Lost: 1}},
		{"everybody who exists", func(l *Ledger) {
			accept(l, 1, 10*s, long, Condition{})
			login(l, 0, 20*s, 40*s, pushFrame(1))
		}, map[Fault]int{Lost: 1}},
		{"a stranger", func(l *Ledger) {
			accept(l, 1, 10*s, long, tagged)
			login(l, 0, 20*s, 40*s, pushFrame(1))
			login(l, 1, 20*s, 40*s, pushFrame(1))
		}, map[Fault]int{Stranger: 1}},
		{"a stranger who got a copy that nobody was told of", func(l *Ledger) {
			p := &Push{N: 1, Condition: tagged, Lifetime: long}
			l.BeginPush(10*s, p)
			login(l, 1, 20*s, 40*s, pushFrame(1))
		}, map[Fault]int{Stranger: 1}},
		{"no answer, and nobody got it", func(l *Ledger) {
			l.BeginPush(10*s, &Push{N: 1, Condition: tagged, Lifetime: long})
		}, nil},
		{"the tag was taken away while the push was evaluated", func(l *Ledger) {
			l.Begin(10*s+s*3/4, []int{0}, TagFact("t"), "")
			accept(l, 1, 10*s, long, tagged)
		}, nil},
		{"the tag was taken away before", func(l *Ledger) {
			l.Done(9*s, l.Begin(8*s, []int{0}, TagFact("t"), ""))
			accept(l, 1, 10*s, long, tagged)
			login(l, 0, 20*s, 40*s, pushFrame(1))
		}, map[Fault]int{Stranger: 1}},
		{"the tag was taken away after", func(l *Ledger) {
			l.Done(13*s, l.Begin(12*s, []int{0}, TagFact("t"), ""))
			accept(l, 1, 10*s, long, tagged)
		}, map[Fault]int{Lost: 1}},
		{"a change without an answer leaves it open", func(l *Ledger) {
			l.Begin(5*s, []int{0, 1}, TagFact("t"), "")
			l.Begin(6*s, []int{1}, TagFact("t"), "1")
			accept(l, 1, 10*s, long, tagged)
			login(l, 1, 20*s, 40*s, pushFrame(1))
		}, nil},
		{"online, and stayed", func(l *Ledger) {
			accept(l, 1, 10*s, 0, tagged)
			login(l, 0, 9*s, 40*s)
		}, map[Fault]int{Lost: 1}},
		{"online, and left soon", func(l *Ledger) {
			accept(l, 1, 10*s, 0, tagged)
			login(l, 0, 9*s, 14*s)
		}, nil},
		{"online, but came during the call", func(l *Ledger) {
			accept(l, 1, 10*s, 0, tagged)
			login(l, 0, 10*s+1, 40*s)
		}, nil},
		{"online, but did not read", func(l *Ledger) {
			accept(l, 1, 10*s, 0, tagged)
			l.Unwell(12*s, login(l, 0, 9*s, 40*s))
		}, nil},
		{"a short lifetime, and nobody was online", func(l *Ledger) {
			accept(l, 1, 10*s, 30*s, tagged)
		}, nil},
		{"a short lifetime, and a login within it", func(l *Ledger) {
			accept(l, 1, 10*s, 30*s, tagged)
			login(l, 0, 20*s, 30*s)
		}, map[Fault]int{Lost: 1, Missed: 1}},
		{"a short lifetime, and a login at its end", func(l *Ledger) {
			accept(l, 1, 10*s, 30*s, tagged)
			login(l, 0, 36*s, 60*s)
		}, nil},
		{"after its lifetime", func(l *Ledger) {
			accept(l, 1, 10*s, 30*s, tagged)
			f := pushFrame(1)
			f.Expire = 40
			login(l, 0, 42*s, 60*s, f)
		}, map[Fault]int{Stranger: 1}},
		{"a login that had it not, and a later one that had", func(l *Ledger) {
			accept(l, 1, 10*s, long, tagged)
			login(l, 0, 20*s, 40*s)
			login(l, 0, 50*s, 60*s, pushFrame(1))
		}, map[Fault]int{Missed: 1}},
		{"a login after an acknowledgement need not have it", func(l *Ledger) {
			accept(l, 1, 10*s, long, tagged)
			l.Acked(22*s, login(l, 0, 20*s, 40*s, pushFrame(1)), []string{id(1)})
			login(l, 0, 50*s, 60*s)
		}, nil},
		{"twice on one session", func(l *Ledger) {
			accept(l, 1, 10*s, long, tagged)
			login(l, 0, 20*s, 40*s, pushFrame(1), pushFrame(1))
		}, map[Fault]int{Twice: 1}},
		{"on two sessions", func(l *Ledger) {
			accept(l, 1, 10*s, long, tagged)
			login(l, 0, 20*s, 40*s, pushFrame(1))
			login(l, 0, 20*s, 40*s, pushFrame(1))
		}, nil},
		{"in the wrong order", func(l *Ledger) {
			accept(l, 1, 10*s, long, tagged)
			accept(l, 2, 11*s, long, tagged)
			login(l, 0, 20*s, 40*s, pushFrame(2), pushFrame(1))
		}, map[Fault]int{Disorder: 1}},
		{"revoked, and nobody had it", func(l *Ledger) {
			p := accept(l, 1, 10*s, long, tagged)
			l.BeginRevoke(15*s, p)
			l.Revoked(16*s, p)
			login(l, 0, 20*s, 40*s)
		}, nil},
		{"revoked, and a later login got it", func(l *Ledger) {
			p := accept(l, 1, 10*s, long, tagged)
			l.BeginRevoke(15*s, p)
			l.Revoked(16*s, p)
			login(l, 0, 20*s, 40*s, pushFrame(1))
		}, map[Fault]int{Stranger: 1}},
		{"revoked, and a copy that nobody was told of came", func(l *Ledger) {
			p := accept(l, 1, 10*s, long, tagged)
			l.BeginRevoke(15*s, p)
			l.Revoked(16*s, p)
			login(l, 0, 20*s, 40*s, Frame{N: 1, ID: "another", Seq: 99})
		}, nil},
		{"revoked, and an open session got it much later", func(l *Ledger) {
			p := accept(l, 1, 10*s, long, tagged)
			se := l.Dial(9*s, 0, "deliver-1")
			l.Hello(9*s, se, 0)
			l.BeginRevoke(15*s, p)
			l.Revoked(16*s, p)
			l.Received(19*s, se, told(l, pushFrame(1)))
			l.End(40*s, se, endLeft)
		}, map[Fault]int{Stranger: 1}},
		{"revoked by a call without an answer", func(l *Ledger) {
			l.BeginRevoke(15*s, accept(l, 1, 10*s, long, tagged))
			login(l, 0, 20*s, 40*s, pushFrame(1))
		}, nil},
		{"who had it hears of its revocation", func(l *Ledger) {
			p := accept(l, 1, 10*s, long, tagged)
			login(l, 0, 11*s, 14*s, pushFrame(1))
			l.BeginRevoke(15*s, p)
			l.Revoked(16*s, p)
			login(l, 0, 20*s, 40*s, Frame{Revokes: true, ID: id(1), Seq: 101})
		}, nil},
		{"who had it does not hear of its revocation", func(l *Ledger) {
			p := accept(l, 1, 10*s, long, tagged)
			login(l, 0, 11*s, 14*s, pushFrame(1))
			l.BeginRevoke(15*s, p)
			l.Revoked(16*s, p)
		}, map[Fault]int{Lost: 1}},
		{"deleted, and nothing is owed", func(l *Ledger) {
			accept(l, 1, 10*s, long, tagged)
			l.Done(13*s, l.BeginRemoval(12*s, 0))
		}, nil},
		{"online, and stayed until it was deleted", func(l *Ledger) {
			accept(l, 1, 10*s, 0, tagged)
			se := l.Dial(9*s, 0, "deliver-1")
			l.Hello(9*s, se, 0)
			l.Done(21*s, l.BeginRemoval(20*s, 0))
			l.End(40*s, se, endLeft)
		}, map[Fault]int{Lost: 1}},
		{"online, and deleted soon", func(l *Ledger) {
			accept(l, 1, 10*s, 0, tagged)
			se := l.Dial(9*s, 0, "deliver-1")
			l.Hello(9*s, se, 0)
			l.Done(13*s, l.BeginRemoval(12*s, 0))
			l.End(40*s, se, endLeft)
		}, nil},
		{"deleted, and the push came to the session that was left", func(l *Ledger) {
			l.Done(9*s, l.BeginRemoval(8*s, 0))
			se := login(l, 0, 5*s, 7*s)
			accept(l, 1, 10*s, long, tagged)
			l.Received(12*s, se, told(l, pushFrame(1)))
		}, map[Fault]int{Stranger: 1}},
		{"registered again, and got what the one before was owed", func(l *Ledger) {
			accept(l, 1, 10*s, long, tagged)
			again(l, 20*s)
			login(l, 0, 30*s, 40*s, pushFrame(1))
		}, map[Fault]int{Stranger: 1}},
		{"registered again, without the tag", func(l *Ledger) {
			again(l, 5*s)
			accept(l, 1, 10*s, long, tagged)
			login(l, 0, 30*s, 40*s, pushFrame(1))
		}, map[Fault]int{Stranger: 1}},
		{"registered again, and everybody is to have it", func(l *Ledger) {
			again(l, 5*s)
			accept(l, 1, 10*s, long, Condition{})
			login(l, 0, 30*s, 40*s, pushFrame(1))
		}, map[Fault]int{Lost: 1}}, // to user 1
		{"registered again while the push was under way", func(l *Ledger) {
			removal := l.BeginRemoval(10*s+s/4, 0)
			accept(l, 1, 10*s, long, Condition{})
			l.Done(11*s, removal)
			l.Done(12*s, l.Return(0, removal))
			login(l, 1, 20*s, 40*s, pushFrame(1))
		}, nil},
		{"after its own revocation", func(l *Ledger) {
			p := accept(l, 1, 10*s, long, tagged)
			l.BeginRevoke(11*s, p)
			login(l, 0, 12*s, 40*s, Frame{Revokes: true, ID: id(1), Seq: 101}, pushFrame(1))
		}, map[Fault]int{Stranger: 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := history()
			test.play(l)
			check(t, judge(l), test.want)
		})
	}
}

func TestRepeatsAreCountedAndExplained(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, slot  string
		at          Moment
		unexplained int
	}{
		{"the gateway was killed later", "deliver-1", 45 * s, 1},
		{"the gateway was killed then", "deliver-1", 24 * s, 0},
		{"another gateway was killed then", "deliver-2", 24 * s, 1},
		{"the broker was killed then", Broker, 24 * s, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := history()
			accept(l, 1, 10*s, 10_000*s, tagged)
			l.Disturbed(Trouble{Slot: test.slot, What: Kill, From: test.at, To: test.at + s})
			l.Acked(22*s, login(l, 0, 20*s, 40*s, pushFrame(1)), []string{id(1)})
			login(l, 0, 50*s, 60*s, pushFrame(1))
			v := judge(l)
			check(t, v, nil)
			if v.Repeated != 1 || v.Unexplained != test.unexplained {
				t.Errorf("repeated %d, unexplained %d; want 1 and %d", v.Repeated, v.Unexplained, test.unexplained)
			}
		})
	}
}

// A device that was online all the time gets a push live although another has acknowledged it: that is no repeat.
func TestAnotherDeviceIsNoRepeat(t *testing.T) {
	t.Parallel()
	l := history()
	accept(l, 1, 10*s, 10_000*s, tagged)
	one, other := l.Dial(5*s, 0, "deliver-1"), l.Dial(5*s, 0, "deliver-2")
	l.Hello(5*s, one, 0)
	l.Hello(5*s, other, 0)
	l.Received(11*s, one, told(l, pushFrame(1)))
	l.Acked(12*s, one, []string{id(1)})
	l.Received(13*s, other, told(l, pushFrame(1)))
	if v := judge(l); v.Repeated != 0 {
		t.Errorf("repeated %d", v.Repeated)
	}
}

// Where clocks are wrong a lifetime ends earlier or later by as much, and recipients may be told so.
func TestWrongClocks(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name       string
		skew       time.Duration
		expire     int64 // of a lifetime of 30 s, from second 10 on
		login      Moment
		odd, other int
	}{
		{"right", 0, 40, 20 * s, 0, 0},
		{"told late", 0, 100, 20 * s, 1, 0},
		{"told early, and the clocks may be wrong", 60 * s, 0 + 1, 20 * s, 0, 0},
		{"came late", 0, 40, 45 * s, 0, 1},
		{"came late, and the clocks may be wrong", 60 * s, 40, 45 * s, 0, 0},
		{"came later than they may be", 60 * s, 40, 145 * s, 0, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := history()
			accept(l, 1, 10*s, 30*s, tagged)
			f := pushFrame(1)
			f.Expire = test.expire
			login(l, 0, test.login, test.login+20*s, f)
			v := Judge{Start: time.Unix(0, 0), End: 1000 * s, Grace: 5 * s, Skew: test.skew}.Verdict(l)
			if v.Odd != test.odd || v.Counts[Stranger] != test.other {
				t.Errorf("odd %d, stranger %d; want %d and %d: %v", v.Odd, v.Counts[Stranger], test.odd, test.other, l.oddities)
			}
		})
	}
	l := history()
	accept(l, 1, 10*s, 30*s, tagged)
	login(l, 0, 20*s, 30*s)
	if v := (Judge{Start: time.Unix(0, 0), End: 1000 * s, Grace: 5 * s, Skew: 60 * s}).Verdict(l); v.Failed() {
		t.Errorf("a push that may be over by somebody's clock was obliged to come: %+v", v)
	}
}

func TestTheServicesCountIsCompared(t *testing.T) {
	t.Parallel()
	l := history()
	p := accept(l, 1, 10*s, 0, tagged)
	l.Evaluated(11*s, p, 2)
	if v := judge(l); v.Odd != 1 || !v.Failed() {
		t.Errorf("odd %d, failed %v", v.Odd, v.Failed())
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	l := history()
	accept(l, 1, 10*s, 10_000*s, tagged)
	login(l, 1, 20*s, 40*s, pushFrame(1))
	l.Disturbed(Trouble{Slot: "deliver-1", What: Kill, From: 12 * s, To: 13 * s})
	var out strings.Builder
	l.Report(&out, judge(l))
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if last := lines[len(lines)-1]; last != "pairs 3 lost 1 stranger 1 repeated 0 disorder 0" {
		t.Errorf("the last line is %q", last)
	}
	for _, part := range []string{
		"stranger: push 1 (task-1) and user1", "lost: push 1 (task-1) and user0", `tag t: "1" 1.000s–2.000s`,
		"session at deliver-1: dialled 20.000s", "deliver-1 kill -9: 12.000s–13.000s", "done to processes: deliver kill -9 1",
	} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("the report lacks %q:\n%s", part, out.String())
		}
	}
}
