package broker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/wire"
)

// gauges are the values of the broker's metrics, by name and labels.
func gauges(t *testing.T, b *broker.Broker) map[string]float64 {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(b.Collector())
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range all {
		for _, m := range f.Metric {
			name := f.GetName()
			for _, l := range m.Label {
				name += " " + l.GetValue()
			}
			values[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return values
}

func publishN(t *testing.T, b *broker.Broker, n int) {
	t.Helper()
	for i := range n {
		if _, _, err := b.Publish(t.Context(), broker.Message{Subject: fmt.Sprintf("audience.1.0.%d", i+1), Data: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
}

// A fold whose handler does not return is stuck, with what is before it; when it goes on it is not, and an idle one never is.
func TestStuckFold(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	caught, entered, release, done := make(chan struct{}), make(chan struct{}, 1), make(chan struct{}), make(chan struct{}, 8)
	wg.Go(func() {
		_ = b.Fold(ctx, broker.FoldConfig{
			Name: "a fold", Stream: wire.AudiencesStream, CaughtUp: func() { close(caught) },
			Handle: func(m *broker.Message) error {
				if m.Seq == 1 {
					entered <- struct{}{}
					<-release
				}
				done <- struct{}{}
				return nil
			},
		})
	})
	<-caught
	b.Look(t.Context())
	if stuck := b.Stuck(0); len(stuck) != 0 {
		t.Errorf("an idle fold is stuck: %v", stuck)
	}
	publishN(t, b, 3)
	<-entered
	b.Look(t.Context())
	stuck := b.Stuck(0)
	if len(stuck) != 1 || !strings.Contains(stuck[0].Error(), "a fold of AUDIENCES has not moved") || !strings.Contains(stuck[0].Error(), "3 messages") {
		t.Errorf("stuck: %v", stuck)
	}
	if n := len(b.Stuck(0, "another")); n != 0 {
		t.Errorf("%d of another name are stuck", n)
	}
	if n := len(b.Stuck(time.Hour)); n != 0 {
		t.Errorf("%d are stuck for an hour", n)
	}
	g := gauges(t, b)
	if g["carillon_broker_fold_lag_messages a fold"] != 3 || g["carillon_broker_fold_still_seconds a fold"] <= 0 || g["carillon_broker_folds a fold"] != 1 {
		t.Errorf("metrics: %v", g)
	}
	close(release)
	for range 3 {
		<-done
	}
	eventually(t, func() bool {
		b.Look(t.Context())
		return len(b.Stuck(0)) == 0 && gauges(t, b)["carillon_broker_fold_lag_messages a fold"] == 0
	})
}

// A task that fails again and again keeps the worker where it is.
func TestStuckWork(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	publishN(t, b, 2)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	tried := make(chan struct{}, 1024)
	wg.Go(func() {
		_ = b.Work(ctx, broker.WorkConfig{
			Name: "a worker", Stream: wire.AudiencesStream, Durable: "d", Filter: "audience.>",
			Handle: func(context.Context, *broker.Message) error {
				tried <- struct{}{}
				return errors.New("it cannot be done")
			},
		})
	})
	<-tried
	b.Look(t.Context())
	<-tried
	b.Look(t.Context())
	eventually(t, func() bool {
		stuck := b.Stuck(0)
		return len(stuck) == 1 && strings.Contains(stuck[0].Error(), "a worker of AUDIENCES has not moved") && strings.Contains(stuck[0].Error(), "2 messages")
	})
	g := gauges(t, b)
	if g["carillon_broker_tasks_total failed"] < 1 || g["carillon_broker_fold_lag_messages a worker"] != 2 {
		t.Errorf("metrics: %v", g)
	}
}

// eventually waits until something holds.
func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(20 * time.Second)
	for !holds() {
		select { // the ticker wakes it, the time ends it
		case <-tick.C:
		case <-late:
			t.Fatal("it never came to hold")
		}
	}
}

// A broker that has no room says so, and that it has again, also to who does not write any more.
func TestFull(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, func(c *broker.Config) { c.StoreLimit = 1 << 20 })
	if err := b.Writable(t.Context()); err != nil {
		t.Fatal(err)
	}
	big := make([]byte, 200<<10)
	var err error
	stored := uint64(0)
	for ; err == nil && stored < 20; stored++ {
		_, _, err = b.Publish(t.Context(), broker.Message{Subject: fmt.Sprintf("audience.1.0.%d", stored+1), Data: big})
	}
	if !errors.Is(err, broker.ErrRefused) {
		t.Fatalf("a broker that is full says %v", err)
	}
	if err := b.Writable(t.Context()); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("it is writable: %v", err)
	}
	g := gauges(t, b)
	if g["carillon_broker_full"] != 1 || g["carillon_broker_writes_total full"] < 1 || g["carillon_broker_store_limit_bytes"] != 1<<20 ||
		g["carillon_broker_stream_bytes AUDIENCES"] < 200<<10 || g["carillon_broker_cluster_leader"] != 1 || g["carillon_broker_store_free_bytes"] == 0 {
		t.Errorf("metrics: %v", g)
	}
	for seq := range stored - 1 {
		if err := b.Delete(t.Context(), wire.AudiencesStream, seq+1); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Writable(t.Context()); err != nil {
		t.Errorf("it has room again, and says %v", err)
	}
	if g := gauges(t, b); g["carillon_broker_full"] != 0 {
		t.Errorf("metrics: %v", g)
	}
}
