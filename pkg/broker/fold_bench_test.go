package broker_test

import (
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
