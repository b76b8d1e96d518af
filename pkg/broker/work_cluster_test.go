package broker_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/wire"
)

// A worker that has lost its server goes on with the consumer that it had, without a word to the leader of the cluster, who
// may be gone too; one that is really gone it makes anew.
func TestAWorkerNeedsNoLeaderOfTheCluster(t *testing.T) {
	t.Parallel()
	servers := brokertest.Cluster(t)
	const durable = "tasks"
	lost := (servers.Leader(wire.AudiencesStream) + 1) % 3
	observer := (lost + 1) % 3
	nc, js := client(t, servers.URL(observer))
	var made, asked atomic.Int64
	_, err := nc.Subscribe("$JS.API.CONSUMER.>", func(m *nats.Msg) {
		switch {
		case strings.Contains(m.Subject, "CREATE") && strings.Contains(m.Subject, durable):
			made.Add(1)
		case m.Subject == wire.ConsumerInfoSubject(wire.AudiencesStream, durable):
			asked.Add(1)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	cfg := broker.Default()
	cfg.URL, cfg.Replicas = servers.URL(lost), 3
	b, err := broker.Connect(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	ctx, stop := context.WithCancel(t.Context())
	var ended sync.WaitGroup
	defer ended.Wait()
	defer stop()
	done := make(chan uint64, 16)
	ended.Go(func() {
		err := b.Work(ctx, broker.WorkConfig{
			Stream: wire.AudiencesStream, Durable: durable, Filter: "audience.>",
			Handle: func(_ context.Context, m *broker.Message) error { done <- m.Seq; return nil },
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the work ended with %v", err)
		}
	})
	last := uint64(0)
	task := func() {
		t.Helper()
		m := broker.Message{Subject: "audience.1.0.1", ID: nats.NewInbox()}
		seq, _, err := servers.Broker(observer).Publish(t.Context(), m)
		for try := 0; err != nil && try < 50; try++ {
			seq, _, err = servers.Broker(observer).Publish(t.Context(), m)
		}
		if err != nil {
			t.Fatal(err)
		}
		for last < seq { // one may come twice
			last = <-done
		}
	}
	task()
	if n := made.Load(); n != 1 {
		t.Fatalf("the consumer was made %d times", n)
	}
	if leader, err := b.ConsumerLeader(t.Context(), wire.AudiencesStream, durable); err != nil || leader == "" {
		t.Errorf("the consumer is led by %q, %v", leader, err)
	}
	if _, err := b.ConsumerLeader(t.Context(), wire.AudiencesStream, "none"); err == nil {
		t.Error("a consumer that is not there is led")
	}
	servers.Stop(lost)
	task()
	if n := made.Load(); n != 1 || asked.Load() == 0 {
		t.Errorf("the consumer was made %d times, and %d times it was asked for", n, asked.Load())
	}
	if err := js.DeleteConsumer(t.Context(), wire.AudiencesStream, durable); err != nil {
		t.Fatal(err)
	}
	task()
	if n := made.Load(); n != 2 {
		t.Errorf("the consumer was made %d times, and was once gone", n)
	}
}
