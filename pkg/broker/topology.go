package broker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// metaSharding is the stream metadata that fixes an app's sharding: ordinals would mean other users with another width.
const metaSharding = "carillon-sharding"

func (b *Broker) streamConfig(s wire.Stream) jetstream.StreamConfig {
	cfg := jetstream.StreamConfig{
		Name: s.Name, Subjects: s.Subjects, MaxAge: s.MaxAge, Duplicates: s.Duplicates, Replicas: b.cfg.Replicas,
		AllowDirect: true, AllowMsgTTL: s.PerMessageTTL, AllowAtomicPublish: s.Batches,
	}
	cfg.AllowMsgCounter = s.Counters
	if s.Memory {
		cfg.Storage = jetstream.MemoryStorage
	}
	if s.LastOnly {
		cfg.MaxMsgsPerSubject = 1
	}
	if s.Source != nil {
		cfg.Sources = []*jetstream.StreamSource{{
			Name:     s.Source.Stream,
			Consumer: &jetstream.StreamConsumerSource{Name: s.Name, DeliverSubject: wire.SourceSubject(s.Name)},
		}}
	}
	return cfg
}

// ensure makes a stream that is not there, and leaves one alone that is. Several processes may do so at once.
func (b *Broker) ensure(ctx context.Context, s wire.Stream, meta map[string]string) (jetstream.Stream, error) {
	st, err := b.stream(ctx, s.Name)
	if err == nil || !errors.Is(err, ErrNotFound) {
		return st, err
	}
	if s.Source != nil {
		// The consumer before the stream, so that no push falls between: it starts with the next push, and whoever is
		// registered in this stream was so after it was made.
		_, err := b.js.CreateOrUpdatePushConsumer(ctx, s.Source.Stream, jetstream.ConsumerConfig{
			Durable: s.Name, DeliverSubject: wire.SourceSubject(s.Name), FilterSubject: s.Source.Filter,
			DeliverPolicy: jetstream.DeliverNewPolicy, AckPolicy: jetstream.AckFlowControlPolicy,
			FlowControl: true, IdleHeartbeat: time.Second, MaxDeliver: -1,
		})
		if err != nil {
			return nil, fmt.Errorf("make the consumer that feeds stream %s: %w", s.Name, err)
		}
	}
	cfg := b.streamConfig(s)
	cfg.Metadata = meta
	if _, err = b.js.CreateStream(ctx, cfg); err != nil && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return nil, fmt.Errorf("make stream %s: %w", s.Name, err)
	}
	if st, err = b.stream(ctx, s.Name); err == nil && s.Source != nil {
		b.awaitSource(ctx, st)
	}
	return st, err
}

// awaitSource waits until a new stream hears its source, which the broker arranges some 200 ms after it has answered:
// here that is the price of a new shard, later it would be the first push's delay. Nothing is lost when it takes longer.
func (b *Broker) awaitSource(ctx context.Context, st jetstream.Stream) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for {
		info, err := st.Info(ctx)
		if err != nil || len(info.Sources) == 0 || info.Sources[0].Active >= 0 {
			return
		}
		select { // the pause wakes it, ctx ends it
		case <-ctx.Done():
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (b *Broker) ensureFixed(ctx context.Context) error {
	for _, s := range wire.Fixed(b.cfg.Retention) {
		if _, err := b.ensure(ctx, s, nil); err != nil {
			return err
		}
	}
	for _, k := range wire.Buckets() {
		cfg := jetstream.KeyValueConfig{Bucket: k.Name, TTL: k.MaxAge, Replicas: b.cfg.Replicas, History: 1}
		if k.PerMessageTTL {
			cfg.LimitMarkerTTL = time.Hour
		}
		_, err := b.js.CreateKeyValue(ctx, cfg)
		if err != nil && !errors.Is(err, jetstream.ErrBucketExists) {
			return fmt.Errorf("make bucket %s: %w", k.Name, err)
		}
	}
	return nil
}

// EnsureApp makes the app's streams of accounts and devices. It fails when the app's data were made with another sharding.
func (b *Broker) EnsureApp(ctx context.Context, app push.AppID) error {
	want := strconv.Itoa(int(b.cfg.Sharding))
	st, err := b.ensure(ctx, wire.Accounts(app), map[string]string{metaSharding: want})
	if err != nil {
		return err
	}
	if has := st.CachedInfo().Config.Metadata[metaSharding]; has != want {
		return fmt.Errorf("app %d was made with sharding.bits %s, which cannot become %s", app, has, want)
	}
	_, err = b.ensure(ctx, wire.Devices(app), nil)
	return err
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
	if _, err := b.ensure(ctx, wire.Users(app, shard), nil); err != nil {
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
