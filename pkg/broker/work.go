package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// ackWait is how long the broker waits for a sign of life before it gives a task to another worker: when one dies, that is
	// how long the task stands still, and what is behind it.
	ackWait = 500 * time.Millisecond
	// signs of life go out while a task is being done, but only so many: a worker that hangs must not keep it.
	signEvery = ackWait / 3
	maxSigns  = 7
	// workPull is how long a pull stands.
	workPull = 2 * time.Second
)

// workGroup is the one priority group of a task consumer.
const workGroup = "workers"

// WorkConfig says which tasks to take.
type WorkConfig struct {
	// Name shows how many tasks wait, in the metrics and to Stuck; one of few. Empty: it is not shown.
	Name   string
	Stream string
	// Durable names the consumer that the workers share.
	Durable string
	// Filter is a subject filter within the stream.
	Filter string
	// Rank, unless nil, is this worker's place among those that share the consumer, and a channel that is closed when it may
	// be another: the broker gives tasks to the lowest that asks. Without it the worker is the first.
	Rank func() (rank int, changed <-chan struct{})
	// Handle does one task. When it fails, the task comes again, to this worker or to another.
	Handle func(context.Context, *Message) error
}

// Work takes tasks one at a time, until ctx ends. A task counts as done when Handle returns nil; it may come again even so,
// when the process or the connection dies before the broker hears of it: Handle must bear repeats.
func (b *Broker) Work(ctx context.Context, cfg WorkConfig) error {
	seen := &follower{name: cfg.Name, stream: cfg.Stream, filter: cfg.Filter, first: func() bool {
		if cfg.Rank == nil {
			return true
		}
		rank, _ := cfg.Rank()
		return rank == 0
	}}
	defer b.track(seen)()
	backoff := 50 * time.Millisecond
	for had := false; ; {
		err := b.workOnce(ctx, cfg, seen, &had, func() { backoff = 50 * time.Millisecond })
		if ctx.Err() != nil {
			return ctx.Err()
		}
		seen.broke(err)
		b.metrics.interrupted.WithLabelValues(interruptedWork).Inc()
		b.log.Warn("taking tasks was interrupted; will go on", "stream", cfg.Stream, "consumer", cfg.Durable, "err", err)
		select { // the pause wakes it, ctx ends it
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(backoff):
			backoff = min(2*backoff, maxBackoff)
		}
	}
}

// workOnce takes tasks until ctx ends or the connection is lost. had says whether there has been a consumer, and is set when
// there is one.
func (b *Broker) workOnce(ctx context.Context, cfg WorkConfig, seen *follower, had *bool, progress func()) (err error) {
	ctx, cancel := b.conns.until(ctx)
	defer cancel()
	defer func() { err = cause(ctx, err) }()
	cons, err := b.tasksOf(ctx, cfg.Stream, jetstream.ConsumerConfig{
		Durable: cfg.Durable, FilterSubject: cfg.Filter, AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait,
		MaxAckPending: 1, MaxDeliver: -1,
		PriorityPolicy: jetstream.PriorityPolicyPrioritized, PriorityGroups: []string{workGroup},
	}, *had)
	if err != nil {
		return fmt.Errorf("make or find consumer %s of %s: %w", cfg.Durable, cfg.Stream, err)
	}
	*had = true
	seen.follows(cfg.Durable)
	for {
		if err := b.workAtRank(ctx, cons, cfg, seen, progress); err != nil {
			return err
		}
	}
}

// maxRank is the lowest place that the broker knows.
const maxRank = 9

// workAtRank takes tasks until the worker's rank is another, which is no error, or ctx ends. What has been given to it by
// then it does, or gives back when ctx has ended, so that no task waits until the broker misses it.
func (b *Broker) workAtRank(ctx context.Context, cons jetstream.Consumer, cfg WorkConfig, seen *follower, progress func()) error {
	rank, changed := 0, (<-chan struct{})(nil)
	if cfg.Rank != nil {
		rank, changed = cfg.Rank()
	}
	msgs, err := cons.Messages(jetstream.PullMaxMessages(1), jetstream.PullExpiry(workPull), jetstream.PullHeartbeat(workPull/2),
		jetstream.PullPriorityGroup(workGroup), jetstream.PullPrioritized(uint8(min(max(rank, 0), maxRank))))
	if err != nil {
		return fmt.Errorf("take tasks from %s: %w", cfg.Stream, err)
	}
	defer msgs.Stop()
	here, leave := context.WithCancel(ctx)
	watched := make(chan struct{})
	defer func() { leave(); <-watched }()
	go func() {
		defer close(watched)
		for {
			select { // another view of the members wakes it; another rank, or the end of the work at this one, ends it
			case <-here.Done():
				return
			case <-changed:
			}
			var now int
			if now, changed = cfg.Rank(); now != rank {
				leave()
			}
		}
	}()
	next := func() (jetstream.Msg, error) { return msgs.Next(jetstream.NextContext(here)) }
	draining := false
	for {
		m, err := next()
		switch {
		case err == nil:
		case draining && (errors.Is(err, jetstream.ErrMsgIteratorClosed) || errors.Is(err, nats.ErrTimeout)):
			return ctx.Err()
		case here.Err() != nil && !draining:
			msgs.Drain()
			next, draining = func() (jetstream.Msg, error) { return msgs.Next(jetstream.NextMaxWait(drainWait)) }, true
			continue
		default:
			return fmt.Errorf("take tasks from %s: %w", cfg.Stream, err)
		}
		if err := b.task(ctx, cfg, m, seen, progress); err != nil {
			return err
		}
	}
}

// drainWait bounds how long a worker waits for what the broker may have given to it: a round trip, unless the broker is gone.
const drainWait = time.Second

// task does one task and says so, or gives it back.
func (b *Broker) task(ctx context.Context, cfg WorkConfig, m jetstream.Msg, seen *follower, progress func()) error {
	meta, err := m.Metadata()
	if err != nil {
		return fmt.Errorf("take tasks from %s: %w", cfg.Stream, err)
	}
	msg := fromStream(m, meta)
	err = ctx.Err()
	if err == nil {
		done := make(chan struct{})
		go sign(m, done)
		n := seen.begun.Load() + 1
		seen.begin(n, msg.More)
		err = cfg.Handle(ctx, &msg)
		seen.end(n)
		close(done)
	}
	if ctx.Err() != nil && err != nil {
		b.metrics.tasks.WithLabelValues(taskReturned).Inc()
		_ = m.Nak() // the next in rank has it at once; if this is lost, when the broker misses our answer
		return nil
	}
	if err != nil {
		b.metrics.tasks.WithLabelValues(taskFailed).Inc()
		b.log.Warn("a task failed; it will come again", "subject", msg.Subject, "seq", msg.Seq, "delivery", meta.NumDelivered, "err", err)
		if err := m.NakWithDelay(taskPause(err, meta.NumDelivered)); err != nil {
			return fmt.Errorf("give back task %s: %w", msg.Subject, err)
		}
		return nil
	}
	progress()
	b.metrics.tasks.WithLabelValues(taskDone).Inc()
	if err := b.guarded("acknowledge "+msg.Subject, m.Ack); err != nil {
		return fmt.Errorf("acknowledge task %s: %w", msg.Subject, err)
	}
	return nil
}

// sign tells the broker for a while that a task is being done, until it is.
func sign(m jetstream.Msg, done <-chan struct{}) {
	tick := time.NewTicker(signEvery)
	defer tick.Stop()
	for range maxSigns {
		select { // the ticker wakes it, the task's end ends it
		case <-tick.C:
			_ = m.InProgress() // if it is lost, the task may be done twice, which it bears
		case <-done:
			return
		}
	}
}

// leaderlessPause is the longest pause of a task that failed because the broker had no leader for what it asked: there will
// be one, and each such try has waited for an answer already.
const leaderlessPause = 200 * time.Millisecond

// taskPause is how long a task that failed waits until it comes again.
func taskPause(err error, delivered uint64) time.Duration {
	if unsettled(err) || errors.Is(err, ErrLost) {
		return min(retryDelay(delivered), leaderlessPause)
	}
	return retryDelay(delivered)
}

// retryDelay grows with the number of deliveries, so that a task that cannot succeed does not keep a core busy.
func retryDelay(delivered uint64) time.Duration {
	return min(50*time.Millisecond<<min(delivered, 7), maxBackoff)
}
