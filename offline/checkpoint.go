package offline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/wire"
)

// checkpoint writes a shard's entries to the PENDING bucket. Its fields are of the goroutine that runs it.
type checkpoint struct {
	s   *shard
	at  wire.Position // as the bucket has it
	rev uint64        // of the position in the bucket
}

// finalWait bounds the last checkpoint of an orderly end.
const finalWait = 5 * time.Second

// run writes until ctx ends, and then once more, so that an orderly restart has nothing to fold again.
func (c *checkpoint) run(ctx context.Context) error {
	tick := time.NewTicker(c.s.o.cfg.Checkpoint)
	defer tick.Stop()
	for {
		select { // a new entry or the ticker wakes it, ctx ends it
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), finalWait)
			defer cancel()
			c.write(last)
			return ctx.Err()
		case <-c.s.fresh:
		case <-tick.C:
			live := c.s.pending.expired(time.Now().Unix())
			c.s.o.metrics.live.Set(float64(live))
		}
		c.write(ctx)
	}
}

// write puts the entries that have changed into the bucket, and the position after them. What fails is tried at the next
// one, and the position stays.
func (c *checkpoint) write(ctx context.Context) {
	changes, at := c.s.pending.changes()
	whole := true
	for _, ch := range changes {
		if err := c.entry(ctx, ch); err != nil {
			whole = false
			c.s.pending.failed(ch)
			c.s.log.Warn("write a pending entry; will try again", "push", ch.seq, "err", err)
		}
	}
	if whole && at != c.at {
		if err := c.position(ctx, at); err != nil {
			c.s.log.Warn("write the position of the pending entries; will try again", "err", err)
		}
	}
}

// attempts bounds the repeats of a compare-and-set within one checkpoint; each means that another worker's succeeded.
const attempts = 8

// entry puts one entry into the bucket, with what is left of its lifetime. Where another worker of the shard, or our own
// write whose answer was lost, has put it there already, what both hold is kept.
func (c *checkpoint) entry(ctx context.Context, ch change) error {
	subject := wire.PendingSubject(c.s.app, c.s.id, ch.seq)
	for range attempts {
		left := time.Until(time.Unix(ch.Expire, 0))
		if left <= 0 {
			return nil
		}
		data, err := wire.EncodePending(ch.Pending)
		if err != nil {
			return err
		}
		rev, _, err := c.s.o.b.Publish(ctx, broker.Message{Subject: subject, Data: data, TTL: left}.After(ch.rev))
		if err == nil {
			c.s.pending.written(ch, rev)
			c.s.o.metrics.entries.Inc()
			c.s.o.metrics.bytes.Add(float64(len(data)))
			return nil
		}
		if !errors.Is(err, broker.ErrConflict) {
			return err
		}
		c.s.o.metrics.merged.Inc()
		m, err := c.s.o.b.Last(ctx, wire.PendingStream, subject)
		if errors.Is(err, broker.ErrNotFound) {
			ch.rev = 0
			continue
		}
		if err != nil {
			return err
		}
		ch.rev = m.Seq
		theirs, err := wire.DecodePending(m.Data, c.s.o.b.Sharding().Width())
		if err != nil {
			continue // the broker's mark that its time is over, or what restore could not read: ours takes its place
		}
		ch.Users = c.s.pending.merge(ch, theirs.Users)
		if ch.Users.Equals(theirs.Users) {
			c.s.pending.written(ch, m.Seq)
			return nil
		}
	}
	return fmt.Errorf("%s: %w", subject, broker.ErrConflict)
}

// position puts the position into the bucket. Another worker's claim is as true as ours, so the further one stands.
func (c *checkpoint) position(ctx context.Context, at wire.Position) error {
	subject := wire.PositionSubject(c.s.app, c.s.id)
	for range attempts {
		rev, _, err := c.s.o.b.Publish(ctx, broker.Message{Subject: subject, Data: wire.EncodePosition(at)}.After(c.rev))
		if err == nil {
			c.at, c.rev = at, rev
			return nil
		}
		if !errors.Is(err, broker.ErrConflict) {
			return err
		}
		m, err := c.s.o.b.Last(ctx, wire.PendingStream, subject)
		if errors.Is(err, broker.ErrNotFound) {
			c.rev = 0
			continue
		}
		if err != nil {
			return err
		}
		c.rev = m.Seq
		if theirs, err := wire.DecodePosition(m.Data); err == nil {
			at.Audiences, at.Receipts = max(at.Audiences, theirs.Audiences), max(at.Receipts, theirs.Receipts)
		}
	}
	return fmt.Errorf("%s: %w", subject, broker.ErrConflict)
}
