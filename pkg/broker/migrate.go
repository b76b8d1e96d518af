package broker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// Topology compares what the broker has with what this version and configuration need, for the given apps and all their
// shards. It changes nothing.
func (b *Broker) Topology(ctx context.Context, apps []push.AppID) ([]Difference, error) {
	var all []Difference
	err := b.eachPlan(ctx, apps, func(p plan) error {
		have, err := b.existing(ctx, p.stream.Name)
		if err != nil {
			return err
		}
		ds, err := b.differences(ctx, p, have)
		all = append(all, ds...)
		return err
	})
	if err != nil {
		return nil, err
	}
	unused, err := b.unused(ctx, apps)
	return append(all, unused...), err
}

// unused finds what earlier versions made for apps and nothing uses.
func (b *Broker) unused(ctx context.Context, apps []push.AppID) (ds []Difference, err error) {
	for _, app := range apps {
		name := wire.UnusedStream(app)
		have, err := b.existing(ctx, name)
		if err != nil {
			return nil, err
		}
		if have != nil {
			ds = append(ds, Difference{Stream: name, Remedy: Delete, Harmless: true})
		}
		shards, err := b.Shards(ctx, app)
		if err != nil {
			return nil, err
		}
		for _, s := range shards {
			name := wire.UsersStream(app, s)
			_, err := b.in.PushConsumer(ctx, name, wire.UnusedConsumer)
			if errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrNotPushConsumer) { // an operator's
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("look up consumer %s of %s: %w", wire.UnusedConsumer, name, err)
			}
			ds = append(ds, Difference{Stream: name, Consumer: wire.UnusedConsumer, Remedy: Delete, Harmless: true})
		}
	}
	return ds, nil
}

// deleteUnused deletes what unused finds: a stream goes before the consumers that feed it.
func (b *Broker) deleteUnused(ctx context.Context, apps []push.AppID) error {
	ds, err := b.unused(ctx, apps)
	if err != nil {
		return err
	}
	for _, d := range ds {
		if d.Consumer == "" {
			err = b.js.DeleteStream(ctx, d.Stream)
		} else {
			err = b.js.DeleteConsumer(ctx, d.Stream, d.Consumer)
		}
		if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return fmt.Errorf("delete what is not used, %s: %w", d, err)
		}
	}
	return nil
}

// Migrate makes and changes what Topology says, but for streams and consumers of which one difference is Recreate: those it
// leaves as they are; and deletes what nothing uses. Roles may be running. Repeating it does no harm, after an error too.
func (b *Broker) Migrate(ctx context.Context, apps []push.AppID) error {
	err := b.eachPlan(ctx, apps, func(p plan) error {
		have, err := b.existing(ctx, p.stream.Name)
		if err != nil {
			return err
		}
		if have == nil {
			return b.make(ctx, p)
		}
		for _, f := range p.feeds {
			if err := b.migrateFeed(ctx, p.stream.Name, f); err != nil {
				return err
			}
		}
		to := *have
		if !merge(streamFields, compare(streamFields, Difference{}, have, &p.stream), &to, &p.stream) {
			return nil
		}
		if _, err := b.js.UpdateStream(ctx, to); err != nil {
			return fmt.Errorf("update stream %s: %w", to.Name, err)
		}
		b.mu.Lock()
		delete(b.streams, to.Name) // its handle knows the old configuration
		b.mu.Unlock()
		return nil
	})
	if err != nil {
		return err
	}
	return b.deleteUnused(ctx, apps)
}

// merge takes the fields that differ over, and says whether that is anything that can be done.
func merge[C any](fields []field[C], ds []Difference, to, from *C) bool {
	for _, d := range ds {
		if d.Remedy != Update {
			return false
		}
	}
	for _, d := range ds {
		for _, f := range fields {
			if f.name == d.Field {
				f.set(to, from)
			}
		}
	}
	return len(ds) > 0
}

func (b *Broker) eachPlan(ctx context.Context, apps []push.AppID, do func(plan) error) error {
	plans := b.fixed()
	for _, app := range apps {
		plans = append(plans, b.ofApp(app)...)
		shards, err := b.Shards(ctx, app)
		if err != nil {
			return err
		}
		for _, s := range shards {
			plans = append(plans, b.plan(wire.Users(app, s)))
		}
	}
	for _, p := range plans {
		if err := do(p); err != nil {
			return err
		}
	}
	return nil
}

// existing is the configuration of a stream, nil when there is none.
func (b *Broker) existing(ctx context.Context, name string) (*jetstream.StreamConfig, error) {
	st, err := b.in.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up stream %s: %w", name, err)
	}
	return &st.CachedInfo().Config, nil
}

// migrateFeed updates the consumer that feeds a stream, or makes it anew to go on where the last one had come to.
func (b *Broker) migrateFeed(ctx context.Context, stream string, f feed) error {
	c, err := b.in.PushConsumer(ctx, f.from, f.consumer.Durable)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		if err := b.resume(ctx, stream, &f.consumer); err != nil {
			return err
		}
		if _, err := b.js.CreatePushConsumer(ctx, f.from, f.consumer); err != nil && !errors.Is(err, jetstream.ErrConsumerExists) {
			return fmt.Errorf("make the consumer that feeds stream %s: %w", stream, err)
		}
	case errors.Is(err, jetstream.ErrNotPushConsumer): // Topology says that it is to be recreated
	case err != nil:
		return fmt.Errorf("look up the consumer that feeds stream %s: %w", stream, err)
	default:
		have := c.CachedInfo().Config
		if !merge(consumerFields, compare(consumerFields, Difference{}, &have, &f.consumer), &have, &f.consumer) {
			return nil
		}
		if _, err := b.js.UpdatePushConsumer(ctx, f.from, have); err != nil {
			return fmt.Errorf("update the consumer that feeds stream %s: %w", stream, err)
		}
	}
	return nil
}

// headerSource of a message that was copied from another stream: that stream's name, then the message's sequence there.
const headerSource = "Nats-Stream-Source"

// resume makes a feed start behind the last message that its stream has got from it, or where there is none, with what has
// come since the stream was made.
func (b *Broker) resume(ctx context.Context, stream string, feed *jetstream.ConsumerConfig) error {
	m, err := b.fromLeader(ctx, stream, msgGet{LastFor: feed.FilterSubject})
	if errors.Is(err, ErrNotFound) {
		st, err := b.in.Stream(ctx, stream)
		if err != nil {
			return fmt.Errorf("look up stream %s: %w", stream, err)
		}
		created := st.CachedInfo().Created
		feed.DeliverPolicy, feed.OptStartTime = jetstream.DeliverByStartTimePolicy, &created
		return nil
	}
	if err != nil {
		return err
	}
	f := strings.Fields(m.Header[headerSource])
	if len(f) < 2 {
		return fmt.Errorf("message %d of stream %s does not say where it was copied from", m.Seq, stream)
	}
	seq, err := strconv.ParseUint(f[1], 10, 64)
	if err != nil {
		return fmt.Errorf("message %d of stream %s does not say where it was copied from: %w", m.Seq, stream, err)
	}
	feed.DeliverPolicy, feed.OptStartSeq = jetstream.DeliverByStartSequencePolicy, seq+1
	return nil
}
