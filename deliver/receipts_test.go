package deliver

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

func TestReceiptsArePublished(t *testing.T) {
	t.Parallel()
	g := start(t)
	at := g.register("u", "v")
	g.nothing()
	u, v := g.login("u"), g.login("v")
	accepted := time.Now()
	kept, now := g.accept(testApp, accepted, time.Hour), g.accept(testApp, accepted, 0)
	g.audience(kept, at["u"], at["v"])
	place := g.audience(now, at["u"], at["v"])
	u.expect(kept, now)
	u.ack(wire.FrameAck, kept, now, kept)
	u.ack(wire.FrameOpened, kept)
	v.expect(kept, now)
	v.ack(wire.FrameAck, kept)
	if err := g.hub.handled.Await(t.Context(), place); err != nil {
		t.Fatal(err)
	}
	if err := g.publishReceipts(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := g.receipts(t); n != 2 {
		t.Errorf("%d messages for two pushes", n)
	}
	r, expire := g.receipt(kept)
	if fmt.Sprint(r.Received.ToArray(), r.Opened.ToArray()) != fmt.Sprint([]uint32{at["u"], at["v"]}, []uint32{at["u"]}) {
		t.Errorf("received %v, opened %v", r.Received, r.Opened)
	}
	if !r.Sent.IsEmpty() {
		t.Errorf("who has acknowledged it is recorded as only sent: %v", r.Sent)
	}
	if want := expireOf(accepted, time.Hour); expire != want {
		t.Errorf("expires %s, want %s", expire, want)
	}
	r, expire = g.receipt(now)
	if !r.Received.Contains(at["u"]) || r.Received.GetCardinality() != 1 || !r.Opened.IsEmpty() || expire != "0" {
		t.Errorf("online only: received %v, opened %v, expires %s", r.Received, r.Opened, expire)
	}
	if fmt.Sprint(r.Sent.ToArray()) != fmt.Sprint([]uint32{at["v"]}) {
		t.Errorf("sent, and not acknowledged: %v", r.Sent)
	}
	if err := g.publishReceipts(t.Context()); err != nil || g.receipts(t) != 2 {
		t.Errorf("with nothing new there are %d messages, %v", g.receipts(t), err)
	}
}

var errDown = errors.New("the broker is down, says the test")

// What could not be published is published with what came meanwhile, and once.
func TestReceiptsOutliveAFailure(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	real := brokertest.Start(t)
	g := startOn(t, real.Faulty(func(string) error {
		if down.Load() {
			return errDown
		}
		return nil
	}))
	at := g.register("u", "v")
	g.nothing()
	u, v := g.login("u"), g.login("v")
	seq := g.kept()
	g.audience(seq, at["u"], at["v"])
	u.expect(seq)
	v.expect(seq)
	u.ack(wire.FrameAck, seq)
	down.Store(true)
	if err := g.publishReceipts(t.Context()); !errors.Is(err, errDown) {
		t.Errorf("published with a broker that is down: %v", err)
	}
	v.ack(wire.FrameAck, seq)
	down.Store(false)
	if err := g.publishReceipts(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r, _ := g.receipt(seq); r.Received.GetCardinality() != 2 || g.receipts(t) != 1 {
		t.Errorf("received %v in %d messages", r.Received, g.receipts(t))
	}
}

// A login asks for an inbox that has folded what the user acknowledged here just before; when that cannot be published,
// there is no login, and others are not held up.
func TestLoginSettlesWhatWasAcknowledged(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	g := startOn(t, brokertest.Start(t).Faulty(func(op string) error {
		if down.Load() && op == "before write "+wire.ReceiptsStream {
			return errDown
		}
		return nil
	}))
	at := g.register("u", "v")
	var last ask
	g.offline(func(a ask) {
		last = a
		a.answer(t)
	})
	u := g.login("u")
	seq := g.kept()
	g.audience(seq, at["u"])
	u.expect(seq)
	u.ack(wire.FrameAck, seq)
	down.Store(true)
	var r *refused
	if _, err := g.dial(query(t, "u")); !errors.As(err, &r) || r.Status != 503 || r.ErrorCode != 91000 {
		t.Errorf("a login that cannot be settled: %v", err)
	}
	g.login("v")
	if last.Receipts != 0 {
		t.Errorf("asked behind receipt %d when there is none", last.Receipts)
	}
	down.Store(false)
	g.login("u")
	if n := g.receipts(t); last.Receipts != n || n == 0 {
		t.Errorf("asked behind receipt %d of %d", last.Receipts, n)
	}
}

// A client may acknowledge anything. It costs the broker little, others nothing, and is counted.
func TestAcknowledgementsOfAnything(t *testing.T) {
	t.Parallel()
	g := start(t)
	at := g.register("u", "v")
	g.nothing()
	u, v := g.login("u"), g.login("v")
	seq, here := g.kept(), g.accept(foreign, time.Now(), time.Hour)
	if _, err := g.pushes.get(t.Context(), here); err != nil {
		t.Fatal(err)
	}
	there, corrupt := g.accept(foreign, time.Now(), time.Hour), g.acceptRaw(testApp, []byte{99})
	g.audience(seq, at["u"], at["v"])
	u.expect(seq)
	v.expect(seq)
	u.ack(wire.FrameAck, 0, here, there, corrupt, 1<<40, math.MaxUint64)
	v.ack(wire.FrameAck, seq)
	g.login("u") // what it has acknowledged keeps nobody out
	if err := g.publishReceipts(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := g.receipts(t); n != 1 {
		t.Errorf("%d messages, want that of the one push", n)
	}
	if n := g.dropped(dropUnknown); n != 6 {
		t.Errorf("%v acknowledgements dropped as unknown, want 6", n)
	}

	var strange []push.Seq
	for i := range push.Seq(wire.MaxAckSeqs) {
		strange = append(strange, 1<<30+i)
	}
	u.ack(wire.FrameAck, strange...)
	if n := g.dropped(dropFull); n != float64(len(strange)-maxStrange) {
		t.Errorf("%v acknowledgements dropped for want of room, want %d", n, len(strange)-maxStrange)
	}
	u.ack(wire.FrameAck, seq)
	if err := g.publishReceipts(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r, _ := g.receipt(seq); !r.Received.Contains(at["u"]) {
		t.Errorf("a real acknowledgement was lost among the strange ones: %v", r.Received)
	}
}

// A push from before a restart is not known here, and its receipt is taken all the same.
func TestReceiptOfAPushThatIsNotHere(t *testing.T) {
	t.Parallel()
	g := start(t)
	at := g.register("u")
	g.nothing()
	seq := g.kept()
	g.login("u").ack(wire.FrameOpened, seq)
	if err := g.publishReceipts(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r, _ := g.receipt(seq); !r.Opened.Contains(at["u"]) {
		t.Errorf("opened %v", r.Opened)
	}
}

func TestReceiptsAreBounded(t *testing.T) {
	t.Parallel()
	a, into := newAcks(), newAcks()
	for i := range push.Seq(maxAcked) {
		if a.receipt(i+1, false) == nil {
			t.Fatalf("no room for %d pushes", i+1)
		}
	}
	a.of[1].Received.Add(3)
	if a.receipt(maxAcked+1, false) != nil || a.receipt(1, true) == nil {
		t.Error("more than may be are kept, or one that is there is refused")
	}
	for seq, r := range a.of {
		if !into.merge(seq, false, r) {
			t.Fatalf("push %d was not merged", seq)
		}
	}
	if into.merge(maxAcked+1, false, a.of[1]) || !into.merge(1, false, a.of[1]) || !into.has(3) || into.has(4) {
		t.Error("merging is not bounded, or loses who acknowledged")
	}
}

// Whoever waits for somebody else's publishing does not wait longer than its login may.
func TestSettlingEndsWithTheLogin(t *testing.T) {
	t.Parallel()
	s := newShard(testDeliver(), testApp, 0)
	s.acks.receipt(1, false).Received.Add(3)
	s.publish <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.d.settle(ctx, s, 3); !errors.Is(err, context.Canceled) {
		t.Errorf("settled: %v", err)
	}
	if _, err := s.d.settle(ctx, s, 4); err != nil {
		t.Errorf("who has acknowledged nothing: %v", err)
	}
}

// knowing is a Deliver that has so many pushes, the first with the sequence 1, and counts.
func knowing(t testing.TB, n int) *Deliver {
	t.Helper()
	x, s, _ := crowd(t, 1)
	var err error
	if x.d.pushes, err = newPushes(nil); err != nil {
		t.Fatal(err)
	}
	for i := range push.Seq(n) {
		x.d.pushes.cache.Add(i+1, &known{app: s.app})
	}
	return x.d
}

func TestAcknowledgeAllocates(t *testing.T) {
	d := knowing(t, 2)
	s, seqs := newShard(d, testApp, 0), []push.Seq{1, 2}
	for i := range uint32(1000) { // what grows once
		d.acknowledge(s, i, seqs, false)
		d.acknowledge(s, i, seqs, true)
	}
	i := uint32(0)
	if n := testing.AllocsPerRun(500, func() {
		d.acknowledge(s, i, seqs, false)
		d.acknowledge(s, i, seqs, true)
		i++
	}); n != 0 {
		t.Errorf("an acknowledgement allocates %v times", n)
	}
}

// BenchmarkAcknowledge is one acknowledgement of one push, of users in turn.
func BenchmarkAcknowledge(b *testing.B) {
	d := knowing(b, 100)
	s, seqs := newShard(d, testApp, 0), []push.Seq{0}
	b.ReportAllocs()
	for i := uint32(0); b.Loop(); i++ {
		seqs[0] = push.Seq(i%100 + 1)
		d.acknowledge(s, i/100%(1<<20), seqs, false)
	}
}
