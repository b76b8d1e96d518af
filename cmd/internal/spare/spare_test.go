package spare

import (
	"context"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const mega = 1 << 20

// heap is of 24 MiB, half of which is free after a busy time of three collections.
func heap() usage {
	return usage{allocated: 100 * mega, collected: 3, live: 24 * mega, goal: 48 * mega, free: 12 * mega}
}

// given looks so many times at a heap to which each look finds so many bytes more allocated.
func given(k *keeper, now usage, looks int, allocates uint64) (times int) {
	for range looks {
		now.allocated += allocates
		if k.look(now) {
			times++
			k.gave(now)
		}
	}
	return times
}

func TestGivenBackOnceWhenQuiet(t *testing.T) {
	t.Parallel()
	k := newKeeper(usage{})
	if k.look(heap()) {
		t.Error("memory was given back at the end of a busy time, before it was quiet")
	}
	if n := given(k, heap(), quietLooks-1, 1000); n != 0 {
		t.Error("memory was given back before it had been quiet for long enough")
	}
	if n := given(k, heap(), 100, 1000); n != 1 {
		t.Errorf("memory was given back %d times in a quiet time, not once", n)
	}
}

func TestKept(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		allocates uint64
		change    func(*usage)
	}{
		"busy":                {mega, func(*usage) {}},
		"little is free":      {0, func(u *usage) { u.free = worth - 1 }},
		"few collections":     {0, func(u *usage) { u.collected = collections - 1 }},
		"more live than goal": {1, func(u *usage) { u.live = u.goal + 1 }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := heap()
			test.change(&h)
			if n := given(newKeeper(usage{}), h, 20, test.allocates); n != 0 {
				t.Errorf("memory was given back %d times", n)
			}
		})
	}
}

func TestGivenBackAgainAfterAnotherBusyTime(t *testing.T) {
	t.Parallel()
	k, h := newKeeper(usage{}), heap()
	if n := given(k, h, 10, 0); n != 1 {
		t.Fatalf("memory was given back %d times, not once", n)
	}
	h.collected += collections
	if n := given(k, h, 10, 10*mega); n != 0 {
		t.Error("memory was given back while it was busy")
	}
	h.allocated += 100 * mega
	if n := given(k, h, 10, 0); n != 1 {
		t.Errorf("memory was given back %d times after another busy time, not once", n)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { Run(ctx); close(ended) }()
		cancel()
		<-ended
	})
}
