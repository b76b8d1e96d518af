package deliver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// acks are receipts of one shard, by push.
type acks map[push.Seq]*wire.Receipt

// maxAcked bounds the pushes of one shard that have unpublished receipts: more than can be live in a week. Beyond it an
// acknowledgement is dropped and counted, and its push comes again.
const maxAcked = 4096

// receipt gives the receipt of a push, or nil when there are too many.
func (a acks) receipt(seq push.Seq) *wire.Receipt {
	r := a[seq]
	if r == nil && len(a) < maxAcked {
		r = &wire.Receipt{Received: roaring.New(), Opened: roaring.New()}
		a[seq] = r
	}
	return r
}

// merge adds a receipt that could not be published; false when there is no room for it.
func (a acks) merge(seq push.Seq, r *wire.Receipt) bool {
	into := a.receipt(seq)
	if into == nil {
		return false
	}
	into.Received.Or(r.Received)
	into.Opened.Or(r.Opened)
	return true
}

// has says whether any receipt is of the user.
func (a acks) has(local uint32) bool {
	for _, r := range a {
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
		r := s.acks.receipt(seq)
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
	s.publish.Lock()
	defer s.publish.Unlock()
	s.ackMu.Lock()
	s.publishing, s.acks = s.acks, acks{}
	s.ackMu.Unlock()
	// From here on publishing is only read, by us and by settle, until it is emptied below.

	var outs []outgoing
	var failed []push.Seq
	var errs []error
	for seq, r := range s.publishing {
		m, err := d.receipt(ctx, s, seq, r)
		switch {
		case err == nil:
			outs = append(outs, outgoing{seq, m})
		case errors.Is(err, errNotItsPush):
			d.metrics.acksDropped.WithLabelValues(dropUnknown).Inc()
		default:
			errs, failed = append(errs, err), append(failed, seq)
		}
	}
	var last uint64
	for chunk := range slices.Chunk(outs, maxReceiptBatch) {
		msgs := make([]broker.Message, len(chunk))
		for i, o := range chunk {
			msgs[i] = o.Message
		}
		places, err := d.b.Write(wire.ReceiptsStream, msgs...)
		if err == nil {
			last = places[len(places)-1]
			continue
		}
		errs = append(errs, err)
		for _, o := range chunk {
			failed = append(failed, o.seq)
		}
	}

	s.ackMu.Lock()
	defer s.ackMu.Unlock()
	for _, seq := range failed {
		if !s.acks.merge(seq, s.publishing[seq]) {
			d.metrics.acksDropped.WithLabelValues(dropFull).Inc()
		}
	}
	s.publishing = acks{}
	s.published = max(s.published, last)
	return errors.Join(errs...)
}

// outgoing is a receipt on its way to the broker.
type outgoing struct {
	seq push.Seq
	broker.Message
}

// errNotItsPush is for receipts of pushes that the app never made: a client may acknowledge anything.
var errNotItsPush = errors.New("no push of the app")

// receipt lays a receipt out, after a look at the push that it is of.
func (d *Deliver) receipt(ctx context.Context, s *shard, seq push.Seq, r *wire.Receipt) (broker.Message, error) {
	p, err := d.pushes.get(ctx, seq)
	if errors.Is(err, broker.ErrNotFound) || err == nil && p.app != s.app {
		return broker.Message{}, fmt.Errorf("push %d: %w", seq, errNotItsPush)
	}
	if err != nil {
		return broker.Message{}, err
	}
	data, err := wire.EncodeReceipt(*r)
	if err != nil {
		return broker.Message{}, err
	}
	return broker.Message{
		Subject: wire.ReceiptSubject(s.app, s.id, seq), Data: data,
		Header: map[string]string{wire.HeaderExpire: strconv.FormatInt(p.expire, 10)},
	}, nil
}
