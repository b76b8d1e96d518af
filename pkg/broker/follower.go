package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

// follower is how far a fold, or a worker on tasks, has come, as far as it is known here. What it has on its hands it says
// itself, for the cost of a look at the clock a message; what is before it the broker is asked now and then (Look).
type follower struct {
	name, stream, filter string
	first                func() bool // of a worker: whether it is the one to ask about the tasks; nil: it is a fold

	began         atomic.Int64  // unix nanoseconds: when the last message was begun
	begun, ended  atomic.Uint64 // messages, counted by the consumer's sequence (fold) or by ourselves (worker)
	more          atomic.Uint64 // what the broker had behind the last one when it sent that
	brokenSince   atomic.Int64  // unix nanoseconds: since when it has no consumer, 0 while it has
	mu            sync.Mutex
	consumer      string
	why           error     // why it is broken
	asked         bool      // the broker has answered about this consumer
	waiting       uint64    // messages before it, when the broker was asked
	place         uint64    // how far it had come then
	standingSince time.Time // since when it has had messages before it, and not moved; zero when it moves or has none
}

// track makes a fold or worker seen until forget. Without a name it is not seen.
func (b *core) track(f *follower) (forget func()) {
	if f.name == "" {
		return func() {}
	}
	f.began.Store(time.Now().UnixNano())
	f.brokenSince.Store(time.Now().UnixNano()) // until it has its first consumer
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.followers == nil {
		b.followers = map[*follower]struct{}{}
	}
	b.followers[f] = struct{}{}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.followers, f)
	}
}

func (b *core) tracked() []*follower {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]*follower, 0, len(b.followers))
	for f := range b.followers {
		all = append(all, f)
	}
	return all
}

// follows notes the consumer that it has now: a new one counts from 1.
func (f *follower) follows(consumer string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.consumer, f.why = consumer, nil
	f.unasked()
	f.begun.Store(0)
	f.ended.Store(0)
	f.brokenSince.Store(0)
}

// broke notes that it has none, and why.
func (f *follower) broke(why error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.consumer, f.why = "", why
	f.unasked()
	f.brokenSince.CompareAndSwap(0, time.Now().UnixNano())
}

// unasked forgets what the broker said. Called with mu held.
func (f *follower) unasked() { f.asked, f.standingSince = false, time.Time{} }

// begin and end are around each message.
func (f *follower) begin(n, more uint64) {
	f.began.Store(time.Now().UnixNano())
	f.more.Store(more)
	f.begun.Store(n)
}

func (f *follower) end(n uint64) { f.ended.Store(n) }

// note takes what the broker says of its consumer.
func (f *follower) note(info *jetstream.ConsumerInfo, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.consumer != info.Name {
		return
	}
	place := f.ended.Load()
	f.waiting = info.NumPending
	if f.first != nil {
		place = info.AckFloor.Stream
		f.waiting += uint64(info.NumAckPending)
	} else if info.Delivered.Consumer > place {
		f.waiting += info.Delivered.Consumer - place // on its way here, or waiting here
	}
	switch {
	case f.waiting == 0:
		f.standingSince = time.Time{}
	case !f.asked || f.standingSince.IsZero() || place != f.place:
		f.standingSince = now
	}
	f.asked, f.place = true, place
}

// lag is how many messages are before it, and for how long it has not handled one although there are some.
func (f *follower) lag(now time.Time) (messages uint64, still time.Duration) {
	busy := f.begun.Load() > f.ended.Load()
	f.mu.Lock()
	defer f.mu.Unlock()
	if messages = f.more.Load(); f.asked {
		messages = f.waiting
	}
	if busy {
		messages = max(messages, 1)
		still = now.Sub(time.Unix(0, f.began.Load()))
	}
	if messages > 0 && !f.standingSince.IsZero() && f.standing() {
		still = max(still, now.Sub(f.standingSince))
	}
	return messages, max(still, 0)
}

// standing says whether it is where it was when the broker was asked. Called with mu held.
func (f *follower) standing() bool { return f.first != nil || f.ended.Load() == f.place }

// stuck says in words why it has not moved for so long although it should have, "" when it has.
func (f *follower) stuck(after time.Duration, now time.Time) string {
	messages, still := f.lag(now)
	if still > after {
		return fmt.Sprintf("%s of %s has not moved for %v, with %d messages before it", f.name, f.stream, still.Round(time.Second), messages)
	}
	if since := f.brokenSince.Load(); since != 0 && now.Sub(time.Unix(0, since)) > after {
		f.mu.Lock()
		defer f.mu.Unlock()
		return fmt.Sprintf("%s cannot follow %s for %v: %v", f.name, f.stream, now.Sub(time.Unix(0, since)).Round(time.Second), f.why)
	}
	return ""
}

// Bounds of Look.
const (
	lookMost = 256 // consumers that the broker is asked about; the others have their turn at the next look
	lookers  = 8
	lookTime = 2 * time.Second
)

// Look asks the broker how much is before the folds and workers of this process, for Stuck and the metrics. It is bounded
// in time and in questions; what the broker does not answer stays as it was.
func (b *Broker) Look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	var g errgroup.Group
	g.SetLimit(lookers)
	asked := 0
	for _, f := range b.tracked() { // in another order each time
		f.mu.Lock()
		consumer := f.consumer
		if f.first != nil && !f.first() { // another one looks after the tasks
			f.unasked()
			f.more.Store(0)
			consumer = ""
		}
		f.mu.Unlock()
		if consumer == "" {
			continue
		}
		if asked++; asked > lookMost {
			break
		}
		g.Go(func() error {
			if c, err := b.in.Consumer(ctx, f.stream, consumer); err == nil {
				f.note(c.CachedInfo(), time.Now())
			} else if errors.Is(err, jetstream.ErrConsumerNotFound) {
				b.log.Debug("a consumer has gone", "stream", f.stream, "consumer", consumer)
			}
			return nil
		})
	}
	_ = g.Wait() // none of them fails
}

// Stuck says, in a sentence each, which folds and workers of the given names have not moved for so long although there is
// something for them, as far as the last Look saw; of all names when none is given.
func (b *Broker) Stuck(after time.Duration, names ...string) (stuck []error) {
	now := time.Now()
	for _, f := range b.tracked() {
		if why := f.stuck(after, now); why != "" && (len(names) == 0 || slices.Contains(names, f.name)) {
			stuck = append(stuck, errors.New(why))
		}
	}
	return stuck
}
