package matcher

import (
	"context"
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// A change that the log has replaced before the fold came to it: what is behind it must not be evaluated until the fold
// has come to what replaced it.
func TestReplacedChangesAreAwaited(t *testing.T) {
	t.Parallel()
	h := newBench(t, 0)
	m, err := New(Default(), h.b, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s := newShard(m, &broker.Hold{App: app})
	write := func(o push.Ordinal, tags ...string) uint64 {
		t.Helper()
		r := push.Record{Account: "u"}
		for _, tag := range tags {
			r.AddTag(tag)
		}
		seqs, err := h.b.Write(wire.UsersStream(app, 0), broker.Message{Subject: wire.UserSubject(app, 0, o), Data: wire.AppendRecord(nil, &r)})
		if err != nil {
			t.Fatal(err)
		}
		return seqs[0]
	}
	fold := func(seq uint64) {
		t.Helper()
		m, err := h.b.Get(t.Context(), wire.UsersStream(app, 0), seq)
		if err == nil {
			err = s.fold(m)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	await := func(seq uint64) <-chan error {
		done := make(chan error, 1)
		go func() { done <- s.await(t.Context(), seq) }()
		return done
	}
	vip := func() uint64 { return s.index.Count(predicate.Tag{Name: "vip"}) }

	fold(write(1))
	fold(write(2))
	if err := <-await(2); err != nil || !s.has(2) {
		t.Fatalf("nothing is missing: %v", err)
	}
	write(1, "vip")         // 3, which the fold never sees
	fold(write(2, "other")) // 4
	write(1, "vip", "x")    // 5, in place of 3
	if s.has(4) {
		t.Error("3 is missing, and has says nothing is")
	}
	done := await(4)
	sixth := write(1, "vip", "y") // 6, in place of 5: it may be asked for before or after
	select {                      // never waits: whether it asks before or after, 6 is not folded
	case err := <-done:
		t.Fatalf("evaluated with %d vips, %v", vip(), err)
	default:
	}
	fold(sixth)
	if err := <-done; err != nil || vip() != 1 {
		t.Errorf("evaluated with %d vips, %v", vip(), err)
	}
	if !s.has(6) {
		t.Error("everything is folded, and has says otherwise")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s.await(ctx, 7) == nil {
		t.Error("what is not there was not awaited")
	}
}

// The bookkeeping of holes.
func TestHoles(t *testing.T) {
	t.Parallel()
	var h holes
	for _, seq := range []uint64{5, 6, 7} { // a log need not begin with 1
		h.pass(seq)
	}
	if gap := h.gap.Load(); gap != 5 {
		t.Errorf("the gap is before %d, want 5", gap)
	}
	if h.pass(9); h.gap.Load() != 9 {
		t.Errorf("the gap is before %d, want 9", h.gap.Load())
	}
}
