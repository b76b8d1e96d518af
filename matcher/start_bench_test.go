package matcher

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// startUsers fill one shard of the default width almost wholly; each has ten tags of 100,000 and a value in every slot.
const startUsers = 1_000_000

func startRecord(u int) *push.Record {
	r := rand.New(rand.NewPCG(uint64(u), 17))
	rec := &push.Record{Account: fmt.Sprint("u", u)}
	for range 10 {
		rec.AddTag(fmt.Sprint("tag-", int(100_000*r.Float64()*r.Float64()*r.Float64())))
	}
	for s := range rec.Attrs {
		rec.Attrs[s] = fmt.Sprint("value-", r.IntN([push.AttrSlots]int{2, 5, 10, 50, 100, 350, 1000, 10_000, 100_000, 1_000_000}[s]))
	}
	return rec
}

// BenchmarkStart is how long a full shard takes until a matcher can match it: from its log, and from a snapshot that is all
// of it.
func BenchmarkStart(b *testing.B) {
	br := brokertest.Start(b)
	if err := br.EnsureShard(b.Context(), app, 0); err != nil {
		b.Fatal(err)
	}
	for from := 1; from < startUsers; from += 1000 {
		var msgs []broker.Message
		for u := from; u < min(from+1000, startUsers); u++ {
			msgs = append(msgs, broker.Message{Subject: wire.UserSubject(app, 0, push.Ordinal(u)), Data: wire.AppendRecord(nil, startRecord(u))})
		}
		if _, err := br.Write(wire.UsersStream(app, 0), msgs...); err != nil {
			b.Fatal(err)
		}
	}
	cfg := Default()
	m, err := New(cfg, br, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	log := func() *shard {
		s := newShard(m, &broker.Hold{App: app})
		if err := br.Fold(b.Context(), broker.FoldConfig{
			Stream: wire.UsersStream(app, 0), Start: s.load(b.Context()) + 1, StopWhenRead: true, Handle: s.fold, CaughtUp: s.caughtUp,
		}); err != nil {
			b.Fatal(err)
		}
		if s.index.Users() != startUsers-1 {
			b.Fatal(s.index.Users())
		}
		return s
	}
	b.Run("log", func(b *testing.B) {
		for b.Loop() {
			log()
		}
	})
	full := log()
	start := time.Now()
	snap, err := full.put(b.Context(), full.at.At())
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("a snapshot of %d bytes, put in %v", snap.bytes, time.Since(start))
	b.Run("snapshot", func(b *testing.B) {
		for b.Loop() {
			log()
		}
	})
}
