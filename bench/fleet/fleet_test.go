package fleet

import (
	"context"
	"errors"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// One process of each role and one more matcher: it takes what its REST interface is told, and when the matcher that does
// the work is killed, another does it; nothing is left.
func TestFleet(t *testing.T) {
	t.Parallel()
	f, err := Start(t.Context(), Shape{Brokers: 1, Ingest: 1, Matcher: 2, Deliver: 1, Offline: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Import(t.Context(), []string{"u"}); err != nil {
		t.Error(err)
	}
	if used, err := f.CPU(); err != nil || used <= 0 {
		t.Errorf("CPU time %v, %v", used, err)
	}
	if rss, err := f.RSS(); err != nil || rss < 1<<20 {
		t.Errorf("resident memory %d, %v", rss, err)
	}
	if n, err := f.Metric(t.Context(), "carillon_deliver_sessions"); err != nil || n != 0 {
		t.Errorf("%v sessions, %v", n, err)
	}
	if _, err := f.Metric(t.Context(), "no_such_metric"); err == nil {
		t.Error("an unknown metric is there")
	}
	const held = "carillon_matcher_shards_held"
	first, err := f.First(t.Context(), Matcher, held)
	if err != nil {
		t.Fatal(err)
	}
	first.Kill()
	if err := f.Up(t.Context(), first); err != nil {
		t.Error(err)
	}
	if _, err := f.First(t.Context(), Matcher, held); err != nil {
		t.Error(err)
	}
	if err := f.Stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(f.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its directory is still there: %v", err)
	}
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Start(ctx, Shape{Brokers: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("after the context's end: %v", err)
	}
	if _, err := Start(t.Context(), Shape{Brokers: 2}); err == nil {
		t.Error("two brokers were taken")
	}
}
