package history

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// Comparison is one push as another broker's matchers evaluated it (then) and as this one's have (now), in users.
type Comparison struct {
	Seq push.Seq
	// Then and Now are the audiences' sizes.
	Then, Now uint64
	// Changed are in one of the audiences only, and have a record that is younger than the evaluation of then.
	Changed uint64
	// Odds are in one only, and their record was the same at both evaluations.
	Odds uint64
	// Unknown shards have no audience of then; their users are in no number.
	Unknown int
}

// Compare waits until this broker, a copy of the other's logs, has evaluated every push of the app, and compares the audiences
// with the other's, by pushes in their order. Revocations and replays are left out: they go by receipts. wait bounds the time
// of each shard.
//
// A matcher reads how far it has folded before it evaluates, and may have seen a little more than it says. Such a user has a
// younger record, and counts as changed.
func (h *History) Compare(ctx context.Context, app push.AppID, other *broker.Broker, wait time.Duration) ([]Comparison, error) {
	shards, err := h.shards(ctx, app)
	if err != nil {
		return nil, err
	}
	all := map[push.Seq]*Comparison{}
	for _, shard := range shards {
		if err := h.compare(ctx, app, shard, other, wait, all); err != nil {
			return nil, fmt.Errorf("compare shard %d: %w", shard, err)
		}
	}
	var list []Comparison
	for _, c := range all {
		list = append(list, *c)
	}
	slices.SortFunc(list, func(a, b Comparison) int { return cmp.Compare(a.Seq, b.Seq) })
	return list, nil
}

// compare adds one shard to what is there of the pushes.
func (h *History) compare(ctx context.Context, app push.AppID, shard push.Shard, other *broker.Broker, wait time.Duration, all map[push.Seq]*Comparison) error {
	var seqs []push.Seq
	last := map[uint32]uint64{} // of a place within the shard: where its user's record stands in the log
	err := h.b.Fold(ctx, broker.FoldConfig{
		Stream: wire.UsersStream(app, shard), StopWhenRead: true,
		Handle: func(m *broker.Message) error {
			if !wire.IsPushSubject(m.Subject) {
				ordinal, err := wire.ParseUserSubject(m.Subject)
				last[h.b.Sharding().Local(ordinal)] = m.Seq
				return err
			}
			seq, err := wire.ParseSource(m.Header[wire.HeaderSource])
			if err != nil {
				return err
			}
			p, err := wire.DecodePush(m.Data, seq)
			if err != nil {
				h.log.Error("a push cannot be read and is left out", "seq", seq, "err", err)
				return nil
			}
			if p.Revokes == 0 && p.Again == 0 {
				seqs = append(seqs, seq)
			}
			return nil
		},
	})
	if err != nil || len(seqs) == 0 {
		return err
	}
	if err := h.awaitAudience(ctx, app, shard, seqs[len(seqs)-1], wait); err != nil {
		return err
	}
	for _, seq := range seqs {
		c := all[seq]
		if c == nil {
			c = &Comparison{Seq: seq}
			all[seq] = c
		}
		p := &push.Push{App: app, Seq: seq}
		then, err := New(other, h.log).audienceOf(ctx, p, shard)
		if err != nil {
			return err
		}
		now, err := h.audienceOf(ctx, p, shard)
		if err != nil {
			return err
		}
		if then == nil || now == nil {
			c.Unknown++
			continue
		}
		c.Then += then.audience.GetCardinality()
		c.Now += now.audience.GetCardinality()
		for it := roaring.Xor(then.audience, now.audience).Iterator(); it.HasNext(); {
			if last[it.Next()] > then.folded {
				c.Changed++
			} else {
				c.Odds++
			}
		}
	}
	return nil
}

// audienceOf reads a shard's audience of a push, nil when there is none.
func (h *History) audienceOf(ctx context.Context, p *push.Push, shard push.Shard) (*part, error) {
	out, err := h.part(ctx, p, wire.PushSubject(p.App, "none"), shard)
	if err != nil || out.standing != evaluated {
		return nil, err
	}
	return out, nil
}

var errEvaluated = errors.New("it is evaluated")

// awaitAudience returns when a shard has an audience of a push. Those of the pushes before it are there then.
func (h *History) awaitAudience(ctx context.Context, app push.AppID, shard push.Shard, seq push.Seq, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	err := h.b.Fold(ctx, broker.FoldConfig{
		Stream: wire.AudiencesStream, Filter: wire.AudienceSubject(app, shard, seq),
		Handle: func(*broker.Message) error { return errEvaluated },
	})
	if errors.Is(err, errEvaluated) {
		return nil
	}
	return fmt.Errorf("wait until push %d is evaluated: %w", seq, err)
}
