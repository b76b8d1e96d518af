package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-push/carillon/deliver/channel"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/directory"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

const app push.AppID = 7

// bench is a broker, and what has been published on it as the other roles do.
type bench struct {
	testing.TB
	b   *broker.Broker
	dir *directory.Directory
}

func newBench(t testing.TB, shards ...push.Shard) *bench {
	h := &bench{TB: t, b: brokertest.Start(t, func(c *broker.Config) { c.Sharding = 12 })}
	h.dir = directory.New(h.b)
	if err := h.b.EnsureApp(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	for _, s := range shards {
		if err := h.b.EnsureShard(t.Context(), app, s); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// phone gives users of a shard a device each on a channel, whose token says whose it is.
func (h *bench) phone(s push.Shard, name string, users ...uint32) {
	h.Helper()
	var writing sync.WaitGroup
	for part := range slices.Chunk(users, max(1, len(users)/16)) {
		writing.Go(func() {
			for _, u := range part {
				err := h.dir.RegisterDevice(h.Context(), app, h.b.Sharding().Ordinal(s, u), wire.Device{
					ID: "of " + name, Channel: name, Token: token(s, u),
				})
				if err != nil {
					h.Error(err)
				}
			}
		})
	}
	writing.Wait()
}

func token(s push.Shard, u uint32) string { return fmt.Sprintf("%d/%d", s, u) }

// push accepts a push with a text, for an hour.
func (h *bench) push(change ...func(*push.Push)) push.Seq {
	h.Helper()
	p := &push.Push{
		App: app, Sender: "s", Caller: "c", At: time.Now(), Lifetime: time.Hour,
		Body: json.RawMessage(`[{"MsgType":"TIMTextElem","MsgContent":{"Text":"hello"}}]`),
	}
	for _, c := range change {
		c(p)
	}
	subject := wire.PushSubject(app, fmt.Sprint(time.Now().UnixNano()))
	if p.Revokes != 0 {
		subject, p.Body = wire.RevocationSubject(app, p.Revokes), nil
	}
	data, err := wire.EncodePush(p)
	if err != nil {
		h.Fatal(err)
	}
	seq, _, err := h.b.Publish(h.Context(), broker.Message{Subject: subject, Data: data})
	if err != nil {
		h.Fatal(err)
	}
	return push.Seq(seq)
}

// audience publishes one as a matcher does, and gives its place.
func (h *bench) audience(s push.Shard, seq, revokes push.Seq, users *roaring.Bitmap) uint64 {
	h.Helper()
	data, err := wire.EncodeBitmap(users)
	if err != nil {
		h.Fatal(err)
	}
	header := map[string]string{wire.HeaderExpire: strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10)}
	if revokes != 0 {
		header[wire.HeaderRevokes] = fmt.Sprint(revokes)
	}
	place, _, err := h.b.Publish(h.Context(), broker.Message{Subject: wire.AudienceSubject(app, s, seq), Data: data, Header: header})
	if err != nil {
		h.Fatal(err)
	}
	return place
}

// receipt publishes one as a gateway does.
func (h *bench) receipt(s push.Shard, seq push.Seq, users *roaring.Bitmap) {
	h.Helper()
	data, err := wire.EncodeReceipt(wire.Receipt{Received: users})
	if err != nil {
		h.Fatal(err)
	}
	header := map[string]string{wire.HeaderExpire: strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10)}
	if _, _, err := h.b.Publish(h.Context(), broker.Message{Subject: wire.ReceiptSubject(app, s, seq), Data: data, Header: header}); err != nil {
		h.Fatal(err)
	}
}

// run starts a worker; stop ends it and returns when it has ended.
func (h *bench) run(b *broker.Broker, channels map[string]Sender, change ...func(*Config)) (stop func()) {
	h.Helper()
	cfg := Config{Apps: []App{{app, channels}}, Concurrency: 2}
	for _, c := range change {
		c(&cfg)
	}
	n, err := New(cfg, b, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	if err != nil {
		h.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			h.Errorf("the worker ended with %v", err)
		}
	})
	h.Cleanup(stop)
	return stop
}

// vendor is a Sender that remembers, and answers as it is told to.
type vendor struct {
	mu      sync.Mutex
	sent    map[push.Seq]map[string]int // how often, by token
	revoked map[string]string           // ids, by token
	answer  func(seq push.Seq, token string, time int) channel.Result
	revokes bool
	news    chan struct{} // capacity 1
}

func newVendor() *vendor {
	return &vendor{sent: map[push.Seq]map[string]int{}, revoked: map[string]string{}, news: make(chan struct{}, 1)}
}

func (v *vendor) tell() {
	select {
	case v.news <- struct{}{}:
	default:
	}
}

func (v *vendor) Send(_ context.Context, n *channel.Notice, tokens []string) []channel.Result {
	v.mu.Lock()
	defer v.mu.Unlock()
	defer v.tell()
	results := make([]channel.Result, len(tokens))
	for i, t := range tokens {
		if v.sent[n.Seq] == nil {
			v.sent[n.Seq] = map[string]int{}
		}
		v.sent[n.Seq][t]++
		if results[i] = (channel.Result{Outcome: channel.Sent, ID: "id of " + t}); v.answer != nil {
			results[i] = v.answer(n.Seq, t, v.sent[n.Seq][t])
		}
	}
	return results
}

func (v *vendor) Revoke(_ context.Context, _ *channel.Notice, tokens, ids []string) []channel.Result {
	v.mu.Lock()
	defer v.mu.Unlock()
	defer v.tell()
	results := make([]channel.Result, len(tokens))
	for i, t := range tokens {
		v.revoked[t] = ids[i]
		results[i] = channel.Result{Outcome: channel.Sent}
	}
	return results
}

func (v *vendor) Revokes() bool { return v.revokes }

// got is a copy of how often each token got a push.
func (v *vendor) got(seq push.Seq) map[string]int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Clone(v.sent[seq])
}

// settled waits until every task of a push's users on a channel is done, and gives what became of them, as
// "result reason" by user.
func (h *bench) settled(seq push.Seq, name string, s push.Shard, tasks int) map[uint32]string {
	h.Helper()
	done := errors.New("all done")
	open := map[int]bool{}
	for i := range tasks {
		open[i] = true
	}
	of := map[uint32]string{}
	err := h.b.Fold(h.Context(), broker.FoldConfig{
		Stream: wire.NoticesStream, Filter: wire.OutcomeShardFilter(app, seq, s),
		Handle: func(m *broker.Message) error {
			place, err := wire.ParseOutcomeSubject(m.Subject)
			if err != nil {
				return err
			}
			o, err := wire.DecodeOutcome(m.Data, h.b.Sharding().Width())
			if err != nil || place.Channel != name || !o.Done {
				return err
			}
			for _, p := range o.Parts {
				for it := p.Users.Iterator(); it.HasNext(); {
					text := p.Result
					if p.Reason != "" {
						text += " " + p.Reason
					}
					of[it.Next()] = text
				}
			}
			if delete(open, place.Task); len(open) == 0 {
				return done
			}
			return nil
		},
	})
	if !errors.Is(err, done) {
		h.Fatal(err)
	}
	return of
}

// cut waits until a shard is known to be cut as far as a place in AUDIENCES.
func (h *bench) cut(s push.Shard, place uint64) {
	h.Helper()
	done := errors.New("cut")
	err := h.b.Fold(h.Context(), broker.FoldConfig{
		Stream: wire.NoticesStream, Filter: wire.CutSubject(app, s),
		Handle: func(m *broker.Message) error {
			at, err := wire.DecodePosition(m.Data)
			if err == nil && at.Audiences >= place {
				return done
			}
			return err
		},
	})
	if !errors.Is(err, done) {
		h.Fatal(err)
	}
}

// leaving waits until no worker holds shard 0 any more: whoever did has been told to stop.
func (h *bench) leaving() {
	h.Helper()
	for {
		_, err := h.b.Request(h.Context(), wire.HolderSubject(wire.RoleNotify, app, 0), nil)
		if errors.Is(err, broker.ErrUnavailable) {
			return
		}
		if err != nil {
			h.Fatal(err)
		}
	}
}

// empty waits until no task is in the queue.
func (h *bench) empty() {
	h.Helper()
	for {
		_, err := h.b.Last(h.Context(), wire.NotifyStream, "notify.>")
		if errors.Is(err, broker.ErrNotFound) {
			return
		}
		if err != nil {
			h.Fatal(err)
		}
	}
}

// users is a set.
func users(of ...uint32) *roaring.Bitmap { return roaring.BitmapOf(of...) }

// span is a set of neighbours, from first to before last.
func span(first, last uint64) *roaring.Bitmap {
	b := roaring.New()
	b.AddRange(first, last)
	return b
}
