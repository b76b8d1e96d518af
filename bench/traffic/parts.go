package traffic

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/bench/service"
	"github.com/carillon-push/carillon/matcher/index"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// audience of a push on a shard, by its condition.
type audience struct {
	users *roaring.Bitmap
	data  []byte
}

// condition of a kind of push.
func (k kind) condition() predicate.Node {
	if k.tag == "" {
		return predicate.All{}
	}
	return predicate.Tag{Name: k.tag}
}

// has says whether a user is of those whom a push of the kind goes to. Who is does not depend on other kinds.
func (k kind) has(user uint32) bool { return spread(user^k.one*0x9e3779b9)%k.one == 0 }

// spread makes of neighbours numbers that have nothing in common.
func spread(x uint32) uint32 {
	x = (x ^ x>>16) * 0x7feb352d
	x = (x ^ x>>15) * 0x846ca68b
	return x ^ x>>16
}

// audiences of each kind of push on a shard, as a matcher's index finds them.
func audiences(o Options) (map[string]audience, error) {
	b := index.NewBuilder(push.DefaultSharding.Width())
	for u := range uint32(o.Users) {
		rec := push.Record{Account: "u"}
		for _, k := range kinds() {
			if k.tag != "" && k.has(u) {
				rec.AddTag(k.tag)
			}
		}
		b.ApplyBatch([]index.Update{{Local: u, Record: &rec}})
	}
	x := b.Index()
	all := map[string]audience{}
	for _, k := range kinds() {
		users := x.Eval(k.condition())
		data, err := wire.EncodeBitmap(users)
		if err != nil {
			return nil, err
		}
		all[predicate.String(k.condition())] = audience{users, data}
	}
	return all, nil
}

// match is the matcher of a shard, until the stage's end.
func (s *stage) match(id push.Shard) {
	_ = s.matchers.Work(s.working, broker.WorkConfig{ // it ends with the stage
		Stream: wire.UsersStream(service.App, id), Durable: wire.MatcherConsumer, Filter: wire.PushFilter(service.App),
		Handle: func(ctx context.Context, m *broker.Message) error {
			seq, err := wire.ParseSource(m.Header[wire.HeaderSource])
			if err != nil {
				return err
			}
			p, err := wire.DecodePush(m.Data, seq)
			if err != nil {
				return err
			}
			a := s.audiences[p.Condition]
			_, _, err = s.matchers.Publish(ctx, broker.Message{
				Subject: wire.AudienceSubject(service.App, id, seq), Data: a.data, Header: map[string]string{
					wire.HeaderEvaluated:   strconv.FormatUint(m.Seq, 10),
					wire.HeaderExpire:      strconv.FormatInt(p.Expire(), 10),
					wire.HeaderCardinality: strconv.FormatUint(a.users.GetCardinality(), 10),
				},
			}.Once())
			return err
		},
	})
}

// gateway reads all audiences, and writes a receipt for each.
type gateway struct {
	b        *broker.Broker
	receipts map[int][]byte // by the length of the audience's data, which tells the kinds apart
	fetched  push.Seq       // the last push whose body it has
	done     *atomic.Int64  // receipts of all gateways
}

// newGateway makes the one with the given number of so many.
func (s *stage) newGateway(b *broker.Broker, number, of int, done *atomic.Int64) (*gateway, error) {
	g := &gateway{b: b, receipts: map[int][]byte{}, done: done}
	for _, a := range s.audiences {
		mine := roaring.New()
		for it := a.users.Iterator(); it.HasNext(); {
			if u := it.Next(); spread(u)%online == 0 && int(spread(u)/online)%of == number {
				mine.Add(u)
			}
		}
		data, err := wire.EncodeReceipt(wire.Receipt{Received: mine})
		if err != nil {
			return nil, err
		}
		g.receipts[len(a.data)] = data
	}
	return g, nil
}

// run follows the audiences from a place on, until ctx ends.
func (g *gateway) run(ctx context.Context, start uint64, ready func()) error {
	return g.b.Fold(ctx, broker.FoldConfig{
		Stream: wire.AudiencesStream, Start: start, CaughtUp: ready,
		Handle: func(m *broker.Message) error {
			place, err := wire.ParsePushPlace(m.Subject)
			if err != nil {
				return err
			}
			if place.Seq != g.fetched { // a push's body is fetched once
				if _, err := g.b.Get(ctx, wire.PushesStream, uint64(place.Seq)); err != nil {
					return err
				}
				g.fetched = place.Seq
			}
			_, err = g.b.Write(wire.ReceiptsStream, broker.Message{
				Subject: wire.ReceiptSubject(service.App, place.Shard, place.Seq), Data: g.receipts[len(m.Data)],
				Header: map[string]string{wire.HeaderExpire: m.Header[wire.HeaderExpire]},
			})
			g.done.Add(1)
			return err
		},
	})
}

// bodySize of a push, in bytes.
const bodySize = 300

// push publishes one as ingest does.
func (s *stage) push(ctx context.Context, k kind) error {
	s.pushed++
	body := make([]byte, bodySize)
	for i := range body {
		body[i] = 'x'
	}
	copy(body, `["`)
	copy(body[bodySize-2:], `"]`)
	p := &push.Push{
		App: service.App, Sender: service.Admin, Random: uint32(s.pushed), At: time.Now(), Lifetime: time.Hour,
		Condition: predicate.String(k.condition()), Body: body,
	}
	data, err := wire.EncodePush(p)
	if err != nil {
		return err
	}
	_, _, err = s.ingest.Publish(ctx, broker.Message{
		Subject: wire.PushSubject(service.App, strconv.Itoa(s.pushed)), Data: data, ID: strconv.Itoa(s.pushed), TTL: s.ingest.Retention(),
	})
	if err != nil {
		return fmt.Errorf("push: %w", err)
	}
	return nil
}
