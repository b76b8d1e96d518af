package pending

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/bench/fleet"
	"github.com/carillon-push/carillon/bench/match"
	"github.com/carillon-push/carillon/bench/report"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

const (
	// together is how many logins ask at once.
	together = 32
	// weekPatience bounds each wait for the worker.
	weekPatience = 3 * time.Minute
	// publishers write at once, in shards of their own.
	publishers = 4
)

// mix is whom the pushes of a week wait for. Every shard has the same audiences.
type mix struct {
	name string
	// audiences of the pushes in a shard of so many users, and of each who of them has had it before the worker dies.
	audiences func(o Options, users int) (audiences, had []*roaring.Bitmap)
}

var mixes = []mix{
	{"every other user at random", randomHalves},
	{"5 in 100 to everybody and the others to tags by Zipf's law, half of each push's users having had it", zipf},
}

// randomHalves is the worst that there can be: a bit for each user and push.
func randomHalves(o Options, users int) (audiences, had []*roaring.Bitmap) {
	const different = 16 // pushes, so that every user waits for some
	r := rand.New(rand.NewPCG(6, 1))
	for i := range o.Pushes {
		if i < different {
			audiences = append(audiences, half(users, r))
		} else {
			audiences = append(audiences, audiences[i%different])
		}
	}
	return audiences, nil
}

// zipf takes the tags from the users of the measurement of matching, the more often the more users have one.
func zipf(o Options, users int) (audiences, had []*roaring.Bitmap) {
	r := rand.New(rand.NewPCG(6, 2))
	tags, audiences := map[string]*roaring.Bitmap{}, make([]*roaring.Bitmap, o.Pushes)
	for i := range audiences {
		if i%20 == 0 {
			audiences[i] = roaring.New()
			audiences[i].AddRange(0, uint64(users))
			audiences[i].RunOptimize()
			continue
		}
		has := match.Record(r.Uint32N(uint32(users))).Tags
		tag := has[r.IntN(len(has))]
		if tags[tag] == nil {
			tags[tag] = roaring.New()
		}
		audiences[i] = tags[tag]
	}
	for u := range uint32(users) {
		for _, t := range match.Record(u).Tags {
			if b := tags[t]; b != nil {
				b.Add(u)
			}
		}
	}
	online := half(users, r)
	for _, a := range audiences {
		a.RunOptimize()
		had = append(had, roaring.And(a, online))
	}
	return audiences, had
}

func half(users int, r *rand.Rand) *roaring.Bitmap {
	words := make([]uint64, users/64)
	for w := range words {
		words[w] = r.Uint64()
	}
	return roaring.FromDense(words, false)
}

// week is what a worker makes of a week's pushes, in a process of its own, as is the broker.
type week struct {
	shards         int
	bytes, logs    uint64  // of the entries, and of the audiences
	rss, heap      float64 // of the worker that has been killed and started again
	took           time.Duration
	receipts       int // that came after the last checkpoint
	logins, perCPU float64
	p99            float64 // milliseconds
	waiting        float64 // pushes of a login
}

// measure has an offline worker remember them, kills it, and starts it again.
func (w *week) measure(ctx context.Context, o Options, m mix) (err error) {
	f, err := fleet.Start(ctx, fleet.Shape{Brokers: 1, Offline: 1})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Stop()) }()
	b, err := broker.Open(ctx, f.Broker, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer b.Close()
	if err := b.EnsureApp(ctx, app); err != nil {
		return err
	}
	width := int(b.Sharding().Width())
	w.shards = (o.Week + width - 1) / width
	users := o.Week / w.shards
	audiences, had := m.audiences(o, users)
	for s := range w.shards {
		if err := b.EnsureShard(ctx, app, push.Shard(s)); err != nil {
			return err
		}
	}
	if err := w.publish(ctx, b, audiences, wire.AudienceSubject, wire.EncodeBitmap); err != nil {
		return fmt.Errorf("publish the audiences: %w", err)
	}
	receipt := func(users *roaring.Bitmap) ([]byte, error) {
		return wire.EncodeReceipt(wire.Receipt{Received: users, Opened: roaring.New()})
	}
	if err := w.publish(ctx, b, had, wire.ReceiptSubject, receipt); err != nil {
		return fmt.Errorf("publish receipts: %w", err)
	}
	if err := w.written(ctx, b); err != nil {
		return fmt.Errorf("wait for the entries: %w", err)
	}
	late := make([]*roaring.Bitmap, min(o.Pushes, 100))
	for i := range late {
		late[i] = roaring.BitmapOf(uint32(i), uint32(users/2+i))
	}
	w.receipts = len(late) * w.shards
	if err := w.publish(ctx, b, late, wire.ReceiptSubject, receipt); err != nil {
		return fmt.Errorf("publish receipts before the worker's end: %w", err)
	}
	worker := f.Of(fleet.Offline)[0]
	worker.Kill()
	ctx, cancel := context.WithTimeout(ctx, weekPatience)
	defer cancel()
	start := time.Now()
	if err := f.Up(ctx, worker); err != nil {
		return err
	}
	if err := w.answers(ctx, b); err != nil {
		return err
	}
	w.took = time.Since(start)
	sizes, err := b.Bytes(ctx)
	if err != nil {
		return err
	}
	w.bytes, w.logs = sizes[wire.PendingStream], sizes[wire.AudiencesStream]
	if err := w.ask(ctx, b, worker, o, users); err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	rss, err := worker.RSS()
	w.rss = float64(rss)
	if err == nil {
		w.heap, err = worker.Metric(ctx, "go_memstats_heap_inuse_bytes")
	}
	return err
}

// publish publishes something of each push in every shard, unless it is of nobody.
func (w *week) publish(ctx context.Context, b *broker.Broker, of []*roaring.Bitmap,
	subject func(push.AppID, push.Shard, push.Seq) string, encode func(*roaring.Bitmap) ([]byte, error),
) error {
	header := map[string]string{wire.HeaderExpire: strconv.FormatInt(time.Now().Add(lifetime).Unix(), 10)}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(publishers)
	for s := range w.shards {
		g.Go(func() error {
			for i, users := range of {
				data, err := encode(users)
				if err != nil {
					return err
				}
				m := broker.Message{Subject: subject(app, push.Shard(s), push.Seq(i+1)), Data: data, Header: header}
				if _, _, err := b.Publish(ctx, m); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// ends gives the ends of both logs.
func ends(ctx context.Context, b *broker.Broker) (p wire.Position, err error) {
	p.Audiences, err = b.LastSeq(ctx, wire.AudiencesStream)
	if err == nil {
		p.Receipts, err = b.LastSeq(ctx, wire.ReceiptsStream)
	}
	return p, err
}

// written waits until the entries of all shards hold what was published.
func (w *week) written(ctx context.Context, b *broker.Broker) error {
	ctx, cancel := context.WithTimeout(ctx, weekPatience)
	defer cancel()
	tick := time.NewTicker(20 * poll)
	defer tick.Stop()
	for s := range w.shards {
		want := wire.Position{}
		for _, log := range []struct {
			at             *uint64
			stream, filter string
		}{
			{&want.Audiences, wire.AudiencesStream, wire.AudienceFilter(app, push.Shard(s))},
			{&want.Receipts, wire.ReceiptsStream, wire.ReceiptFilter(app, push.Shard(s))},
		} {
			m, err := b.Last(ctx, log.stream, log.filter)
			if errors.Is(err, broker.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			*log.at = m.Seq
		}
		for at := (wire.Position{}); at.Audiences < want.Audiences || at.Receipts < want.Receipts; {
			select { // the ticker wakes it, ctx ends it
			case <-ctx.Done():
				return fmt.Errorf("shard %d is at %+v of %+v: %w", s, at, want, ctx.Err())
			case <-tick.C:
			}
			m, err := b.Last(ctx, wire.PendingStream, wire.PositionSubject(app, push.Shard(s)))
			if errors.Is(err, broker.ErrNotFound) {
				continue
			}
			if err == nil {
				at, err = wire.DecodePosition(m.Data)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// answers waits until every shard's logins are answered from the logs' ends.
func (w *week) answers(ctx context.Context, b *broker.Broker) error {
	at, err := ends(ctx, b)
	if err != nil {
		return err
	}
	for s := range w.shards {
		for {
			_, err := w.inbox(ctx, b, push.Shard(s), 0, at)
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return fmt.Errorf("shard %d does not answer: %w", s, err)
			}
		}
	}
	return nil
}

// inbox is how many pushes wait for a user.
func (w *week) inbox(ctx context.Context, b *broker.Broker, s push.Shard, user uint32, at wire.Position) (int, error) {
	data, err := b.Request(ctx, wire.InboxSubject(app, s), wire.EncodeInboxRequest(wire.InboxRequest{
		Locals: []uint32{user}, Audiences: at.Audiences, Receipts: at.Receipts,
	}))
	if err != nil {
		return 0, err
	}
	all, err := wire.DecodeInboxes(data)
	if err != nil {
		return 0, err
	}
	return len(all[0]), nil
}

// ask logs users in at random, each with a request of its own.
func (w *week) ask(ctx context.Context, b *broker.Broker, worker *fleet.Process, o Options, users int) error {
	cpu, err := worker.CPU()
	if err != nil {
		return err
	}
	took := make([]float64, o.Logins)
	var next, waiting atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	start := time.Now()
	for range together {
		g.Go(func() error {
			for i := next.Add(1) - 1; i < int64(o.Logins); i = next.Add(1) - 1 {
				began := time.Now()
				n, err := w.inbox(ctx, b, push.Shard(rand.IntN(w.shards)), rand.Uint32N(uint32(users)), wire.Position{})
				if err != nil {
					return err
				}
				waiting.Add(int64(n))
				took[i] = float64(time.Since(began)) / float64(time.Millisecond)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	n := float64(o.Logins)
	w.logins, w.p99, w.waiting = n/time.Since(start).Seconds(), report.Percentile(took, 99), float64(waiting.Load())/n
	after, err := worker.CPU()
	w.perCPU = n / (after - cpu).Seconds()
	return err
}

func (w *week) figures(o Options, m mix) []report.Figure {
	of := fmt.Sprintf("%d pushes to %s users, %s", o.Pushes, report.Text(float64(o.Week)), m.name)
	entries := float64(o.Pushes * w.shards)
	per := func(bytes float64) string { return report.Text(math.Round(bytes / entries)) }
	return []report.Figure{
		report.New("pending state of "+of+": bytes on the broker", "bytes", float64(w.bytes)).
			Noting("%s bytes a push and shard, of which there are %d; %s more in the log of audiences", per(float64(w.bytes)), w.shards, report.Text(float64(w.logs))),
		report.New("offline worker that was killed, over "+of+": seconds until it answers logins of every shard", "s", w.took.Seconds()).
			Noting("a process of its own; %d receipts came after its last checkpoint", w.receipts),
		report.New("offline worker over "+of+": resident memory", "MB", w.rss/1e6).
			Noting("%s MB of it are its heap, %s bytes a push and shard", report.Text(w.heap/1e6), per(w.heap)),
		report.New("offline worker over "+of+": logins, a request each", "logins/s", w.logins).
			Noting("%s a second of the worker's CPU time; p99 %s ms, %d at once; %s pushes wait for each", report.Text(w.perCPU), report.Text(w.p99), together, report.Text(w.waiting)),
	}
}
