package offline

import (
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

const million = 1 << 20

// livePushes is a shard of a million users with pushes that half of them wait for, and user 0 for none.
func livePushes(tb testing.TB, pushes int) *shard {
	m, err := newMetrics(prometheus.NewRegistry())
	if err != nil {
		tb.Fatal(err)
	}
	s := &shard{
		o: &Offline{metrics: m}, app: app, log: slog.New(slog.NewTextHandler(io.Discard, nil)), width: million,
		pending: newPending(), fresh: make(chan struct{}, 1),
	}
	r := rand.New(rand.NewPCG(1, 2))
	for seq := range push.Seq(pushes) {
		words := make([]uint64, million/64)
		for i := range words {
			words[i] = r.Uint64()
		}
		words[0] &^= 1
		s.pending.audience(seq+1, hour(), 0, roaring.FromDense(words, false), uint64(seq+1))
	}
	return s
}

func TestInboxWithoutPushesDoesNotAllocate(t *testing.T) { // not parallel: others' allocations would count
	p := livePushes(t, 20).pending
	if n := testing.AllocsPerRun(100, func() {
		if p.inbox(nil, 0, 1) != nil {
			t.Fatal("user 0 waits for nothing")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A login at 100 pushes a day, kept for a week.
func BenchmarkInbox(b *testing.B) {
	p := livePushes(b, 700).pending
	for _, c := range []struct {
		name string
		user func(*rand.Rand) uint32
	}{
		{"half pending", func(r *rand.Rand) uint32 { return r.Uint32N(million) }},
		{"nothing pending", func(*rand.Rand) uint32 { return 0 }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			var seqs []push.Seq
			r := rand.New(rand.NewPCG(1, 2))
			for b.Loop() {
				seqs = p.inbox(seqs[:0], c.user(r), 1)
			}
		})
	}
}

// Receipts of a thousand acknowledgements each, as a gateway gathers them in a second, from bytes to pending.
func BenchmarkReceipts(b *testing.B) {
	var s *shard
	r := rand.New(rand.NewPCG(1, 2))
	var receipts [256][]byte
	for i := range receipts {
		rec := wire.Receipt{Received: roaring.New(), Opened: roaring.New()}
		for range 1000 {
			rec.Received.Add(r.Uint32N(million))
		}
		var err error
		if receipts[i], err = wire.EncodeReceipt(rec); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if n%len(receipts) == 0 { // all of them are folded: begin again with users who wait
			b.StopTimer()
			s = livePushes(b, 16)
			b.StartTimer()
		}
		if err := s.foldReceipt(b.Context(), &broker.Message{
			Subject: wire.ReceiptSubject(app, 0, push.Seq(n%16+1)), Data: receipts[n%len(receipts)], Seq: uint64(n + 1),
		}, hour()); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric(1000*float64(b.N)/b.Elapsed().Seconds(), "acks/s")
}

// From a million users' audience, published, to the entry that outlives us; the broker syncs both to disk.
func BenchmarkAudienceToEntry(b *testing.B) {
	h := newBench(b, push.DefaultSharding, 0)
	h.run(h.b, time.Hour)
	h.ask(0, wire.InboxRequest{Locals: []uint32{0}})
	r := rand.New(rand.NewPCG(1, 2))
	words := make([]uint64, million/64)
	for i := range words {
		words[i] = r.Uint64()
	}
	data, err := wire.EncodeBitmap(roaring.FromDense(words, false))
	if err != nil {
		b.Fatal(err)
	}
	var seq push.Seq
	written := errors.New("written")
	for b.Loop() {
		seq++
		h.publish(wire.AudienceSubject(app, 0, seq), data, strconv.FormatInt(hour(), 10))
		err := h.b.Fold(b.Context(), broker.FoldConfig{
			Stream: wire.PendingStream, Filter: wire.PendingSubject(app, 0, seq),
			Handle: func(*broker.Message) error { return written },
		})
		if !errors.Is(err, written) {
			b.Fatal(err)
		}
	}
}

// What a worker reads again after a crash: a shard of a million users, and a week of a hundred pushes a day, each of which
// half of them have yet to get. B/state is what the bucket holds, MB/heap what the worker does when it has read it.
func BenchmarkRecovery(b *testing.B) {
	const pushes = 700
	h := newBench(b, push.DefaultSharding, 0)
	live := livePushes(b, pushes)
	changes, _ := live.pending.changes(true)
	for _, c := range changes {
		live.pending.reads(&c)
		data, err := wire.EncodePending(c.Pending)
		if err != nil {
			b.Fatal(err)
		}
		h.publish(wire.PendingSubject(app, 0, c.seq), data, "0")
	}
	h.publish(wire.PositionSubject(app, 0), wire.EncodePosition(wire.Position{Audiences: pushes}), "0")
	changes, live = nil, nil
	sizes, err := h.b.Bytes(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	o, err := New(Default(), h.b, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	heap := func() float64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc) / 1e6
	}
	before, s := heap(), (*shard)(nil)
	for b.Loop() {
		s = newShard(o, app, 0)
		if err := s.restore(b.Context()); err != nil || s.pending.pushes() != pushes {
			b.Fatalf("%d pushes, %v", s.pending.pushes(), err)
		}
	}
	b.ReportMetric(float64(sizes[wire.PendingStream]), "B/state")
	b.ReportMetric(heap()-before, "MB/heap")
	runtime.KeepAlive(s)
}
