package deliver

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/nats-io/nuid"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/directory"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

const (
	testApp push.AppID = 1400000001
	foreign push.AppID = 1400000002
	testKey            = "a key for tests only"
	wait               = 20 * time.Second // bounds how long a test waits for an event
)

// gateway is a Deliver on a real broker, with everything around it played by the test: there is neither matcher nor
// offline worker.
type gateway struct {
	*Deliver
	t      testing.TB
	b      *broker.Broker
	server *httptest.Server
	logins sync.WaitGroup // that are under way
	stop   func()         // ends Run and waits for it
}

// start runs a gateway until the test ends. Receipts are published only by hand.
func start(t testing.TB, change ...func(*Config)) *gateway {
	t.Helper()
	return startOn(t, brokertest.Start(t), change...)
}

func startOn(t testing.TB, b *broker.Broker, change ...func(*Config)) *gateway {
	t.Helper()
	cfg := Default()
	cfg.Apps = []App{{ID: testApp, Keys: []string{testKey}}}
	cfg.Receipts, cfg.Drain = time.Hour, 0
	for _, c := range change {
		c(&cfg)
	}
	if err := b.EnsureApp(t.Context(), testApp); err != nil {
		t.Fatal(err)
	}
	d, err := New(cfg, b, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{Deliver: d, t: t, b: b}
	g.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.logins.Add(1)
		defer g.logins.Done()
		d.Handler().ServeHTTP(w, r)
	}))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	g.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("the gateway ended with: %v", err)
		}
	})
	t.Cleanup(func() {
		g.stop()
		g.server.Close()
	})
	select {
	case <-d.live:
	case <-time.After(wait):
		t.Fatal("live pushes are not heard")
	}
	return g
}

// register makes accounts and gives their places, all in shard 0.
func (g *gateway) register(names ...string) map[string]uint32 {
	g.t.Helper()
	ordinals, err := directory.New(g.b).Register(g.t.Context(), testApp, names...)
	if err != nil {
		g.t.Fatal(err)
	}
	places := map[string]uint32{}
	for n, o := range ordinals {
		places[n] = g.b.Sharding().Local(o)
	}
	return places
}

// accept puts a push on the broker, as ingest does.
func (g *gateway) accept(app push.AppID, at time.Time, lifetime time.Duration) push.Seq {
	g.t.Helper()
	data, err := wire.EncodePush(&push.Push{
		App: app, Sender: "sender", Caller: "caller", At: at, Lifetime: lifetime, Body: json.RawMessage(`[]`),
	})
	if err != nil {
		g.t.Fatal(err)
	}
	return g.acceptRaw(app, data)
}

func (g *gateway) acceptRaw(app push.AppID, data []byte) push.Seq {
	g.t.Helper()
	seq, _, err := g.b.Publish(g.t.Context(), broker.Message{Subject: wire.PushSubject(app, nuid.Next()), Data: data})
	if err != nil {
		g.t.Fatal(err)
	}
	return push.Seq(seq)
}

// kept accepts a push that is kept for an hour.
func (g *gateway) kept() push.Seq { return g.accept(testApp, time.Now(), time.Hour) }

// audience publishes an audience in shard 0, as the matcher does, and gives its place.
func (g *gateway) audience(seq push.Seq, users ...uint32) uint64 {
	g.t.Helper()
	data, err := wire.EncodeBitmap(roaring.BitmapOf(users...))
	if err != nil {
		g.t.Fatal(err)
	}
	place, _, err := g.b.Publish(g.t.Context(), broker.Message{Subject: wire.AudienceSubject(testApp, 0, seq), Data: data})
	if err != nil {
		g.t.Fatal(err)
	}
	return place
}

// receipt reads the last receipt of a push, and its header.
func (g *gateway) receipt(seq push.Seq) (wire.Receipt, string) {
	g.t.Helper()
	m, err := g.b.Last(g.t.Context(), wire.ReceiptsStream, wire.ReceiptSubject(testApp, 0, seq))
	if err != nil {
		g.t.Fatalf("the receipt of push %d: %v", seq, err)
	}
	r, err := wire.DecodeReceipt(m.Data, g.b.Sharding().Width())
	if err != nil {
		g.t.Fatal(err)
	}
	return r, m.Header[wire.HeaderExpire]
}

func (g *gateway) receipts(t testing.TB) uint64 {
	t.Helper()
	n, err := g.b.LastSeq(t.Context(), wire.ReceiptsStream)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (g *gateway) dropped(reason string) float64 {
	return valueOf(g.t, g.metrics.acksDropped.WithLabelValues(reason))
}

func valueOf(t testing.TB, c prometheus.Counter) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

// ask is a login that waits for its inbox.
type ask struct {
	wire.InboxRequest
	Local uint32 // of the only login in it
	*broker.Request
}

func (a ask) answer(t testing.TB, seqs ...push.Seq) {
	t.Helper()
	if err := a.Respond(wire.AppendInbox(nil, seqs)); err != nil {
		t.Error(err)
	}
}

// offline plays the offline worker of shard 0: take is called for each login, one at a time.
func (g *gateway) offline(take func(ask)) {
	g.t.Helper()
	g.worker(wire.InboxSubject(testApp, 0), "offline", take)
}

// worker plays those that are asked at a subject.
func (g *gateway) worker(subject, queue string, take func(ask)) {
	g.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done, serving := make(chan error, 1), make(chan struct{})
	go func() {
		done <- g.b.Serve(ctx, subject, queue, func() { close(serving) }, func(r *broker.Request) {
			q, err := wire.DecodeInboxRequest(r.Data)
			if err != nil {
				g.t.Error(err)
			}
			take(ask{q, q.Locals[0], r})
		})
	}()
	g.t.Cleanup(func() {
		cancel()
		<-done
	})
	next(g.t, serving)
}

// nothing is an offline worker for whom nothing is pending.
func (g *gateway) nothing() {
	g.offline(func(a ask) { a.answer(g.t) })
}

// asks is an offline worker whose answers the test gives.
func (g *gateway) asks() <-chan ask {
	c := make(chan ask, 64)
	g.offline(func(a ask) { c <- a })
	return c
}

func next[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(wait):
		t.Fatal("waited in vain")
		panic("unreachable")
	}
}

func expireOf(at time.Time, lifetime time.Duration) string {
	return strconv.FormatInt(at.Add(lifetime).Unix(), 10)
}

// ended is a context that has ended.
func ended(t testing.TB) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
