package channel

import (
	"context"
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// newInstant is a Sender to a vendor that takes all at once.
func newInstant(t testing.TB) *Sender {
	t.Helper()
	m, err := NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSender(SenderConfig{App: 7, Channel: "fake", Limits: DefaultLimits()},
		speaking(func(_ context.Context, _ *Notice, tokens []string) []Result { return sent(tokens) }), m, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func BenchmarkSender(b *testing.B) {
	s, all := newInstant(b), tokens(1000)
	b.ReportAllocs()
	for b.Loop() {
		s.Send(b.Context(), &Notice{}, all)
	}
	b.ReportMetric(float64(b.N*len(all))/b.Elapsed().Seconds(), "notices/s")
}

// What a Sender adds to a channel's own work is a few allocations a batch: its context, its timer, its tokens, its results.
func TestASenderAllocatesByTheBatch(t *testing.T) {
	s, all := newInstant(t), tokens(1000)
	perBatch := testing.AllocsPerRun(20, func() { s.Send(context.Background(), &Notice{}, all) }) / (float64(len(all)) / 2)
	if perBatch > 12 {
		t.Errorf("%.1f allocations a batch", perBatch)
	}
}

func BenchmarkFit(b *testing.B) {
	long := string(make([]byte, 8000))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := Fit(4096, "title", long, encoding("ext")); !ok {
			b.Fatal("it does not fit")
		}
	}
}
