package offline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// bench is a broker, and the oracle of what has been published on it: who waits for what, and
// the last places in both logs, by shard.
type bench struct {
	testing.TB
	b *broker.Broker

	mu      sync.Mutex
	waiting map[push.Shard]map[push.Seq]*roaring.Bitmap
	at      map[push.Shard]wire.Position
}

func newBench(t testing.TB, bits push.Sharding, shards ...push.Shard) *bench {
	return benchOn(t, brokertest.Start(t, func(c *broker.Config) { c.Sharding = bits }), shards...)
}

func benchOn(t testing.TB, b *broker.Broker, shards ...push.Shard) *bench {
	h := &bench{
		TB: t, b: b,
		waiting: map[push.Shard]map[push.Seq]*roaring.Bitmap{}, at: map[push.Shard]wire.Position{},
	}
	for _, s := range shards {
		h.shard(s)
	}
	return h
}

func (h *bench) shard(s push.Shard) {
	if err := h.b.EnsureShard(h.Context(), app, s); err != nil {
		h.Fatal(err)
	}
	h.waiting[s] = map[push.Seq]*roaring.Bitmap{}
}

// hour is an end that no test lives to see.
func hour() int64 { return time.Now().Add(time.Hour).Unix() }

func (h *bench) publish(subject string, data []byte, expire string) uint64 {
	seq, _, err := h.b.Publish(h.Context(), broker.Message{Subject: subject, Data: data, Header: map[string]string{wire.HeaderExpire: expire}})
	if err != nil {
		h.Error(err)
	}
	return seq
}

// audience publishes one as a matcher does.
func (h *bench) audience(s push.Shard, seq push.Seq, expire int64, users ...uint32) uint64 {
	data, err := wire.EncodeBitmap(roaring.BitmapOf(users...))
	if err != nil {
		h.Error(err)
	}
	place := h.publish(wire.AudienceSubject(app, s, seq), data, strconv.FormatInt(expire, 10))
	h.mu.Lock()
	defer h.mu.Unlock()
	if expire > time.Now().Unix() {
		h.waiting[s][seq] = roaring.BitmapOf(users...)
	}
	h.at[s] = further(h.at[s], wire.Position{Audiences: place})
	return place
}

// receipt publishes one as a gateway does; of the users every second has only opened the push.
func (h *bench) receipt(s push.Shard, seq push.Seq, expire int64, users ...uint32) uint64 {
	r := wire.Receipt{Received: roaring.New(), Opened: roaring.New()}
	for i, u := range users {
		if i%2 == 0 {
			r.Received.Add(u)
		} else {
			r.Opened.Add(u)
		}
	}
	data, err := wire.EncodeReceipt(r)
	if err != nil {
		h.Error(err)
	}
	place := h.publish(wire.ReceiptSubject(app, s, seq), data, strconv.FormatInt(expire, 10))
	h.mu.Lock()
	defer h.mu.Unlock()
	if b := h.waiting[s][seq]; b != nil {
		for _, u := range users {
			b.Remove(u)
		}
	}
	h.at[s] = further(h.at[s], wire.Position{Receipts: place})
	return place
}

// run starts a worker; stop ends it and returns when it has ended.
func (h *bench) run(b *broker.Broker, checkpoint time.Duration) (o *Offline, stop func()) {
	o, err := New(Config{Apps: []push.AppID{app}, Standby: 1, Checkpoint: checkpoint}, b, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	if err != nil {
		h.Fatal(err)
	}
	if o.Ready() == nil {
		h.Error("ready before it has begun")
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- o.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			h.Errorf("the worker ended with %v", err)
		}
	})
	h.Cleanup(stop)
	return o, stop
}

// reader starts a worker that answers and cannot write, so that it leaves the bucket as it found it.
func (h *bench) reader() (stop func()) {
	view := h.b.Faulty(func(string) error { return brokertest.ErrCrash })
	_, stop = h.run(view, time.Hour)
	return stop
}

// ask is a login, repeated until a worker answers.
func (h *bench) ask(s push.Shard, q wire.InboxRequest) []push.Seq {
	for {
		data, err := h.b.Request(h.Context(), wire.InboxSubject(app, s), wire.EncodeInboxRequest(q))
		if errors.Is(err, broker.ErrUnavailable) || err != nil && strings.Contains(err.Error(), "behind") {
			continue
		}
		all := [][]push.Seq{nil}
		if err == nil {
			all, err = wire.DecodeInboxes(data)
		}
		if err != nil {
			h.Error(err)
			return nil
		}
		return all[0]
	}
}

// answers compares the inboxes of all users with the oracle.
func (h *bench) answers(when string) {
	h.Helper()
	for s, pushes := range h.waiting {
		for u := range h.b.Sharding().Width() {
			var want []push.Seq
			for seq, users := range pushes {
				if users.Contains(u) {
					want = append(want, seq)
				}
			}
			slices.Sort(want)
			got := h.ask(s, wire.InboxRequest{Locals: []uint32{u}, Audiences: h.at[s].Audiences, Receipts: h.at[s].Receipts})
			if !slices.Equal(got, want) {
				h.Fatalf("%s: user %d of shard %d gets %v, want %v", when, u, s, got, want)
			}
		}
	}
}

// written waits until the shards' entries are exactly what the oracle says and their positions as far as the logs, or
// until given up is closed.
func (h *bench) written(givenUp <-chan struct{}) {
	ctx, cancel := context.WithCancel(h.Context())
	defer cancel()
	go func() {
		select {
		case <-givenUp:
			cancel()
		case <-ctx.Done():
		}
	}()
	done := errors.New("written")
	for s, pushes := range h.waiting {
		want, have := map[string]string{}, map[string]string{}
		for seq, users := range pushes {
			want[wire.PendingSubject(app, s, seq)] = users.String()
		}
		if h.at[s] != (wire.Position{}) {
			want[wire.PositionSubject(app, s)] = fmt.Sprint(h.at[s])
		}
		if len(want) == 0 {
			continue
		}
		err := h.b.Fold(ctx, broker.FoldConfig{
			Stream: wire.PendingStream, Filter: wire.PendingFilter(app, s),
			Handle: func(m *broker.Message) error {
				if m.Subject == wire.PositionSubject(app, s) {
					if at, err := wire.DecodePosition(m.Data); err == nil {
						have[m.Subject] = fmt.Sprint(at)
					}
				} else if p, err := wire.DecodePending(m.Data, h.b.Sharding().Width()); err == nil {
					have[m.Subject] = p.Users.String()
				}
				for k, v := range want {
					if have[k] != v {
						return nil
					}
				}
				if len(have) > len(want) {
					h.Errorf("entries %v, want %v", have, want)
				}
				return done
			},
		})
		if !errors.Is(err, done) && ctx.Err() == nil {
			h.Error(err)
		}
	}
}
