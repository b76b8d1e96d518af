package ingest

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
)

// Calls at several processes against an oracle that counts what was admitted in each second: never more than the limit in
// one, and all of the limit to those who go on asking, be it one process or several.
func TestFrequencyAgainstOracle(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 250).Draw(t, "limit")
		processes := make([]frequency, rapid.IntRange(1, 4).Draw(t, "processes"))
		sums, asked := map[int64]int{}, 0
		add := func(second int64, n int) (int, error) {
			asked++
			sums[second] += n
			return sums[second], nil
		}
		admitted := map[int64]int{}
		now := time.Unix(1e9, 0)
		clock := func() time.Time { return now }
		call := func(p int) bool {
			ok := processes[p].allow(clock, limit, add)
			if ok {
				admitted[now.Unix()]++
			}
			if admitted[now.Unix()] > limit {
				t.Fatalf("%d calls of %d in one second", admitted[now.Unix()], limit)
			}
			return ok
		}
		for range rapid.IntRange(1, 300).Draw(t, "calls") {
			now = now.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "ms")) * time.Millisecond)
			call(rapid.IntRange(0, len(processes)-1).Draw(t, "process"))
		}
		for p := range processes {
			for call(p) {
			}
		}
		if got := admitted[now.Unix()]; got != limit {
			t.Fatalf("%d calls of %d were admitted to those who went on asking", got, limit)
		}
		now, asked = now.Add(time.Second), 0
		for call(0) {
		}
		if got := admitted[now.Unix()]; got != limit || asked > min(limit, 50) {
			t.Fatalf("a process alone has %d calls of %d, and asked %d times", got, limit, asked)
		}
	})
}

// A limit that changes within a second holds for what was admitted before, over all processes.
func TestFrequencyOfAnotherLimit(t *testing.T) {
	t.Parallel()
	var f frequency
	sum := 0
	add := func(_ int64, n int) (int, error) { sum += n; return sum, nil }
	now := time.Unix(1e9, 0)
	clock := func() time.Time { return now }
	calls := func(limit int) (n int) {
		for f.allow(clock, limit, add) {
			n++
		}
		return n
	}
	if got := [...]int{calls(10), calls(5), calls(20)}; got != [...]int{10, 0, 10} {
		t.Errorf("calls admitted under limits of 10, 5 and 20 in one second: %v", got)
	}
}

// A process whose broker does not answer counts by itself for the second, and asks again in the next.
func TestFrequencyAlone(t *testing.T) {
	t.Parallel()
	var f frequency
	asked := 0
	var fault error
	sum := map[int64]int{}
	add := func(second int64, n int) (int, error) {
		asked++
		sum[second] += n
		return sum[second], fault
	}
	now := time.Unix(1e9, 0)
	clock := func() time.Time { return now }
	calls := func() (n int) {
		for f.allow(clock, 20, add) {
			n++
		}
		return n
	}
	f.allow(clock, 20, add)
	fault = errors.New("no answer")
	if got := calls(); got != 19 || asked != 2 {
		t.Errorf("%d calls more, and asked %d times", got, asked)
	}
	now = now.Add(time.Second)
	fault = nil
	if got := calls(); got != 20 {
		t.Errorf("%d calls in the next second", got)
	}
}

// Contract §1, 60007: the limit is that of all processes together, counted on the broker; the process that the broker
// does not answer says so in its metrics.
func TestSection1FrequencyOfSeveralProcesses(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	const limit, sent = 30, 200
	change := func(_ *Config, app *App) { app.CallsPerSecond = limit }
	list := processes(t, b, 2, change)
	clock := noon()()
	for _, a := range list {
		a.Ingest.now = func() time.Time { return clock }
	}
	got := storm(t, list, sent, all+"im_get_attr_name", func(int) string { return `{}` })
	if got[codeOK] != limit || got[codeFrequency] != sent-limit {
		t.Errorf("%v, want %d admitted", got, limit)
	}
	broken := b.Faulty(func(string) error { return broker.ErrUnavailable })
	a := serveApp(t, broken, list[0].app, change)
	a.Ingest.now = list[0].Ingest.now
	got = storm(t, []*api{a}, sent, all+"im_get_attr_name", func(int) string { return `{}` })
	if got[codeOK] != limit || got[codeFrequency] != sent-limit {
		t.Errorf("alone: %v, want %d admitted", got, limit)
	}
	families, err := a.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "carillon_ingest_frequency_alone_total" && f.GetMetric()[0].GetCounter().GetValue() != 1 {
			t.Errorf("%v seconds alone, want 1", f.GetMetric()[0].GetCounter().GetValue())
		}
	}
}

// A call that needs no lease costs no memory.
func TestFrequencyAllocates(t *testing.T) {
	var f frequency
	add := func(int64, int) (int, error) { return 1 << 20, nil }
	clock := func() time.Time { return time.Unix(1e9, 0) }
	if n := testing.AllocsPerRun(1000, func() { f.allow(clock, 1<<30, add) }); n != 0 {
		t.Errorf("%v allocations a call", n)
	}
}
