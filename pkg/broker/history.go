package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// historyTime bounds one try of ensureHistory: making consumers and a stream, and waiting until its sources are heard.
const historyTime = 5 * time.Second

// ensureHistory makes the app's history, and the logs of all its shards, with those given, its sources. Sources that
// another process's change of the stream, made from an older look at it, has lost are repaired: whoever changes it looks
// again.
func (b *Broker) ensureHistory(ctx context.Context, app push.AppID, with ...push.Shard) error {
	p := b.plan(wire.History(app, b.cfg.Retention))
	return b.settle(ctx, "make stream "+p.stream.Name, historyTime, func(ctx context.Context) error {
		if _, err := b.stream(ctx, p.stream.Name); errors.Is(err, ErrNotFound) {
			err = b.make(ctx, p)
			if err != nil {
				return err
			}
		} else if err != nil {
			return err
		}
		for {
			done, err := b.addSources(ctx, p.stream.Name, app, with)
			if done || err != nil {
				return err
			}
		}
	})
}

// addSources looks at the history once, and adds what it lacks; done says that it lacked nothing.
func (b *Broker) addSources(ctx context.Context, history string, app push.AppID, with []push.Shard) (done bool, err error) {
	shards, err := b.Shards(ctx, app)
	if err != nil {
		return false, err
	}
	shards = append(shards, with...) // which the list may not have yet in a cluster
	slices.Sort(shards)
	st, err := b.js.Stream(ctx, history)
	if err != nil {
		return false, fmt.Errorf("look up stream %s: %w", history, err)
	}
	cfg := st.CachedInfo().Config
	missing := slices.DeleteFunc(slices.Compact(shards), func(s push.Shard) bool {
		return slices.ContainsFunc(cfg.Sources, func(has *jetstream.StreamSource) bool { return has.Name == wire.UsersStream(app, s) })
	})
	if len(missing) == 0 {
		return true, nil
	}
	for _, s := range missing {
		source, subject := wire.HistorySource(app, s), wire.HistorySourceSubject(app, s)
		// From the log's beginning: what is in it already is copied too.
		_, err := b.js.CreateOrUpdatePushConsumer(ctx, source.Stream, jetstream.ConsumerConfig{
			Durable: wire.HistoryConsumer, DeliverSubject: subject, FilterSubject: source.Filter,
			DeliverPolicy: jetstream.DeliverAllPolicy, AckPolicy: jetstream.AckFlowControlPolicy,
			FlowControl: true, IdleHeartbeat: time.Second, MaxDeliver: -1,
		})
		if err != nil {
			return false, fmt.Errorf("make the consumer that feeds stream %s from shard %d: %w", history, s, err)
		}
		cfg.Sources = append(cfg.Sources, &jetstream.StreamSource{
			Name: source.Stream, Consumer: &jetstream.StreamConsumerSource{Name: wire.HistoryConsumer, DeliverSubject: subject},
		})
	}
	if st, err = b.js.UpdateStream(ctx, cfg); err != nil {
		return false, fmt.Errorf("add sources to stream %s: %w", history, err)
	}
	b.awaitSource(ctx, st) // a record that is replaced before it is copied is lost to the history
	return false, nil
}
