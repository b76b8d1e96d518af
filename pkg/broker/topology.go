package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// metaSharding is the stream metadata that fixes an app's sharding: ordinals would mean other users with another width.
const metaSharding = "carillon-sharding"

// plan is what one stream is to be, and the feeds of its sources.
type plan struct {
	stream jetstream.StreamConfig
	feeds  []feed
}

// feed is the durable consumer by which a stream copies a part of another. It has as many replicas as the stream that it
// reads.
type feed struct {
	from     string
	consumer jetstream.ConsumerConfig
}

func (b *core) plan(s wire.Stream) plan {
	p := plan{stream: jetstream.StreamConfig{
		Name: s.Name, Subjects: s.Subjects, MaxAge: s.MaxAge, Duplicates: s.Duplicates, Replicas: b.cfg.Replicas, MaxConsumers: s.Consumers,
		AllowDirect: true, AllowMsgTTL: s.PerMessageTTL, AllowAtomicPublish: s.Batches, AllowMsgCounter: s.Counters,
	}}
	if s.Memory {
		p.stream.Storage = jetstream.MemoryStorage
	}
	if s.LastOnly {
		p.stream.MaxMsgsPerSubject = 1
	}
	if s.Queue {
		p.stream.Retention = jetstream.WorkQueuePolicy
	}
	if s.Source != nil {
		p.stream.Sources = []*jetstream.StreamSource{{
			Name:     s.Source.Stream,
			Consumer: &jetstream.StreamConsumerSource{Name: s.Name, DeliverSubject: wire.SourceSubject(s.Name)},
		}}
		p.feeds = []feed{{s.Source.Stream, jetstream.ConsumerConfig{
			Durable: s.Name, DeliverSubject: wire.SourceSubject(s.Name), FilterSubject: s.Source.Filter,
			DeliverPolicy: jetstream.DeliverNewPolicy, AckPolicy: jetstream.AckFlowControlPolicy,
			FlowControl: true, IdleHeartbeat: time.Second, MaxDeliver: -1,
		}}}
	}
	p.stream = filled(p.stream)
	return p
}

// markerTTL is how long a bucket says that an entry has ended by its own TTL.
const markerTTL = time.Hour

// bucket is a plan for what clients of NATS know as a key-value bucket.
func (b *core) bucket(k wire.Bucket) plan {
	cfg := jetstream.StreamConfig{
		Name: k.Stream(), Subjects: []string{k.Filter()}, MaxAge: k.MaxAge, Replicas: b.cfg.Replicas, MaxConsumers: k.Consumers,
		MaxMsgsPerSubject: 1, AllowRollup: true, DenyDelete: true, AllowDirect: true, Discard: jetstream.DiscardNew,
	}
	if k.PerMessageTTL {
		cfg.AllowMsgTTL, cfg.SubjectDeleteMarkerTTL = true, markerTTL
	}
	return plan{stream: filled(cfg)}
}

// objects is a plan for what clients of NATS know as an object store.
func (b *core) objects(k wire.ObjectBucket) plan {
	return plan{stream: filled(jetstream.StreamConfig{
		Name: k.Stream(), Subjects: k.Subjects(), MaxAge: k.MaxAge, Replicas: b.cfg.Replicas,
		AllowRollup: true, AllowDirect: true, Discard: jetstream.DiscardNew,
	})}
}

// filled sets what the broker sets where nothing is said, so that it can be compared.
func filled(c jetstream.StreamConfig) jetstream.StreamConfig {
	for _, n := range []*int64{&c.MaxMsgs, &c.MaxBytes, &c.MaxMsgsPerSubject} {
		if *n == 0 {
			*n = -1
		}
	}
	if c.MaxMsgSize == 0 {
		c.MaxMsgSize = -1
	}
	if c.MaxConsumers == 0 {
		c.MaxConsumers = -1
	}
	if c.Duplicates == 0 {
		if c.Duplicates = 2 * time.Minute; c.MaxAge > 0 {
			c.Duplicates = min(c.Duplicates, c.MaxAge)
		}
	}
	return c
}

// fixed are the plans of what every installation has.
func (b *core) fixed() (plans []plan) {
	for _, s := range wire.Fixed(b.cfg.Retention) {
		plans = append(plans, b.plan(s))
	}
	for _, k := range wire.Buckets(b.cfg.Tasks) {
		plans = append(plans, b.bucket(k))
	}
	return append(plans, b.objects(wire.Indexes()))
}

// ofApp are the plans of what an app has besides its shards.
func (b *core) ofApp(app push.AppID) []plan {
	accounts := b.plan(wire.Accounts(app))
	accounts.stream.Metadata = map[string]string{metaSharding: strconv.Itoa(int(b.cfg.Sharding))}
	return []plan{accounts, b.plan(wire.Devices(app))}
}

// ensure makes a stream that is not there, and gives the differences of one that is. Several processes may do so at once.
func (b *Broker) ensure(ctx context.Context, p plan) ([]Difference, error) {
	st, err := b.stream(ctx, p.stream.Name)
	if errors.Is(err, ErrNotFound) {
		if err = b.make(ctx, p); err == nil {
			st, err = b.stream(ctx, p.stream.Name)
		}
	}
	if err != nil {
		return nil, err
	}
	return b.differences(ctx, p, &st.CachedInfo().Config)
}

// differences of what is there, which is nil for a stream that is not.
func (b *Broker) differences(ctx context.Context, p plan, have *jetstream.StreamConfig) ([]Difference, error) {
	of := Difference{Stream: p.stream.Name, Remedy: Create}
	switch {
	case have == nil && p.stream.Storage == jetstream.MemoryStorage:
		return nil, nil // it goes with its server, and comes with the next role that starts
	case have == nil:
		of.Harmless = true // roles make it
		return []Difference{of}, nil
	}
	ds := compare(streamFields, of, have, &p.stream)
	for _, f := range p.feeds {
		of.Stream, of.Consumer = f.from, f.consumer.Durable
		c, err := b.in.PushConsumer(ctx, f.from, f.consumer.Durable)
		switch {
		case errors.Is(err, jetstream.ErrConsumerNotFound):
			ds = append(ds, of)
		case errors.Is(err, jetstream.ErrNotPushConsumer):
			d := of
			d.Field, d.Have, d.Want, d.Remedy = "deliver subject", "none", f.consumer.DeliverSubject, Recreate
			ds = append(ds, d)
		case err != nil:
			return nil, fmt.Errorf("look up the consumer that feeds stream %s: %w", p.stream.Name, err)
		default:
			ds = append(ds, compare(consumerFields, of, &c.CachedInfo().Config, &f.consumer)...)
		}
	}
	return ds, nil
}

// make makes a stream and what feeds it.
func (b *Broker) make(ctx context.Context, p plan) error {
	for _, f := range p.feeds {
		// The consumer before the stream, so that no push falls between: it starts with the next push, and whoever is
		// registered in this stream was so after it was made.
		if _, err := b.js.CreateOrUpdatePushConsumer(ctx, f.from, f.consumer); err != nil {
			return fmt.Errorf("make the consumer that feeds stream %s: %w", p.stream.Name, err)
		}
	}
	if _, err := b.js.CreateStream(ctx, p.stream); err != nil && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return fmt.Errorf("make stream %s: %w", p.stream.Name, err)
	}
	if len(p.feeds) == 0 {
		return nil
	}
	st, err := b.stream(ctx, p.stream.Name)
	if err == nil {
		b.awaitSource(ctx, st)
	}
	return err
}

// awaitSource waits until a stream hears its sources, which the broker arranges some 200 ms after it has answered:
// here that is the price of a new shard, later it would be the first push's delay. Nothing is lost when it takes longer.
func (b *Broker) awaitSource(ctx context.Context, st jetstream.Stream) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for {
		info, err := st.Info(ctx)
		if err != nil || !slices.ContainsFunc(info.Sources, func(s *jetstream.StreamSourceInfo) bool { return s.Active < 0 }) {
			return
		}
		select { // the pause wakes it, ctx ends it
		case <-ctx.Done():
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// ensureAll ensures several, and is a *Misfit when one of them cannot be worked with.
func (b *Broker) ensureAll(ctx context.Context, plans []plan) error {
	var all []Difference
	for _, p := range plans {
		err := b.settle(ctx, "make stream "+p.stream.Name, makeTime, func(ctx context.Context) error {
			ds, err := b.ensure(ctx, p)
			all = append(all, ds...)
			return err
		})
		if err != nil {
			return err
		}
	}
	return b.judge(all)
}

// judge makes differences an error, or where none does harm a line in the log each.
func (b *Broker) judge(ds []Difference) error {
	for _, d := range ds {
		if !d.Harmless {
			return &Misfit{ds}
		}
	}
	for _, d := range ds {
		b.log.Warn("the broker has something else than the configuration says: see carillon admin topology",
			"stream", d.Stream, "consumer", d.Consumer, "field", d.Field, "have", d.Have, "want", d.Want)
	}
	return nil
}

// EnsureApp makes the app's streams of accounts and devices, and looks at its shards' logs. The error is a *Misfit when one
// cannot be worked with: it was made with another sharding, for one.
func (b *Broker) EnsureApp(ctx context.Context, app push.AppID) error {
	plans := b.ofApp(app)
	var shards []push.Shard
	err := b.settle(ctx, "list the shards", makeTime, func(ctx context.Context) (err error) {
		shards, err = b.Shards(ctx, app)
		return err
	})
	if err != nil {
		return err
	}
	for _, s := range shards {
		plans = append(plans, b.plan(wire.Users(app, s)))
	}
	return b.ensureAll(ctx, plans)
}

// EnsureShard makes a shard's log when it is not there, and tells the workers of a new one.
func (b *Broker) EnsureShard(ctx context.Context, app push.AppID, shard push.Shard) error {
	key := shardKey{app, shard}
	b.mu.Lock()
	known := b.shards[key]
	b.mu.Unlock()
	if known {
		return nil
	}
	if err := b.ensureAll(ctx, []plan{b.plan(wire.Users(app, shard))}); err != nil {
		return err
	}
	b.mu.Lock()
	b.shards[key] = true
	b.mu.Unlock()
	if err := b.nc.Publish(wire.ShardSubject(app), nil); err != nil {
		b.log.Warn("announce a shard; workers will find it at their next look", "app", app, "shard", shard, "err", err)
	}
	return nil
}

// Shards lists the app's shards.
func (b *Broker) Shards(ctx context.Context, app push.AppID) ([]push.Shard, error) {
	l := b.js.StreamNames(ctx, jetstream.WithStreamListSubject(wire.UserFilter(app)))
	var shards []push.Shard
	for name := range l.Name() {
		if a, s, ok := wire.ParseUsersStream(name); ok && a == app {
			shards = append(shards, s)
		}
	}
	if err := l.Err(); err != nil {
		return nil, fmt.Errorf("list the shards of app %d: %w", app, err)
	}
	return shards, nil
}
