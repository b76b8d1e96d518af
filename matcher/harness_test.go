package matcher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const app push.AppID = 7

// bench is a broker whose shards are 256 wide, and the oracle of what stands on it: every version of every record, and
// for each push how many there were when it was published.
type bench struct {
	testing.TB
	b        *broker.Broker
	rand     *rand.Rand
	shards   []push.Shard
	versions map[push.Ordinal][]push.Record
	pushes   map[push.Seq]sent
}

type sent struct {
	push   *push.Push
	node   predicate.Node
	shards []push.Shard
	known  map[push.Ordinal]int // versions that were acknowledged before
}

func newBench(t testing.TB, shards ...push.Shard) *bench {
	h := &bench{
		TB: t, b: brokertest.Start(t, func(c *broker.Config) { c.Sharding = 8 }), rand: rand.New(rand.NewPCG(1, 2)),
		versions: map[push.Ordinal][]push.Record{}, pushes: map[push.Seq]sent{},
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
	h.shards = append(h.shards, s)
}

// change writes n records of one shard that nobody expects, in one batch.
func (h *bench) change(s push.Shard, n int) {
	var msgs []broker.Message
	changed := map[push.Ordinal]push.Record{}
	for range n {
		o := h.b.Sharding().Ordinal(s, h.rand.Uint32N(h.b.Sharding().Width()))
		if _, twice := changed[o]; twice {
			continue
		}
		r := push.Record{Account: "u", Deleted: h.rand.IntN(10) == 0}
		for t := range 3 {
			if !r.Deleted && h.rand.IntN(2) == 0 {
				r.AddTag(fmt.Sprint("t", t))
				r.Attrs[t*4] = fmt.Sprint(h.rand.IntN(3))
			}
		}
		changed[o] = r
		msgs = append(msgs, broker.Message{Subject: wire.UserSubject(app, s, o), Data: wire.AppendRecord(nil, &r)})
	}
	if _, err := h.b.Write(wire.UsersStream(app, s), msgs...); err != nil {
		h.Fatal(err)
	}
	for o, r := range changed {
		h.versions[o] = append(h.versions[o], r)
	}
}

func (h *bench) node(depth int) predicate.Node {
	kinds := 4
	if depth > 0 {
		kinds = 7
	}
	switch h.rand.IntN(kinds) {
	case 0:
		return predicate.All{}
	case 1:
		return predicate.Tag{Name: fmt.Sprint("t", h.rand.IntN(4))}
	case 2:
		return predicate.HasAttr{Slot: uint8(h.rand.IntN(push.AttrSlots))}
	case 3:
		return predicate.Attr{Slot: uint8(4 * h.rand.IntN(3)), Value: fmt.Sprint(h.rand.IntN(4))}
	case 4:
		return predicate.Not{Kid: h.node(depth - 1)}
	case 5:
		return predicate.And{Kids: []predicate.Node{h.node(depth - 1), h.node(depth - 1)}}
	}
	return predicate.Or{Kids: []predicate.Node{h.node(depth - 1), h.node(depth - 1)}}
}

// push publishes one as ingest does.
func (h *bench) push(node predicate.Node) push.Seq {
	p := &push.Push{
		App: app, Sender: "s", Random: h.rand.Uint32(), At: time.Now(), Lifetime: time.Duration(h.rand.IntN(2)) * time.Hour,
		Condition: predicate.String(node), Body: []byte(`[]`),
	}
	data, err := wire.EncodePush(p)
	if err != nil {
		h.Fatal(err)
	}
	seq := h.raw(data)
	known := map[push.Ordinal]int{}
	for o, v := range h.versions {
		known[o] = len(v)
	}
	h.pushes[seq] = sent{p, node, h.shards[:len(h.shards):len(h.shards)], known}
	return seq
}

// raw publishes bytes as a push.
func (h *bench) raw(data []byte) push.Seq {
	seq, _, err := h.b.Publish(h.Context(), broker.Message{
		Subject: wire.PushSubject(app, strconv.Itoa(int(h.rand.Uint32()))), Data: data, TTL: h.b.Retention(),
	})
	if err != nil {
		h.Fatal(err)
	}
	return push.Seq(seq)
}

// run starts a matcher; stop ends it and returns when it has ended.
func (h *bench) run(b *broker.Broker, change ...func(*Config)) (m *Matcher, stop func()) {
	cfg := Default()
	cfg.Apps = []push.AppID{app}
	for _, c := range change {
		c(&cfg)
	}
	m, err := New(cfg, b, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	if err != nil {
		h.Fatal(err)
	}
	if m.Ready() == nil {
		h.Error("ready before it has begun")
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			h.Errorf("the matcher ended with %v", err)
		}
	})
	h.Cleanup(stop)
	return m, stop
}

// audiences waits until every push has its audience on every shard that was there, and compares each with the oracle.
func (h *bench) audiences() {
	h.Helper()
	want, have := 0, map[string]bool{}
	for _, p := range h.pushes {
		want += len(p.shards)
	}
	done := errors.New("all are there")
	err := h.b.Fold(h.Context(), broker.FoldConfig{Stream: wire.AudiencesStream, Handle: func(m *broker.Message) error {
		h.audience(m)
		if have[m.Subject] {
			h.Errorf("%s stands there twice", m.Subject)
		}
		if have[m.Subject] = true; len(have) >= want && m.More == 0 {
			return done
		}
		return nil
	}})
	if !errors.Is(err, done) {
		h.Fatal(err)
	}
	if len(have) != want {
		h.Errorf("%d audiences, want %d", len(have), want)
	}
}

// audience compares one with what may be in it: a user whose every version since the push's publishing matches must be, a
// user of whom none does must not.
func (h *bench) audience(m *broker.Message) {
	place, err := wire.ParsePushPlace(m.Subject)
	if err != nil {
		h.Fatal(err)
	}
	p, ok := h.pushes[place.Seq]
	if !ok {
		h.Errorf("%s is of no push that can be read", m.Subject)
		return
	}
	users, err := wire.DecodeBitmap(m.Data, h.b.Sharding().Width())
	if err != nil {
		h.Fatal(err)
	}
	must, may := roaring.New(), roaring.New()
	for o, versions := range h.versions {
		if h.b.Sharding().Shard(o) != place.Shard {
			continue
		}
		all, any := p.known[o] > 0, false
		for _, r := range versions[max(p.known[o]-1, 0):] {
			match := !r.Deleted && predicate.Match(p.node, subject{&r})
			all, any = all && match, any || match
		}
		if all {
			must.Add(h.b.Sharding().Local(o))
		}
		if any {
			may.Add(h.b.Sharding().Local(o))
		}
	}
	if lost := roaring.AndNot(must, users); !lost.IsEmpty() {
		h.Errorf("%s: %s misses %v", m.Subject, p.push.Condition, lost)
	}
	if extra := roaring.AndNot(users, may); !extra.IsEmpty() {
		h.Errorf("%s: %s has %v too", m.Subject, p.push.Condition, extra)
	}
	if got, want := m.Header[wire.HeaderCardinality], fmt.Sprint(users.GetCardinality()); got != want {
		h.Errorf("%s: cardinality %s, want %s", m.Subject, got, want)
	}
	if got, want := m.Header[wire.HeaderExpire], fmt.Sprint(p.push.Expire()); got != want {
		h.Errorf("%s: expire %s, want %s", m.Subject, got, want)
	}
	at, err := strconv.ParseUint(m.Header[wire.HeaderEvaluated], 10, 64)
	if err != nil || at == 0 {
		h.Errorf("%s: evaluated at %q", m.Subject, m.Header[wire.HeaderEvaluated])
	}
}

type subject struct{ *push.Record }

func (s subject) Attr(slot uint8) string { return s.Attrs[slot] }
