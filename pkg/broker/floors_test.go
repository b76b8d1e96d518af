package broker

import (
	"fmt"
	"testing"
)

// What was written last is remembered, and no more than so much of it.
func TestFloorsAreBounded(t *testing.T) {
	t.Parallel()
	var f floors
	const n = maxFloors + 1000
	for i := range n {
		f.set(fmt.Sprint("s", i), uint64(i+1))
	}
	f.set(fmt.Sprint("s", n-1), 7) // again: what the leader says is the truth
	if len(f.least) != maxFloors || len(f.order) != maxFloors {
		t.Errorf("%d subjects are remembered in %d places, not %d", len(f.least), len(f.order), maxFloors)
	}
	for i := range n {
		want := uint64(i + 1)
		if i == n-1 {
			want = 7
		}
		known := i >= n-maxFloors
		subject := fmt.Sprint("s", i)
		if f.stale(subject, want-1) != known || f.stale(subject, want) {
			t.Fatalf("subject %d: stale %t and %t", i, f.stale(subject, want-1), f.stale(subject, want))
		}
	}
}

// Reading what is not remembered, which is most, allocates nothing.
func TestStaleAllocatesNothing(t *testing.T) {
	var f floors
	f.set("subject", 1)
	if n := testing.AllocsPerRun(100, func() { f.stale("another", 1) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
