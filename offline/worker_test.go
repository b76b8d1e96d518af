package offline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

const tick = 5 * time.Millisecond // a checkpoint interval that no test has to wait for

func TestAudienceThenReceipts(t *testing.T) {
	t.Parallel()
	h := newBench(t, 4, 0, 3)
	o, _ := h.run(h.b, tick)
	e := hour()
	h.audience(0, 5, e, 0, 1, 2, 15)
	h.audience(3, 5, e, 1, 2, 3)
	h.audience(0, 9, e, 1, 2)
	h.audience(3, 10, e) // nobody
	h.answers("audiences alone")
	if err := o.Ready(); err != nil {
		t.Errorf("it answers, and says %v", err)
	}
	h.receipt(0, 5, e, 1, 2)
	h.receipt(0, 5, e, 2, 7) // one has it twice, one never was to get it
	h.receipt(3, 5, e, 3)
	h.receipt(0, 9, e, 2, 1)
	h.answers("with receipts")
	h.written(nil)
}

// The bucket has one entry for each push and shard, however many users; it goes with its push.
func TestEntries(t *testing.T) {
	t.Parallel()
	h := newBench(t, 4, 0)
	h.run(h.b, tick)
	now := time.Now()
	e := now.Add(100 * time.Second).Unix()
	var all []uint32
	for u := range uint32(16) {
		all = append(all, u)
	}
	h.audience(0, 1, e, all...)
	h.audience(0, 2, 0, all...)          // online users only
	h.audience(0, 3, now.Unix(), all...) // over already
	h.receipt(0, 2, 0, 1, 2)
	h.receipt(0, 3, now.Unix(), 1, 2)
	h.receipt(0, 1, e, 4)
	h.written(nil)
	h.answers("one push of three is kept")
	m, err := h.b.Last(t.Context(), wire.PendingStream, wire.PendingSubject(app, 0, 1))
	if err != nil {
		t.Fatal(err)
	}
	// The write was at some time between now and here, and the lifetime is given in whole seconds.
	ttl, err := time.ParseDuration(m.Header["Nats-TTL"])
	if most, least := time.Unix(e, 0).Sub(now)+time.Second, time.Until(time.Unix(e, 0)); err != nil || ttl > most || ttl < least {
		t.Errorf("the entry's TTL is %v, %v: want what is left of the lifetime, %v to %v", ttl, err, least, most)
	}
	for _, seq := range []push.Seq{2, 3} {
		if _, err := h.b.Last(t.Context(), wire.PendingStream, wire.PendingSubject(app, 0, seq)); !errors.Is(err, broker.ErrNotFound) {
			t.Errorf("push %d has an entry, %v", seq, err)
		}
	}
}

// Only entries that receipts have changed wait for the checkpoint.
func TestNewEntriesAreWrittenAtOnce(t *testing.T) {
	t.Parallel()
	h := newBench(t, 4, 0)
	h.run(h.b, time.Hour)
	h.audience(0, 1, hour(), 1)
	written := errors.New("written")
	err := h.b.Fold(t.Context(), broker.FoldConfig{
		Stream: wire.PendingStream, Filter: wire.PendingFilter(app, 0),
		Handle: func(*broker.Message) error { return written },
	})
	if !errors.Is(err, written) {
		t.Error(err)
	}
}

// A login that names what it has already seen dispatched, or has itself published, waits until that is folded.
func TestRequestsWaitForTheLogs(t *testing.T) {
	t.Parallel()
	h := newBench(t, 4, 0)
	h.run(h.b, tick)
	e := hour()
	place := h.audience(0, 1, e, 1)
	if got := h.ask(0, wire.InboxRequest{Locals: []uint32{1}, Audiences: place}); len(got) != 1 {
		t.Fatalf("inbox %v, want one push", got)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if got := h.ask(0, wire.InboxRequest{Locals: []uint32{1}, Audiences: place + 1}); len(got) != 2 {
			t.Errorf("inbox %v without the audience that was waited for", got)
		}
	})
	wg.Go(func() {
		if got := h.ask(0, wire.InboxRequest{Locals: []uint32{2}, Audiences: place + 1, Receipts: 1}); len(got) != 0 {
			t.Errorf("inbox %v without the receipt that was waited for", got)
		}
	})
	h.audience(0, 2, e, 1, 2)
	h.receipt(0, 2, e, 2)
	wg.Wait()
	h.answers("afterwards")
}

// Places in a log are of all shards: one that another shard has just taken is folded as soon as one knows that nothing of
// one's own is before it, at the latest at the start.
func TestPlacesOfOtherShardsAreFoldedAtTheStart(t *testing.T) {
	t.Parallel()
	h := newBench(t, 4, 0, 1)
	e := hour()
	h.audience(0, 1, e, 1)
	a := h.audience(1, 2, e, 1)
	r := h.receipt(1, 2, e, 1)
	h.run(h.b, tick)
	if got := h.ask(0, wire.InboxRequest{Locals: []uint32{1}, Audiences: a, Receipts: r}); len(got) != 1 {
		t.Fatalf("inbox %v, want one push", got)
	}
}

// Requests that cannot be answered are refused: at once when too many wait, and when the worker ends.
func TestRefusals(t *testing.T) {
	t.Parallel()
	h := newBench(t, 4, 0)
	_, stop := h.run(h.b, tick)
	h.ask(0, wire.InboxRequest{Locals: []uint32{0}})
	if _, err := h.b.Request(t.Context(), wire.InboxSubject(app, 0), []byte{99}); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("a corrupt request: %v", err)
	}
	never := wire.EncodeInboxRequest(wire.InboxRequest{Locals: []uint32{0}, Audiences: 1 << 40})
	errs := make(chan error, maxWaiting+1)
	for range maxWaiting + 1 {
		go func() {
			_, err := h.b.Request(context.Background(), wire.InboxSubject(app, 0), never)
			errs <- err
		}()
	}
	if err := <-errs; err == nil || !strings.Contains(err.Error(), "too many") {
		t.Errorf("the first refusal: %v", err)
	}
	stop()
	for range maxWaiting {
		if err := <-errs; err == nil || !strings.Contains(err.Error(), "behind") {
			t.Fatalf("a request that waited when the worker ended: %v", err)
		}
	}
}

// Who is not answered by the worker that was given a request asks all of the shard's.
func TestAllWorkersAreAsked(t *testing.T) {
	t.Parallel()
	h := newBench(t, 4, 0)
	a := h.audience(0, 1, hour(), 1)
	request := wire.EncodeInboxRequest(wire.InboxRequest{Locals: []uint32{1}, Audiences: a})
	for range 2 {
		h.run(h.b, tick)
	}
	h.ask(0, wire.InboxRequest{Locals: []uint32{1}, Audiences: a})
	answer, err := h.b.Request(t.Context(), wire.InboxOfAllSubject(app, 0), request)
	if err != nil {
		t.Fatal(err)
	}
	if all, err := wire.DecodeInboxes(answer); err != nil || len(all) != 1 || len(all[0]) != 1 {
		t.Errorf("inboxes %v, %v, want one push", all, err)
	}
}

// A gateway of the version before asks for one user, in its own layout.
func TestAnEarlierGatewayIsAnswered(t *testing.T) {
	t.Parallel()
	h := newBench(t, 4, 0)
	a := h.audience(0, 5, hour(), 1)
	h.run(h.b, tick)
	h.ask(0, wire.InboxRequest{Locals: []uint32{1}, Audiences: a})
	request := wire.EncodeInboxRequest(wire.InboxRequest{Locals: []uint32{1}, Audiences: a, Alone: true})
	answer, err := h.b.Request(t.Context(), wire.InboxSubject(app, 0), request)
	if want := wire.EncodeInboxAlone([]push.Seq{5}); err != nil || !bytes.Equal(answer, want) {
		t.Errorf("the answer is %x, %v; want %x", answer, err, want)
	}
}

// What cannot be read is left out, and the shard goes on.
func TestCorruptMessagesStopNothing(t *testing.T) {
	t.Parallel()
	h := newBench(t, 4, 0)
	o, _ := h.run(h.b, tick)
	e, end := hour(), fmt.Sprint(hour())
	h.audience(0, 1, e, 1, 2)
	h.publish(wire.AudienceSubject(app, 0, 2), []byte("no bitmap"), end)
	h.publish(wire.AudienceSubject(app, 0, 3), nil, "soon")
	h.publish(wire.ReceiptSubject(app, 0, 1), []byte("no receipt"), end)
	h.publish(wire.ReceiptSubject(app, 0, 1), nil, "")
	h.publish("audience.7.0.x", nil, end)
	h.publish("receipt.7.0.x", nil, end)
	h.receipt(0, 1, e, 1)
	h.audience(0, 4, e, 1)
	h.answers("with corrupt messages between")
	h.written(nil)
	var m dto.Metric
	if err := o.metrics.corrupt.Write(&m); err != nil || m.Counter.GetValue() != 6 {
		t.Errorf("%v messages counted as corrupt, %v: want 6", m.Counter.GetValue(), err)
	}
}

// A restart has everything, and from the bucket: the logs' messages are gone by then.
func TestRestartFromTheBucket(t *testing.T) {
	t.Parallel()
	h := newBench(t, 4, 0, 1)
	_, stop := h.run(h.b, time.Hour) // the last checkpoint is that of the end
	e := hour()
	h.publish(wire.AudienceSubject(app, 0, 99), nil, "soon") // is corrupt, and counted by whoever reads it
	a := h.audience(0, 1, e, 1, 2, 3)
	h.audience(0, 3, e, 3)
	h.audience(1, 1, e, 1, 2, 3)
	r := h.receipt(0, 1, e, 1)
	h.answers("before")
	stop()
	h.written(nil)
	for stream, place := range map[string]uint64{wire.AudiencesStream: a, wire.ReceiptsStream: r} {
		if err := h.b.Delete(t.Context(), stream, place); err != nil {
			t.Fatal(err)
		}
	}
	o, stop := h.run(h.b, time.Hour)
	h.answers("after a restart")
	var m dto.Metric
	if err := o.metrics.corrupt.Write(&m); err != nil || m.Counter.GetValue() != 0 {
		t.Errorf("a restart has read what was folded, %v", err)
	}
	h.receipt(0, 1, e, 2)
	h.audience(1, 7, e, 9)
	h.answers("with more")
	stop()
	h.written(nil)
	h.reader()
	h.answers("after another restart")
}

// Entries and positions that cannot be read are made again from the logs.
func TestCorruptEntriesHeal(t *testing.T) {
	t.Parallel()
	for _, subject := range []string{wire.PendingSubject(app, 0, 1), wire.PendingSubject(app, 0, 2), wire.PositionSubject(app, 0)} {
		t.Run(subject, func(t *testing.T) {
			t.Parallel()
			h := newBench(t, 4, 0)
			_, stop := h.run(h.b, tick)
			e := hour()
			h.audience(0, 1, e, 1, 2, 3)
			h.receipt(0, 1, e, 1)
			h.audience(0, 2, e, 1, 2, 3)
			h.receipt(0, 1, e, 2)
			h.written(nil)
			stop()
			if _, _, err := h.b.Publish(t.Context(), broker.Message{Subject: subject, Data: []byte{99, 1, 2}}); err != nil {
				t.Fatal(err)
			}
			if _, _, err := h.b.Publish(t.Context(), broker.Message{Subject: "$KV.PENDING.7.0.x", Data: []byte{1}, TTL: time.Minute}); err != nil {
				t.Fatal(err)
			}
			stop = h.reader()
			h.answers("spoilt")
			stop()
			if _, _, err := h.b.Publish(t.Context(), broker.Message{Subject: "$KV.PENDING.7.0.x"}); err != nil { // deleted
				t.Fatal(err)
			}
			h.run(h.b, tick)
			h.answers("healing")
			h.written(nil)
		})
	}
}

func TestShardThatAppearsLater(t *testing.T) {
	t.Parallel()
	h := newBench(t, 4)
	o, _ := h.run(h.b, tick)
	h.shard(4)
	h.audience(4, 1, hour(), 1, 2)
	h.answers("a first shard")
	h.shard(2)
	h.audience(2, 1, hour(), 1, 2)
	h.answers("a second shard")
	if err := o.Ready(); err != nil {
		t.Error(err)
	}
}

// Two workers on all shards give the same answers, one entry for both, and one goes without anybody noticing.
func TestTwoWorkers(t *testing.T) {
	t.Parallel()
	h := newBench(t, 4, 0, 1, 2)
	_, stop := h.run(h.b, tick)
	h.run(h.b, tick)
	e := hour()
	var wg sync.WaitGroup
	for s := range push.Shard(3) {
		wg.Go(func() {
			for seq := range push.Seq(12) {
				h.audience(s, seq+1, e, 0, 3, 6, 9, 12, uint32(seq))
				h.receipt(s, seq/2+1, e, uint32(seq))
				h.receipt(s, seq+1, e, 3*uint32(seq%5))
			}
		})
	}
	wg.Wait()
	for range 3 { // whoever of the two gets the request
		h.answers("both")
	}
	h.written(nil)
	stop()
	h.answers("one is left")
	h.audience(0, 99, e, 1, 2, 3)
	h.receipt(0, 99, e, 1)
	h.answers("one is left, and goes on")
	h.written(nil)
}

// The gauge counts the pushes of all shards.
func TestLiveGaugeIsTheSumOverShards(t *testing.T) {
	t.Parallel()
	m, err := newMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	o := &Offline{metrics: m}
	a, b := checkpoint{s: &shard{o: o}}, checkpoint{s: &shard{o: o}}
	for _, step := range []struct {
		c    *checkpoint
		live int
		want float64
	}{{&a, 3, 3}, {&b, 4, 7}, {&a, 2, 6}, {&b, 0, 2}} {
		step.c.count(step.live)
		var g dto.Metric
		if err := m.live.Write(&g); err != nil || g.Gauge.GetValue() != step.want {
			t.Errorf("the gauge is %v, %v: want %v", g.Gauge.GetValue(), err, step.want)
		}
	}
}

func TestConfigSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
	if _, err := New(Config{}, nil, prometheus.NewRegistry(), nil); err == nil || !strings.Contains(err.Error(), "checkpoint") {
		t.Errorf("err = %v", err)
	}
}

// A worker starts while another one writes the entries anew all the time, without ever pausing.
func TestStartAmongWritesThatNeverPause(t *testing.T) {
	t.Parallel()
	h := benchOn(t, brokertest.Start(t, func(c *broker.Config) { c.Sharding, c.Sync = 4, broker.SyncInterval }), 0, 1)
	_, stop := h.run(h.b, tick)
	e := hour()
	const pushes = 150
	for n := range push.Seq(pushes) {
		h.audience(0, n+1, e, uint32(n)%16, 7)
	}
	h.receipt(0, 3, e, 7)
	h.written(nil)
	stop()
	ctx, pause := context.WithCancel(t.Context())
	var writing sync.WaitGroup
	defer writing.Wait()
	defer pause()
	for w := range push.Seq(4) {
		writing.Go(func() {
			for n := w; ctx.Err() == nil; n += 4 {
				subject := wire.PendingSubject(app, 0, n%pushes+1)
				m, err := h.b.Last(ctx, wire.PendingStream, subject)
				if err == nil {
					_, _, err = h.b.Publish(ctx, broker.Message{Subject: subject, Data: m.Data})
				}
				if err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
	}
	h.run(h.b, tick)
	h.answers("among writes that never pause")
}
