package deliver

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/tracing"
	"github.com/carillon-push/carillon/pkg/wire"
)

// acks are receipts of one shard, by push.
type acks struct {
	of      map[push.Seq]*wire.Receipt
	strange int // how many of them are of pushes that were not here when they were acknowledged
}

func newAcks() *acks { return &acks{of: map[push.Seq]*wire.Receipt{}} }

const (
	// maxAcked bounds the pushes of one shard that have unpublished receipts: more than can be live in a week. Beyond it an
	// acknowledgement is dropped and counted, and its push comes again.
	maxAcked = 4096
	// maxStrange bounds those of them that have to be looked up at the broker first. What a client has got from here is
	// known here, so these are of pushes from before a restart, or of none: a client may acknowledge anything, and must
	// neither keep the broker busy nor take others' room.
	maxStrange = 256
)

// receipt gives the receipt of a push, or nil when there are too many.
func (a *acks) receipt(seq push.Seq, strange bool) *wire.Receipt {
	r := a.of[seq]
	if r != nil || len(a.of) >= maxAcked || strange && a.strange >= maxStrange {
		return r
	}
	if strange {
		a.strange++
	}
	r = &wire.Receipt{Received: roaring.New(), Opened: roaring.New(), Sent: roaring.New()}
	a.of[seq] = r
	return r
}

// merge adds a receipt that could not be published; false when there is no room for it.
func (a *acks) merge(seq push.Seq, strange bool, r *wire.Receipt) bool {
	into := a.receipt(seq, strange)
	if into == nil {
		return false
	}
	into.Received.Or(r.Received)
	into.Opened.Or(r.Opened)
	into.Sent.Or(r.Sent)
	return true
}

// has says whether the user has acknowledged anything.
func (a *acks) has(local uint32) bool {
	for _, r := range a.of {
		if r.Received.Contains(local) || r.Opened.Contains(local) {
			return true
		}
	}
	return false
}

// acknowledge notes what a client has received or opened. It never waits.
func (d *Deliver) acknowledge(s *shard, local uint32, seqs []push.Seq, opened bool) {
	s.ackMu.Lock()
	defer s.ackMu.Unlock()
	for _, seq := range seqs {
		r := s.acks.of[seq] // when there is one its push was looked at, or will be before it is published
		if r == nil {
			p, here := d.pushes.held(seq)
			if seq == 0 || here && p.app != s.app {
				d.metrics.acksDropped.WithLabelValues(dropUnknown).Inc()
				continue
			}
			r = s.acks.receipt(seq, !here)
		}
		switch {
		case r == nil:
			d.metrics.acksDropped.WithLabelValues(dropFull).Inc()
		case opened:
			r.Opened.Add(local)
		default:
			r.Received.Add(local)
		}
	}
	d.metrics.acks.Add(float64(len(seqs)))
}

// sent notes to whose connections a push was given. Revocations have no such record.
func (s *shard) sent(p *known, users *roaring.Bitmap) {
	if p.revokes != 0 || users.IsEmpty() {
		return
	}
	s.ackMu.Lock()
	defer s.ackMu.Unlock()
	if r := s.acks.receipt(p.seq, false); r != nil {
		r.Sent.Or(users)
	} else {
		s.d.metrics.acksDropped.WithLabelValues(dropFull).Inc()
	}
}

// sentTo notes the pushes that were given to one user's connection.
func (s *shard) sentTo(pushes []*known, local uint32) {
	s.ackMu.Lock()
	defer s.ackMu.Unlock()
	for _, p := range pushes {
		if p.revokes != 0 {
			continue
		}
		if r := s.acks.receipt(p.seq, false); r != nil {
			r.Sent.Add(local)
		} else {
			s.d.metrics.acksDropped.WithLabelValues(dropFull).Inc()
		}
	}
}

// receipts publishes what was acknowledged, every interval until ctx ends.
func (d *Deliver) receipts(ctx context.Context) error {
	tick := time.NewTicker(d.cfg.Receipts)
	defer tick.Stop()
	for {
		select { // the ticker wakes it, ctx ends it
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := d.publishReceipts(ctx); err != nil && ctx.Err() == nil {
			d.log.Warn("publish receipts; will try again", "err", err)
		}
	}
}

func (d *Deliver) publishReceipts(ctx context.Context) error {
	var errs []error
	for _, s := range d.hub.list() {
		errs = append(errs, d.publishShard(ctx, s))
	}
	return errors.Join(errs...)
}

// settle makes sure that what the user has acknowledged here is on the broker, so that a login right after an
// acknowledgement does not get the push again. It gives the sequence that the inbox must have folded.
func (d *Deliver) settle(ctx context.Context, s *shard, local uint32) (uint64, error) {
	s.ackMu.Lock()
	settled, published := !s.acks.has(local) && !s.publishing.has(local), s.published
	s.ackMu.Unlock()
	if settled {
		return published, nil
	}
	if err := d.publishShard(ctx, s); err != nil {
		return 0, err
	}
	s.ackMu.Lock()
	defer s.ackMu.Unlock()
	return s.published, nil
}

// maxReceiptBatch is how many receipts, of at most 256 KiB each, share one write.
const maxReceiptBatch = 64

// publishShard publishes one shard's receipts. What fails is kept for the next time.
func (d *Deliver) publishShard(ctx context.Context, s *shard) error {
	select { // whoever publishes makes room, ctx ends it
	case s.publish <- struct{}{}:
		defer func() { <-s.publish }()
	case <-ctx.Done():
		return fmt.Errorf("wait to publish receipts: %w", ctx.Err())
	}
	s.ackMu.Lock()
	if len(s.acks.of) == 0 {
		s.ackMu.Unlock()
		return nil
	}
	s.publishing, s.acks = s.acks, newAcks()
	s.ackMu.Unlock()
	// From here on publishing is only read, by us and by settle, until it is emptied below.

	all := len(s.publishing.of)
	last, failed, err := d.write(ctx, s)
	d.metrics.receipts.WithLabelValues(receiptPublished).Add(float64(all - len(failed)))
	d.metrics.receipts.WithLabelValues(receiptFailed).Add(float64(len(failed)))

	s.ackMu.Lock()
	defer s.ackMu.Unlock()
	for _, seq := range failed {
		_, here := d.pushes.held(seq)
		if !s.acks.merge(seq, !here, s.publishing.of[seq]) {
			d.metrics.acksDropped.WithLabelValues(dropFull).Inc()
		}
	}
	s.publishing = newAcks()
	s.published = max(s.published, last)
	return err
}

// write writes what a shard is publishing. It gives the last sequence, and what could not be written: once the broker has
// failed, it is not asked for the rest.
func (d *Deliver) write(ctx context.Context, s *shard) (last uint64, failed []push.Seq, err error) {
	var outs []outgoing
	for seq, r := range s.publishing.of {
		var m broker.Message
		if err == nil {
			m, err = d.receipt(ctx, s, seq, r)
		}
		switch {
		case err == nil:
			span := d.traces.receipts(s, seq, r)
			m.Header = span.Inject(m.Header)
			outs = append(outs, outgoing{seq, m, span})
		case errors.Is(err, errNotItsPush):
			err = nil
			d.metrics.acksDropped.WithLabelValues(dropUnknown).Inc()
		default:
			failed = append(failed, seq)
		}
	}
	for len(outs) > 0 {
		n := min(len(outs), maxReceiptBatch)
		msgs := make([]broker.Message, n)
		for i, o := range outs[:n] {
			msgs[i] = o.Message
		}
		places, werr := d.b.Write(wire.ReceiptsStream, msgs...)
		for _, o := range outs[:n] {
			o.span.End(werr)
		}
		if werr != nil {
			for _, o := range outs {
				failed = append(failed, o.seq)
			}
			return last, failed, errors.Join(err, werr)
		}
		last, outs = places[n-1], outs[n:]
	}
	return last, failed, err
}

// outgoing is a receipt on its way to the broker.
type outgoing struct {
	seq push.Seq
	broker.Message
	span tracing.Span // of the first receipts of a push whose way is recorded
}

// errNotItsPush is for receipts of pushes that the app never made: a client may acknowledge anything.
var errNotItsPush = errors.New("no push of the app")

// receipt lays a receipt out, after a look at the push that it is of.
func (d *Deliver) receipt(ctx context.Context, s *shard, seq push.Seq, r *wire.Receipt) (broker.Message, error) {
	p, err := d.pushes.get(ctx, seq)
	if errors.Is(err, broker.ErrNotFound) || unreadable(err) || err == nil && p.app != s.app {
		return broker.Message{}, fmt.Errorf("push %d: %w", seq, errNotItsPush)
	}
	if err != nil {
		return broker.Message{}, err
	}
	waiting := roaring.AndNot(r.Sent, roaring.Or(r.Received, r.Opened))
	data, err := wire.EncodeReceipt(wire.Receipt{Received: r.Received, Opened: r.Opened, Sent: waiting})
	if err != nil {
		return broker.Message{}, err
	}
	return broker.Message{
		Subject: wire.ReceiptSubject(s.app, s.id, seq), Data: data,
		Header: map[string]string{wire.HeaderExpire: strconv.FormatInt(p.expire, 10)},
	}, nil
}
