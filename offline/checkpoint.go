package offline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/wire"
)

// bucket is what a checkpoint needs of the broker.
type bucket interface {
	Publish(context.Context, broker.Message) (seq uint64, repeated bool, err error)
	Last(ctx context.Context, stream, subject string) (*broker.Message, error)
}

// checkpoint writes a shard's entries to the PENDING bucket. Its fields are of the goroutine that runs it.
type checkpoint struct {
	s    *shard
	b    bucket
	at   wire.Position // as the bucket has it
	rev  uint64        // of the position in the bucket
	live int           // our part of the gauge
}

// finalWait bounds the last checkpoint of an orderly end.
const finalWait = 5 * time.Second

// run writes until ctx ends, and then once more, so that an orderly restart has nothing to fold again.
func (c *checkpoint) run(ctx context.Context) error {
	tick := time.NewTicker(c.s.o.cfg.Checkpoint)
	defer tick.Stop()
	defer func() { c.count(0) }()
	for {
		select { // a new entry or the ticker wakes it, ctx ends it
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), finalWait)
			defer cancel()
			c.write(last, true)
			return ctx.Err()
		case <-c.s.fresh:
			c.write(ctx, false)
		case <-tick.C:
			c.count(c.s.pending.expired(time.Now().Unix()))
			c.s.pending.tidy()
			c.write(ctx, true)
		}
	}
}

// count changes our part of the gauge of live pushes, which the shards of the process share.
func (c *checkpoint) count(live int) {
	c.s.o.metrics.live.Add(float64(live - c.live))
	c.live = live
}

// write puts the entries that are new into the bucket, or all that have changed and the position after them. What fails is
// tried at the next one, and the position stays.
func (c *checkpoint) write(ctx context.Context, all bool) {
	changes, at := c.s.pending.changes(all)
	whole := all
	for _, ch := range changes {
		c.s.pending.reads(&ch)
		if err := c.entry(ctx, ch); err != nil {
			whole = false
			c.s.o.metrics.failed.Inc()
			c.s.pending.failed(ch)
			c.s.log.Warn("write a pending entry; will try again", "push", ch.seq, "err", err)
		}
	}
	if at = further(at, c.at); whole && at != c.at {
		if err := c.position(ctx, at); err != nil {
			c.s.o.metrics.failed.Inc()
			c.s.log.Warn("write the position of the pending entries; will try again", "err", err)
		}
	}
}

// further is the further of two claims, of which either is true: where one worker has folded a receipt and another an
// audience behind it, the first would have kept its claim before that receipt.
func further(a, b wire.Position) wire.Position {
	return wire.Position{Audiences: max(a.Audiences, b.Audiences), Receipts: max(a.Receipts, b.Receipts)}
}

// nearer is what both of two claims say.
func nearer(a, b wire.Position) wire.Position {
	return wire.Position{Audiences: min(a.Audiences, b.Audiences), Receipts: min(a.Receipts, b.Receipts)}
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
		// Whole seconds, rounded up: the entry must not go before the push does, and what is left over nobody answers with.
		ttl := (left + time.Second - 1).Truncate(time.Second)
		rev, _, err := c.b.Publish(ctx, broker.Message{Subject: subject, Data: data, TTL: ttl}.After(ch.rev))
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
		m, err := c.b.Last(ctx, wire.PendingStream, subject)
		if errors.Is(err, broker.ErrNotFound) {
			ch.rev = 0
			continue
		}
		if err != nil {
			return err
		}
		ch.rev = m.Seq
		theirs, err := wire.DecodePending(m.Data, c.s.width)
		if err != nil { // the broker's mark that its time is over, or what restore could not read: ours takes its place
			if err := c.reset(ctx); err != nil {
				return err
			}
			continue
		}
		ch.Users = c.s.pending.merge(ch, theirs.Users)
		if ch.Users.Equals(theirs.Users) {
			c.s.pending.written(ch, m.Seq)
			return nil
		}
	}
	return fmt.Errorf("%s: %w", subject, broker.ErrConflict)
}

// reset takes back what the position claims, before an entry that cannot be read is replaced by one that may have folded
// less. A restart after that folds the logs from their beginning, which is slow and always right.
func (c *checkpoint) reset(ctx context.Context) error {
	m := broker.Message{Subject: wire.PositionSubject(c.s.app, c.s.id), Data: wire.EncodePosition(wire.Position{})}
	rev, _, err := c.b.Publish(ctx, m)
	if err != nil {
		return err
	}
	c.at, c.rev = wire.Position{}, rev
	return nil
}

// position puts the position into the bucket. Another worker's claim is as true as ours, so the further one stands.
func (c *checkpoint) position(ctx context.Context, at wire.Position) error {
	subject := wire.PositionSubject(c.s.app, c.s.id)
	for range attempts {
		rev, _, err := c.b.Publish(ctx, broker.Message{Subject: subject, Data: wire.EncodePosition(at)}.After(c.rev))
		if err == nil {
			c.at, c.rev = at, rev
			return nil
		}
		if !errors.Is(err, broker.ErrConflict) {
			return err
		}
		m, err := c.b.Last(ctx, wire.PendingStream, subject)
		if errors.Is(err, broker.ErrNotFound) {
			c.rev = 0
			continue
		}
		if err != nil {
			return err
		}
		c.rev = m.Seq
		if theirs, err := wire.DecodePosition(m.Data); err == nil {
			at = further(at, theirs)
		}
	}
	return fmt.Errorf("%s: %w", subject, broker.ErrConflict)
}
