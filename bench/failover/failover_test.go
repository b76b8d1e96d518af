package failover

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRun(t *testing.T) {
	t.Parallel()
	list, err := Run(t.Context(), Short())
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 6 {
		t.Errorf("%d figures", len(list))
	}
	for _, f := range list {
		if f.Value <= 0 {
			t.Errorf("nothing was measured: %v", f)
		}
	}
}

// Waits are as long as from their beginning until the last of those whom they concern.
func TestWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWaits()
		start := time.Now()
		first := w.begin(0b11)
		<-time.After(time.Second)
		second := w.begin(0b11)
		w.came(first, 0)
		w.came(first, 0)
		w.came(second, 0)
		w.came(second, 1)
		w.came(7, 1)
		if open, later := w.state(time.Now()); open != 1 || !later {
			t.Errorf("%d are open, one since: %v", open, later)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := w.flow(ctx, time.Now(), "pushes"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("what has not come has come: %v", err)
		}
		w.came(first, 1)
		if err := w.flow(t.Context(), start.Add(time.Second), "pushes"); err != nil {
			t.Error(err)
		}
		if d := w.longest(start, start.Add(time.Minute)); d != 2*time.Second {
			t.Errorf("the longest is %v", d)
		}
		if d := w.longest(start.Add(time.Second), start.Add(time.Minute)); d != 0 {
			t.Errorf("the longest later is %v", d)
		}
	})
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{Default(), Long(), Short()} {
		if err := o.Validate(); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if _, err := Run(t.Context(), Options{}); err == nil {
		t.Error("no options were taken")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, Short()); !errors.Is(err, context.Canceled) {
		t.Errorf("after the context's end: %v", err)
	}
}
