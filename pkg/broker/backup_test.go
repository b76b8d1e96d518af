package broker_test

import (
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/wire"
)

// Copies of the directories of a cluster whose servers are all stopped are a backup of it, also at other addresses; and the
// servers say how their cluster is.
func TestACopyOfAClusterIsABackup(t *testing.T) {
	t.Parallel()
	configs := brokertest.Configs(t, 3)
	brokers := openAll(t, configs)
	publishN(t, brokers[0], 20)
	eventually(t, func() bool {
		held := 0
		for _, b := range brokers {
			if s, ok := b.State(); ok && s.Leader && s.Leaderless == 0 && s.Lagging == 0 && s.Streams["AUDIENCES"] > 0 {
				held++
			}
		}
		return held == len(brokers)
	})
	brokers[2].Close()
	eventually(t, func() bool {
		lagging := 0
		for _, b := range brokers[:2] {
			s, _ := b.State()
			lagging += s.Lagging
		}
		return lagging > 0
	})
	for _, b := range brokers[:2] {
		b.Close()
	}
	restored := brokertest.Configs(t, 3)
	for i := range restored {
		if err := os.CopyFS(restored[i].Dir, os.DirFS(configs[i].Dir)); err != nil {
			t.Fatal(err)
		}
	}
	for i, b := range openAll(t, restored) {
		defer b.Close()
		for seq := range uint64(20) {
			m, err := b.Get(t.Context(), wire.AudiencesStream, seq+1)
			if err != nil || m.Subject != fmt.Sprintf("audience.1.0.%d", seq+1) {
				t.Fatalf("server %d has %v of message %d, %v", i, m, seq+1, err)
			}
		}
	}
}

// openAll opens the servers of a cluster at the same time.
func openAll(t *testing.T, configs []broker.Config) []*broker.Broker {
	t.Helper()
	brokers := make([]*broker.Broker, len(configs))
	var wg sync.WaitGroup
	for i, cfg := range configs {
		wg.Go(func() {
			b, err := broker.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Errorf("open server %d: %v", i, err)
				return
			}
			brokers[i] = b
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return brokers
}
