package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// maxBatch is the most messages that the broker takes in one atomic batch.
	maxBatch = 1000
	// writeTimeout bounds one commit. It is not a caller's, since a commit carries the writes of many.
	writeTimeout = 10 * time.Second
)

// unit is one caller's write: all of its messages or none.
type unit struct {
	msgs []Message
	seqs []uint64
	err  error
	done chan struct{} // closed when seqs and err are set
	lead chan struct{} // closed when this caller is to commit next
}

// writer gathers the writes of one stream. There is no goroutine: the caller that finds nobody committing commits what
// has gathered, and then hands over to the first that waits, so that everybody's wait is at most two commits and the time that
// each of them waits for others.
type writer struct {
	arrived chan struct{} // capacity 1: a unit has come into the queue

	mu      sync.Mutex
	queue   []*unit
	waiting int // messages in the queue
	leading bool
	load    load
}

// load is what the last commit saw of its stream's callers.
type load struct {
	units int           // that it wrote, or that waited behind it
	took  time.Duration // to commit
	ended time.Time
}

// Write puts messages into one stream that takes batches, all or none, and gives their sequences. Concurrent writes share
// a commit and its fsync. The error is ErrConflict when a message's Expect does not hold; after any other error the
// outcome is unknown, and the caller reads again before it repeats. A unit has at most 1,000 messages, without ID,
// and no subject twice.
func (b *Broker) Write(stream string, msgs ...Message) (seqs []uint64, err error) {
	if len(msgs) == 0 {
		return nil, nil
	}
	if len(msgs) > maxBatch {
		return nil, fmt.Errorf("write %d messages to %s: at most %d go together", len(msgs), stream, maxBatch)
	}
	err = b.guarded("write "+stream, func() error {
		seqs, err = b.gather(stream, msgs)
		return err
	})
	return seqs, err
}

// gather puts a unit in the queue and waits for its outcome, committing itself when it is its turn.
func (b *core) gather(stream string, msgs []Message) ([]uint64, error) {
	w := b.writer(stream)
	u := &unit{msgs: msgs, done: make(chan struct{}), lead: make(chan struct{})}
	if !w.join(u) {
		select { // woken by the outcome, or by its turn to commit, of which one comes in bounded time
		case <-u.done:
			return u.seqs, u.err
		case <-u.lead:
		}
	}
	w.await()
	batch, start := w.take(), time.Now()
	b.commit(stream, batch)
	b.metrics.commitSeconds.Observe(time.Since(start).Seconds())
	n := 0
	for _, v := range batch {
		n += len(v.msgs)
		b.wrote(v.err, v.seqs, v.msgs...)
		b.outcome(v.err, len(v.msgs))
	}
	b.metrics.commitMessages.Observe(float64(n))
	w.handOver(load{units: len(batch), took: time.Since(start), ended: time.Now()})
	for _, v := range batch {
		close(v.done)
	}
	return u.seqs, u.err
}

func (b *core) writer(stream string) *writer {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.writers[stream]
	if w == nil {
		w = &writer{arrived: make(chan struct{}, 1)}
		b.writers[stream] = w
	}
	return w
}

// join puts a unit in the queue and says whether its caller is to commit at once, since nobody does.
func (w *writer) join(u *unit) (lead bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = append(w.queue, u)
	w.waiting += len(u.msgs)
	lead, w.leading = !w.leading, true
	select { // never waits: a mark that is there already says the same
	case w.arrived <- struct{}{}:
	default:
	}
	return lead
}

const (
	// bulk is from how many messages on a commit may wait for more. With fewer, of single logins and registrations say, a
	// caller would lose more time than is won.
	bulk = 100
	// largeBatch is from how many messages on the price of a batch matters little.
	largeBatch = 512
	// maxPatience bounds the wait for more units behind a commit that took long.
	maxPatience = 20 * time.Millisecond
)

// await waits for the callers that the commit before saw and that are not in the queue yet, for at most half of that
// commit's time. A batch has a price of its own: without this, callers that write to two streams in turn, as those that
// register accounts do, fall into twice as many groups, each half as large. It does not wait when the stream was idle, when
// the messages are few, or when they are so many that the price matters little.
func (w *writer) await() {
	w.mu.Lock()
	last := w.load
	due := w.waiting < bulk || w.waiting >= largeBatch || len(w.queue) >= last.units || time.Since(last.ended) > last.took
	w.mu.Unlock()
	if due {
		return
	}
	timer := time.NewTimer(min(last.took/2, maxPatience))
	defer timer.Stop()
	for !due {
		select { // a unit wakes it, the timer ends it
		case <-w.arrived:
			w.mu.Lock()
			due = len(w.queue) >= last.units || w.waiting >= maxBatch
			w.mu.Unlock()
		case <-timer.C:
			return
		}
	}
}

// take removes from the queue what goes into the next commit: as many units as fit, the leader's first, leaving those
// that write a subject that is in it already (a batch knows each subject once).
func (w *writer) take() []*unit {
	w.mu.Lock()
	defer w.mu.Unlock()
	var batch, rest []*unit
	subjects := map[string]bool{}
	n := 0
	for _, u := range w.queue {
		if n+len(u.msgs) > maxBatch || overlaps(u, subjects) {
			rest = append(rest, u)
			continue
		}
		n += len(u.msgs)
		batch = append(batch, u)
		for _, m := range u.msgs {
			subjects[m.Subject] = true
		}
	}
	w.queue = rest
	w.waiting -= n
	return batch
}

func overlaps(u *unit, subjects map[string]bool) bool {
	for _, m := range u.msgs {
		if subjects[m.Subject] {
			return true
		}
	}
	return false
}

// handOver makes the first waiting unit's caller the next to commit, and tells it what the last commit saw.
func (w *writer) handOver(last load) {
	w.mu.Lock()
	defer w.mu.Unlock()
	last.units += len(w.queue)
	w.load = last
	if len(w.queue) == 0 {
		w.leading = false
		return
	}
	close(w.queue[0].lead)
}

// minBatch is from how many messages on a batch is faster than its messages one by one, pipelined: the server makes a
// store of its own for every batch, which costs some two milliseconds where a synced message costs a sixth of one.
const minBatch = 13

// commit writes the units in one batch, or one by one where they are few. One conflict fails a whole batch, so then each
// is written by itself.
func (b *core) commit(stream string, units []*unit) {
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	ctx, stop := b.conns.until(ctx)
	defer stop()
	if len(units) == 1 {
		units[0].seqs, units[0].err = b.writeUnit(ctx, stream, units[0].msgs)
		return
	}
	n := 0
	for _, u := range units {
		n += len(u.msgs)
	}
	all := make([]Message, 0, n)
	for _, u := range units {
		all = append(all, u.msgs...)
	}
	if len(all) < minBatch && len(all) == len(units) {
		b.writeEach(ctx, stream, units)
		return
	}
	seqs, err := b.writeUnit(ctx, stream, all)
	if errors.Is(err, ErrConflict) {
		b.writeEach(ctx, stream, units)
		return
	}
	for _, u := range units {
		if u.err = err; err == nil {
			u.seqs, seqs = seqs[:len(u.msgs):len(u.msgs)], seqs[len(u.msgs):]
		}
	}
}

// writeEach writes units one by one: those of one message without waiting between them.
func (b *core) writeEach(ctx context.Context, stream string, units []*unit) {
	acks := make([]jetstream.PubAckFuture, len(units))
	for i, u := range units {
		if len(u.msgs) == 1 {
			if acks[i], u.err = b.js.PublishMsgAsync(u.msgs[0].nats()); u.err != nil {
				u.err = fmt.Errorf("publish to %s: %w", stream, u.err)
			}
		}
	}
	for i, u := range units {
		switch {
		case u.err != nil:
		case acks[i] == nil:
			u.seqs, u.err = b.writeUnit(ctx, stream, u.msgs)
		default:
			select { // the broker answers, or the commit's time is over
			case ack := <-acks[i].Ok():
				u.seqs = []uint64{ack.Sequence}
			case err := <-acks[i].Err():
				u.err = fmt.Errorf("publish to %s: %w", stream, asConflict(err))
			case <-ctx.Done():
				u.err = fmt.Errorf("publish to %s: %w", stream, context.Cause(ctx))
			}
		}
	}
}

func (b *core) writeUnit(ctx context.Context, stream string, msgs []Message) ([]uint64, error) {
	if len(msgs) == 1 {
		ack, err := b.js.PublishMsg(ctx, msgs[0].nats())
		if err != nil {
			return nil, fmt.Errorf("write to %s: %w", stream, asConflict(cause(ctx, err)))
		}
		return []uint64{ack.Sequence}, nil
	}
	last, err := b.publishBatch(ctx, msgs)
	if err != nil {
		return nil, fmt.Errorf("write %d messages to %s: %w", len(msgs), stream, asConflict(cause(ctx, err)))
	}
	seqs := make([]uint64, len(msgs))
	for i := range seqs {
		seqs[i] = last - uint64(len(msgs)-1-i) // a batch stands together in the log
	}
	return seqs, nil
}
