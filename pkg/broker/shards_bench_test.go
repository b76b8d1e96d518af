package broker_test

import (
	"testing"

	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/push"
)

// How long the first writer of a new shard waits for its log.
func BenchmarkEnsureShard(b *testing.B) {
	br := brokertest.Start(b)
	if err := br.EnsureApp(b.Context(), app); err != nil {
		b.Fatal(err)
	}
	for s := push.Shard(0); b.Loop(); s++ {
		if err := br.EnsureShard(b.Context(), app, s); err != nil {
			b.Fatal(err)
		}
	}
}
