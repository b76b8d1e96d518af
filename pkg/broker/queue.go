package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

const (
	// queueWait is how long the broker waits for a sign of life of a worker before it gives its task to another.
	queueWait = 3 * time.Second
	queueSign = queueWait / 3
	// queueOpen is how many tasks of a consumer may be with workers or wait for their pause to end, at once: new ones come
	// behind those, so that it is more than trouble with a part of them leaves open.
	queueOpen = 100_000
)

// QueueConfig says which tasks to take from a stream whose messages are tasks (wire.Stream.Queue).
type QueueConfig struct {
	Stream string
	// Durable names the consumer that the workers share.
	Durable string
	// Filter is a subject filter within the stream; no two consumers' filters overlap.
	Filter string
	// Concurrency is how many tasks are done here at once.
	Concurrency int
	// Handle does one task. When it fails the task comes again, to this worker or to another: after the pause that the error
	// asks for (After), or after one that grows with the number of times that it has come.
	Handle func(context.Context, *Message) error
}

// After is an error of QueueConfig.Handle that says when the task is to come again.
func After(pause time.Duration, err error) error { return &afterError{pause, err} }

type afterError struct {
	pause time.Duration
	err   error
}

func (e *afterError) Error() string { return e.err.Error() }
func (e *afterError) Unwrap() error { return e.err }

// Queue does tasks, until ctx ends. One goes from the stream when Handle returns nil; it may come again even so, when the
// process or the connection dies before the broker hears of it: Handle must bear repeats. Workers of different processes
// share the tasks as each has time.
func (b *Broker) Queue(ctx context.Context, cfg QueueConfig) error {
	g, ctx := errgroup.WithContext(ctx)
	for range cfg.Concurrency {
		g.Go(func() error { return b.queue(ctx, cfg) })
	}
	return g.Wait()
}

func (b *Broker) queue(ctx context.Context, cfg QueueConfig) error {
	backoff := 50 * time.Millisecond
	for had := false; ; {
		err := b.queueOnce(ctx, cfg, &had, func() { backoff = 50 * time.Millisecond })
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

// queueOnce does tasks until ctx ends or the connection is lost. had is workOnce's. A task that the broker gives as ctx ends goes back to it.
func (b *Broker) queueOnce(ctx context.Context, cfg QueueConfig, had *bool, progress func()) (err error) {
	ctx, cancel := b.conns.until(ctx)
	defer cancel()
	defer func() { err = cause(ctx, err) }()
	cons, err := b.tasksOf(ctx, cfg.Stream, jetstream.ConsumerConfig{
		Durable: cfg.Durable, FilterSubject: cfg.Filter, AckPolicy: jetstream.AckExplicitPolicy, AckWait: queueWait,
		MaxAckPending: queueOpen, MaxDeliver: -1,
	}, *had)
	if err != nil {
		return fmt.Errorf("make or find consumer %s of %s: %w", cfg.Durable, cfg.Stream, err)
	}
	*had = true
	msgs, err := cons.Messages(jetstream.PullMaxMessages(1), jetstream.PullExpiry(workPull), jetstream.PullHeartbeat(workPull/2))
	if err != nil {
		return fmt.Errorf("take tasks from %s: %w", cfg.Stream, err)
	}
	defer msgs.Stop()
	next := func() (jetstream.Msg, error) { return msgs.Next(jetstream.NextContext(ctx)) }
	draining := false
	for {
		m, err := next()
		switch {
		case err == nil:
		case draining && (errors.Is(err, jetstream.ErrMsgIteratorClosed) || errors.Is(err, nats.ErrTimeout)):
			return ctx.Err()
		case ctx.Err() != nil && !draining:
			msgs.Drain()
			next, draining = func() (jetstream.Msg, error) { return msgs.Next(jetstream.NextMaxWait(drainWait)) }, true
			continue
		default:
			return fmt.Errorf("take tasks from %s: %w", cfg.Stream, err)
		}
		if err := b.queueTask(ctx, cfg, m, progress); err != nil {
			return err
		}
	}
}

// queueTask does one task and says so, or gives it back.
func (b *Broker) queueTask(ctx context.Context, cfg QueueConfig, m jetstream.Msg, progress func()) error {
	meta, err := m.Metadata()
	if err != nil {
		return fmt.Errorf("take tasks from %s: %w", cfg.Stream, err)
	}
	if ctx.Err() != nil {
		_ = m.Nak() // another has it at once; if this is lost, when the broker misses our answer
		return nil
	}
	msg := fromStream(m, meta)
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(queueSign)
		defer tick.Stop()
		for {
			select { // the ticker wakes it, the task's end ends it
			case <-tick.C:
				_ = m.InProgress() // if it is lost, the task may be done twice, which it bears
			case <-done:
				return
			}
		}
	}()
	err = cfg.Handle(ctx, &msg)
	close(done)
	switch {
	case err == nil:
		progress()
		if err := b.guarded("acknowledge "+msg.Subject, m.Ack); err != nil {
			return fmt.Errorf("acknowledge task %s: %w", msg.Subject, err)
		}
		return nil
	case ctx.Err() != nil:
		_ = m.Nak() // as above
		return nil
	}
	pause := retryDelay(meta.NumDelivered)
	if asked, ok := errors.AsType[*afterError](err); ok {
		pause = asked.pause
	} else {
		b.log.Warn("a task failed; it will come again", "subject", msg.Subject, "seq", msg.Seq, "delivery", meta.NumDelivered, "err", err)
	}
	if err := m.NakWithDelay(pause); err != nil {
		return fmt.Errorf("give back task %s: %w", msg.Subject, err)
	}
	return nil
}
