package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// ackWait is how long a task may take before the broker gives it to another worker.
const ackWait = 2 * time.Second

// workGroup is the one priority group of a task consumer.
const workGroup = "workers"

// WorkConfig says which tasks to take.
type WorkConfig struct {
	Stream string
	// Durable names the consumer that the workers share.
	Durable string
	// Filter is a subject filter within the stream.
	Filter string
	// Rank of this worker among those that share the consumer, 0…9: the broker gives tasks to the lowest that asks.
	Rank uint8
	// Handle does one task. When it fails, the task comes again, to this worker or to another.
	Handle func(context.Context, *Message) error
}

// Work takes tasks one at a time, until ctx ends. A task counts as done when Handle returns nil; it may come again even so,
// when the process or the connection dies before the broker hears of it: Handle must bear repeats.
func (b *Broker) Work(ctx context.Context, cfg WorkConfig) error {
	backoff := 50 * time.Millisecond
	for {
		err := b.workOnce(ctx, cfg, func() { backoff = 50 * time.Millisecond })
		if ctx.Err() != nil {
			return ctx.Err()
		}
		b.log.Warn("taking tasks was interrupted; will go on", "stream", cfg.Stream, "consumer", cfg.Durable, "err", err)
		select { // the pause wakes it, ctx ends it
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(backoff):
			backoff = min(2*backoff, maxBackoff)
		}
	}
}

func (b *Broker) workOnce(ctx context.Context, cfg WorkConfig, progress func()) (err error) {
	ctx, cancel := b.conns.until(ctx)
	defer cancel()
	defer func() { err = cause(ctx, err) }()
	cons, err := b.in.CreateOrUpdateConsumer(ctx, cfg.Stream, jetstream.ConsumerConfig{
		Durable: cfg.Durable, FilterSubject: cfg.Filter, AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait,
		MaxAckPending: 1, MaxDeliver: -1,
		PriorityPolicy: jetstream.PriorityPolicyPrioritized, PriorityGroups: []string{workGroup},
	})
	if err != nil {
		return fmt.Errorf("make consumer %s of %s: %w", cfg.Durable, cfg.Stream, err)
	}
	msgs, err := cons.Messages(jetstream.PullMaxMessages(1), jetstream.PullExpiry(ackWait), jetstream.PullHeartbeat(ackWait/2),
		jetstream.PullPriorityGroup(workGroup), jetstream.PullPrioritized(cfg.Rank))
	if err != nil {
		return fmt.Errorf("take tasks from %s: %w", cfg.Stream, err)
	}
	defer msgs.Stop()
	for {
		m, err := msgs.Next(jetstream.NextContext(ctx))
		if errors.Is(err, jetstream.ErrNoHeartbeat) || err != nil {
			return fmt.Errorf("take tasks from %s: %w", cfg.Stream, err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("take tasks from %s: %w", cfg.Stream, err)
		}
		msg := fromStream(m, meta)
		if err := cfg.Handle(ctx, &msg); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			b.log.Warn("a task failed; it will come again", "subject", msg.Subject, "seq", msg.Seq, "delivery", meta.NumDelivered, "err", err)
			if err := m.NakWithDelay(retryDelay(meta.NumDelivered)); err != nil {
				return fmt.Errorf("give back task %s: %w", msg.Subject, err)
			}
			continue
		}
		progress()
		if err := b.guarded("acknowledge "+msg.Subject, m.Ack); err != nil {
			return fmt.Errorf("acknowledge task %s: %w", msg.Subject, err)
		}
	}
}

// retryDelay grows with the number of deliveries, so that a task that cannot succeed does not keep a core busy.
func retryDelay(delivered uint64) time.Duration {
	return min(50*time.Millisecond<<min(delivered, 7), ackWait)
}
