package history

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/directory"
	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

func TestMain(m *testing.M) { brokertest.VerifyMain(m) }

const app push.AppID = 1400000001

// world is an app on a broker, with a naive memory of everything that was done to it. It plays the matchers and gateways.
type world struct {
	testing.TB
	b    *broker.Broker
	dir  *directory.Directory
	h    *History
	rand *rand.Rand

	names  map[string]push.Ordinal // that exist
	told   map[push.Ordinal][]told // every record that an ordinal ever had
	pushes []*sent
}

// told is one record, and where it stands in its shard's log.
type told struct {
	log    uint64
	record push.Record
}

// sent is a push, with the truth about it.
type sent struct {
	*push.Push
	subject string
	node    predicate.Node
	folded  map[push.Shard]uint64
	part    map[push.Shard]*roaring.Bitmap
	had     map[push.Ordinal]Outcome // Sent, Received or Opened
	revoked bool
	// phones are the users who are to be notified, by channel, with what their tasks say; outcomes are those as published.
	phones   map[string]map[push.Ordinal][]wire.OutcomePart
	outcomes map[wire.NoticePlace]wire.Outcome
}

func newWorld(t testing.TB, seed uint64, change ...func(*broker.Config)) *world {
	t.Helper()
	b := brokertest.Start(t, append([]func(*broker.Config){func(c *broker.Config) { c.Sharding = 4 }}, change...)...)
	if err := b.EnsureApp(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	return &world{
		TB: t, b: b, dir: directory.New(b), h: New(b, slog.New(slog.DiscardHandler)), rand: rand.New(rand.NewPCG(seed, 1)),
		names: map[string]push.Ordinal{}, told: map[push.Ordinal][]told{},
	}
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) shard(o push.Ordinal) push.Shard { return w.b.Sharding().Shard(o) }

// note remembers what the log says of an ordinal now.
func (w *world) note(o push.Ordinal) {
	w.Helper()
	m, err := w.b.Last(w.Context(), wire.UsersStream(app, w.shard(o)), wire.UserSubject(app, w.shard(o), o))
	w.must(err)
	r, err := wire.DecodeRecord(m.Data)
	w.must(err)
	if all := w.told[o]; len(all) == 0 || all[len(all)-1].log != m.Seq {
		w.told[o] = append(all, told{m.Seq, r})
	}
}

func (w *world) register(name string) push.Ordinal {
	w.Helper()
	got, err := w.dir.Register(w.Context(), app, name)
	w.must(err)
	w.names[name] = got[name]
	w.note(got[name])
	return got[name]
}

func (w *world) change(name string, apply func(*push.Record)) {
	w.Helper()
	w.must(w.dir.Update(w.Context(), app, []directory.Change{{Account: name, Apply: func(r *push.Record) error { apply(r); return nil }}}))
	w.note(w.names[name])
}

func (w *world) delete(name string) {
	w.Helper()
	o, err := w.dir.Delete(w.Context(), app, name)
	w.must(err)
	w.note(o)
	delete(w.names, name)
}

// at is what an ordinal's record was at a place of its shard's log; nil when it had none.
func (w *world) at(o push.Ordinal, log uint64) *push.Record {
	var r *push.Record
	for i, v := range w.told[o] {
		if v.log <= log {
			r = &w.told[o][i].record
		}
	}
	return r
}

// push accepts a push and returns when every shard has it in its log.
func (w *world) push(node predicate.Node, lifetime time.Duration) *sent {
	w.Helper()
	p := &push.Push{App: app, Sender: "s", Caller: "admin", At: time.UnixMilli(time.Now().UnixMilli()), Lifetime: lifetime, Condition: predicate.String(node), Body: []byte("[]")}
	data, err := wire.EncodePush(p)
	w.must(err)
	subject := wire.PushSubject(app, fmt.Sprint("p", len(w.pushes)))
	seq, _, err := w.b.Publish(w.Context(), broker.Message{Subject: subject, Data: data, TTL: w.b.Retention()}.Once())
	w.must(err)
	p.Seq = push.Seq(seq)
	s := &sent{
		Push: p, subject: subject, node: node, folded: map[push.Shard]uint64{},
		part: map[push.Shard]*roaring.Bitmap{}, had: map[push.Ordinal]Outcome{},
		phones: map[string]map[push.Ordinal][]wire.OutcomePart{}, outcomes: map[wire.NoticePlace]wire.Outcome{},
	}
	w.pushes = append(w.pushes, s)
	shards, err := w.b.Shards(w.Context(), app)
	w.must(err)
	for _, shard := range shards {
		s.folded[shard] = w.await(wire.UsersStream(app, shard), subject)
	}
	return s
}

var errThere = errors.New("it is there")

// await returns when a stream has a message of a subject, with its sequence.
func (w *world) await(stream, subject string) (seq uint64) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 20*time.Second)
	defer cancel()
	err := w.b.Fold(ctx, broker.FoldConfig{Stream: stream, Filter: subject, Handle: func(m *broker.Message) error {
		seq = m.Seq
		return errThere
	}})
	if !errors.Is(err, errThere) {
		w.Fatalf("wait for %s in %s: %v", subject, stream, err)
	}
	return seq
}

// match publishes a push's audiences, as of a place that is at or behind the push's.
func (w *world) match(s *sent) {
	w.Helper()
	for shard := range s.folded {
		last, err := w.b.LastSeq(w.Context(), wire.UsersStream(app, shard))
		w.must(err)
		s.folded[shard] = last
		users := roaring.New()
		for o := range w.told {
			if r := w.at(o, last); w.shard(o) == shard && r != nil && matches(s.node, r) {
				users.Add(w.b.Sharding().Local(o))
			}
		}
		w.audience(s, shard, users)
	}
}

func (w *world) audience(s *sent, shard push.Shard, users *roaring.Bitmap) {
	w.Helper()
	data, err := wire.EncodeBitmap(users)
	w.must(err)
	_, _, err = w.b.Publish(w.Context(), broker.Message{
		Subject: wire.AudienceSubject(app, shard, s.Seq), Data: data, Header: map[string]string{
			wire.HeaderEvaluated:   strconv.FormatUint(s.folded[shard], 10),
			wire.HeaderCardinality: strconv.FormatUint(users.GetCardinality(), 10),
		},
	}.Once())
	w.must(err)
	s.part[shard] = users
}

// deliver publishes receipts of one kind for some ordinals.
func (w *world) deliver(s *sent, as Outcome, ordinals ...push.Ordinal) {
	w.Helper()
	for _, o := range ordinals {
		set := roaring.BitmapOf(w.b.Sharding().Local(o))
		r := map[Outcome]wire.Receipt{Sent: {Sent: set}, Received: {Received: set}, Opened: {Opened: set}}[as]
		data, err := wire.EncodeReceipt(r)
		w.must(err)
		_, _, err = w.b.Publish(w.Context(), broker.Message{Subject: wire.ReceiptSubject(app, w.shard(o), s.Seq), Data: data})
		w.must(err)
		if order := []Outcome{"", Sent, Received, Opened}; slices.Index(order, as) > slices.Index(order, s.had[o]) {
			s.had[o] = as
		}
	}
}

func (w *world) revoke(s *sent) {
	w.Helper()
	data, err := wire.EncodePush(&push.Push{App: app, Caller: "admin", At: time.UnixMilli(time.Now().UnixMilli()), Revokes: s.Seq})
	w.must(err)
	_, _, err = w.b.Publish(w.Context(), broker.Message{Subject: wire.RevocationSubject(app, s.Seq), Data: data, TTL: w.b.Retention()}.Once())
	w.must(err)
	s.revoked = true
}

// members of a push's audience.
func (s *sent) members(sharding push.Sharding) (all []push.Ordinal) {
	for shard, users := range s.part {
		for _, local := range users.ToArray() {
			all = append(all, sharding.Ordinal(shard, local))
		}
	}
	slices.Sort(all)
	return all
}

func (w *world) trace(s *sent, name string) *Trace {
	w.Helper()
	t, err := w.h.Trace(w.Context(), app, s.Seq, name)
	w.must(err)
	return t
}

var predicateAll predicate.Node = predicate.All{}

func tag(name string) predicate.Node               { return predicate.Tag{Name: name} }
func attr(slot uint8, value string) predicate.Node { return predicate.Attr{Slot: slot, Value: value} }
func all(kids ...predicate.Node) predicate.Node    { return predicate.And{Kids: kids} }
func anyOf(kids ...predicate.Node) predicate.Node  { return predicate.Or{Kids: kids} }
func isNot(kid predicate.Node) predicate.Node      { return predicate.Not{Kid: kid} }
func add(tag string) func(*push.Record)            { return func(r *push.Record) { r.AddTag(tag) } }
func remove(tag string) func(*push.Record)         { return func(r *push.Record) { r.RemoveTag(tag) } }
func set(slot int, value string) func(*push.Record) {
	return func(r *push.Record) { r.Attrs[slot] = value }
}
