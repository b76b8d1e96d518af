package broker_test

import (
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// How fast a shard's log is replayed, in records a second.
func BenchmarkFold(b *testing.B) {
	br := brokertest.Start(b)
	if err := br.EnsureShard(b.Context(), app, 0); err != nil {
		b.Fatal(err)
	}
	const records, batch = 200_000, 1000
	rec := wire.AppendRecord(nil, &push.Record{Account: "somebody", Tags: []string{"a", "b", "c", "d"}})
	for i := 0; i < records; i += batch {
		var msgs []broker.Message
		for j := range batch {
			msgs = append(msgs, broker.Message{Subject: wire.UserSubject(app, 0, push.Ordinal(i+j)), Data: rec})
		}
		if _, err := br.Write(wire.UsersStream(app, 0), msgs...); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		err := br.Fold(b.Context(), broker.FoldConfig{
			Stream: wire.UsersStream(app, 0), StopWhenRead: true,
			Handle: func(*broker.Message) error { n++; return nil },
		})
		if err != nil || n != records {
			b.Fatalf("%d records, %v", n, err)
		}
	}
	b.ReportMetric(records*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// How long writers of one message wait when so many write at once.
func BenchmarkWrite(b *testing.B) {
	for _, writers := range []int{1, 4, 12, 16, 100, 1000} {
		b.Run(strconv.Itoa(writers), func(b *testing.B) {
			br := brokertest.Start(b)
			if err := br.EnsureApp(b.Context(), app); err != nil {
				b.Fatal(err)
			}
			var n atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for range writers {
				wg.Go(func() {
					for {
						i := n.Add(1)
						if i > int64(b.N) {
							return
						}
						if _, err := br.Write(wire.AccountsStream(app), account(strconv.FormatInt(i, 10)).Once()); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
		})
	}
}
