package broker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// client is a connection beside the broker's, as operators and other programs have them.
func client(t *testing.T, url string, opts ...nats.Option) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return nc, js
}

// Every stream, and every consumer that feeds one, is on all three servers; with one of them gone everything goes on, and
// what was written meanwhile is there for the one that comes back.
func TestClusterBearsTheLossOfAServer(t *testing.T) {
	t.Parallel()
	servers := brokertest.Cluster(t)
	b := servers.Broker(0)
	if err := b.EnsureApp(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	if err := b.EnsureShard(t.Context(), app, 0); err != nil {
		t.Fatal(err)
	}
	_, js := client(t, servers.URL(0))
	for info := range js.ListStreams(t.Context()).Info() {
		if info.Config.Replicas != 3 || info.Cluster == nil || len(info.Cluster.Replicas) != 2 {
			t.Errorf("%s has %d replicas: %+v", info.Config.Name, info.Config.Replicas, info.Cluster)
		}
	}
	feed, err := js.PushConsumer(t.Context(), wire.PushesStream, wire.UsersStream(app, 0))
	if err != nil {
		t.Fatal(err)
	}
	if c := feed.CachedInfo().Cluster; c == nil || len(c.Replicas) != 2 {
		t.Errorf("the consumer that feeds the shard is not on three servers: %+v", c)
	}

	const gone = 2
	servers.Stop(gone)
	for i := range 20 {
		if _, err := write(t.Context(), b, account(fmt.Sprint("u", i)).Once()); err != nil {
			t.Fatalf("write with two of three servers: %v", err)
		}
	}
	servers.Start(gone)
	if m, err := servers.Broker(gone).Last(t.Context(), wire.AccountsStream(app), account("u19").Subject); err != nil || m.Seq != 20 {
		t.Errorf("the server that came back has %+v, %v", m, err)
	}
}

// write repeats a create-once write until it is known to be done, as an operator does while a leader is elected.
func write(ctx context.Context, b *broker.Broker, m broker.Message) (uint64, error) {
	for try := 0; ; try++ {
		seqs, err := b.Write(wire.AccountsStream(app), m)
		if err == nil {
			return seqs[0], nil
		}
		if errors.Is(err, broker.ErrConflict) && try > 0 {
			had, err := b.Last(ctx, wire.AccountsStream(app), m.Subject)
			if err != nil {
				return 0, err
			}
			return had.Seq, nil
		}
		if ctx.Err() != nil || try == 20 {
			return 0, err
		}
	}
}

// laggard answers reads of a stream as a replica that has not got anything yet does, or has only what old says. It gives
// how many it has answered; which of its answers were the first is not known.
func laggard(t *testing.T, url, stream string, old *nats.Msg) *atomic.Int64 {
	t.Helper()
	nc, _ := client(t, url)
	var asked atomic.Int64
	answer := func(m *nats.Msg) {
		asked.Add(1)
		reply := nats.NewMsg(m.Reply)
		if old == nil {
			reply.Header.Set("Status", "404")
			reply.Header.Set("Description", "Message Not Found")
		} else {
			reply.Header, reply.Data = old.Header, old.Data
		}
		// The test may be over when the last question comes.
		if err := m.RespondMsg(reply); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
			t.Errorf("answer as a replica: %v", err)
		}
	}
	// The servers answer too: the first answer counts.
	for _, subject := range []string{"$JS.API.DIRECT.GET." + stream, "$JS.API.DIRECT.GET." + stream + ".>"} {
		if _, err := nc.Subscribe(subject, answer); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return &asked
}

const reads = 200

// A replica that is behind says that there is no such message: nobody believes it before the leader has said so.
func TestNotFoundIsTheLeadersWord(t *testing.T) {
	t.Parallel()
	servers := brokertest.Cluster(t)
	b := servers.Broker(0)
	if err := b.EnsureApp(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	stream := wire.AccountsStream(app)
	m := account("u")
	m.Data = []byte("data")
	m.Header = map[string]string{"Name": "value"}
	seqs, err := b.Write(stream, m.Once())
	if err != nil {
		t.Fatal(err)
	}
	asked := laggard(t, servers.URL(0), stream, nil)
	other := servers.Broker(1)
	for i := range reads {
		last, err := b.Last(t.Context(), stream, m.Subject)
		if err != nil || last.Seq != seqs[0] || string(last.Data) != "data" || last.Header["Name"] != "value" || last.Time.IsZero() {
			t.Fatalf("read %d: %+v, %v", i, last, err)
		}
		got, err := other.Get(t.Context(), stream, seqs[0])
		if err != nil || got.Subject != m.Subject {
			t.Fatalf("read %d: %+v, %v", i, got, err)
		}
		many, err := b.LastOf(t.Context(), stream, []string{m.Subject})
		if err != nil || many[m.Subject] == nil {
			t.Fatalf("read %d: %v, %v", i, many, err)
		}
	}
	if asked.Load() == 0 {
		t.Error("the replica that is behind was never asked")
	}
	if _, err := b.Last(t.Context(), stream, account("nobody").Subject); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("somebody who does not exist: %v", err)
	}
	if _, err := b.Get(t.Context(), stream, 99); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("a sequence that does not exist: %v", err)
	}
}

// Whoever wrote, or was refused, does not get from a replica what was there before: a loop of compare-and-set ends.
func TestNobodyReadsWhatTheyHaveReplaced(t *testing.T) {
	t.Parallel()
	servers := brokertest.Cluster(t)
	b, other := servers.Broker(0), servers.Broker(1)
	if err := b.EnsureApp(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	stream, m := wire.DevicesStream(app), broker.Message{Subject: "token.7.x", Data: []byte("first")}
	first, err := b.Write(stream, m.Once())
	if err != nil {
		t.Fatal(err)
	}
	old := nats.NewMsg("")
	old.Header.Set("Nats-Stream", stream)
	old.Header.Set("Nats-Subject", m.Subject)
	old.Header.Set("Nats-Sequence", fmt.Sprint(first[0]))
	old.Header.Set("Nats-Time-Stamp", time.Now().UTC().Format(time.RFC3339Nano))
	old.Data = m.Data
	asked := laggard(t, servers.URL(0), stream, old)

	m.Data = []byte("second")
	second, err := b.Write(stream, m.After(first[0]))
	if err != nil {
		t.Fatal(err)
	}
	for i := range reads {
		if last, err := b.Last(t.Context(), stream, m.Subject); err != nil || last.Seq != second[0] {
			t.Fatalf("read %d of what was written: %+v, %v", i, last, err)
		}
	}
	if _, err := other.Write(stream, m.After(first[0])); !errors.Is(err, broker.ErrConflict) {
		t.Fatalf("a write on top of what is gone: %v", err)
	}
	for i := range reads {
		if last, err := other.Last(t.Context(), stream, m.Subject); err != nil || last.Seq != second[0] || string(last.Data) != "second" {
			t.Fatalf("read %d after a conflict: %+v, %v", i, last, err)
		}
		many, err := other.LastOf(t.Context(), stream, []string{m.Subject})
		if err != nil || many[m.Subject].Seq != second[0] {
			t.Fatalf("read %d after a conflict: %v, %v", i, many, err)
		}
	}
	if asked.Load() == 0 {
		t.Error("the replica that is behind was never asked")
	}
}

// When the server that leads PUSHES goes, pushes flow into the shards again, each once.
func TestSourcingOutlivesTheLeader(t *testing.T) {
	t.Parallel()
	servers := brokertest.Cluster(t)
	if err := servers.Broker(0).EnsureApp(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	const shards = 4
	for s := range shards {
		if err := servers.Broker(0).EnsureShard(t.Context(), app, shard(s)); err != nil {
			t.Fatal(err)
		}
	}
	leader := servers.Leader(wire.PushesStream)
	b := servers.Broker((leader + 1) % 3)
	accepted := map[string]bool{}
	send := func(from, to int) {
		for i := from; i < to; i++ {
			m := broker.Message{Subject: wire.PushSubject(app, fmt.Sprint("p", i))}.Once()
			_, _, err := b.Publish(t.Context(), m)
			for try := 0; err != nil && !(errors.Is(err, broker.ErrConflict) && try > 0) && try < 50; try++ {
				_, _, err = b.Publish(t.Context(), m)
			}
			if err != nil && !errors.Is(err, broker.ErrConflict) {
				t.Fatalf("push %d: %v", i, err)
			}
			accepted[m.Subject] = true
		}
	}
	send(0, 50)
	lost := time.Now()
	servers.Stop(leader)
	send(50, 100)
	for s := range shards {
		got := map[string]int{}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		err := b.Fold(ctx, broker.FoldConfig{
			Stream: wire.UsersStream(app, shard(s)), Filter: wire.PushFilter(app),
			Handle: func(m *broker.Message) error {
				if got[m.Subject]++; len(got) == len(accepted) {
					cancel()
				}
				return nil
			},
		})
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("shard %d has %d of %d pushes: %v", s, len(got), len(accepted), err)
		}
		for subject, n := range got {
			if n != 1 || !accepted[subject] {
				t.Errorf("shard %d has %s %d times", s, subject, n)
			}
		}
	}
	t.Logf("all pushes were in all shards %s after the leader was stopped", time.Since(lost).Round(time.Millisecond))
}

// A server of a cluster whose others are not there does not pretend to be one.
func TestAServerAloneIsNoCluster(t *testing.T) {
	t.Parallel()
	cfg := broker.Default()
	cfg.Dir, cfg.Replicas, cfg.Listen = t.TempDir(), 3, "127.0.0.1:0"
	cfg.Cluster = broker.Cluster{Name: "test", Node: "n0", Listen: "127.0.0.1:0", Routes: []string{"127.0.0.1:1", "127.0.0.1:2"}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if b, err := broker.Open(ctx, cfg, slog.New(slog.DiscardHandler)); err == nil {
		b.Close()
		t.Error("it has opened")
	}
}

func shard(n int) push.Shard { return push.Shard(n) }
