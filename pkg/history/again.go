package history

import (
	"context"
	"errors"
	"fmt"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// Again is whom a push's condition holds for today, against whom it was for. Nothing is pushed.
type Again struct {
	// Then and Now are how many matched, of whom Added match now only, and Removed did then only.
	Then    uint64 `json:"then"`
	Now     uint64 `json:"now"`
	Added   uint64 `json:"added"`
	Removed uint64 `json:"removed"`
	// Unknown shards have no audience of the push in the logs: their users count as if nobody had matched then.
	Unknown int `json:"unknown"`
}

// Again evaluates a push's condition on the users of today.
func (h *History) Again(ctx context.Context, p *push.Push) (*Again, error) {
	p, subject, err := h.find(ctx, p.App, p.Seq)
	if err != nil {
		return nil, err
	}
	shards, err := h.shards(ctx, p.App)
	if err != nil {
		return nil, err
	}
	sum := new(Again)
	for _, shard := range shards {
		then, now, known, err := h.again(ctx, p, subject, shard)
		if err != nil {
			return nil, err
		}
		both := then.AndCardinality(now)
		sum.Then += then.GetCardinality()
		sum.Now += now.GetCardinality()
		sum.Added += now.GetCardinality() - both
		sum.Removed += then.GetCardinality() - both
		if !known {
			sum.Unknown++
		}
	}
	return sum, nil
}

// Member is one user of a difference. Account is empty for one that was deleted and has no record any more.
type Member struct {
	Ordinal push.Ordinal
	Account string
}

// Difference lists who matches now and did not then, or with added false who did then and does not now: at most limit with
// ordinals greater than after, ascending. more says that there may be others behind them.
func (h *History) Difference(ctx context.Context, p *push.Push, added bool, after push.Ordinal, limit int) (members []Member, more bool, err error) {
	p, subject, err := h.find(ctx, p.App, p.Seq)
	if err != nil {
		return nil, false, err
	}
	shards, err := h.shards(ctx, p.App)
	if err != nil {
		return nil, false, err
	}
	sharding := h.b.Sharding()
	for _, shard := range shards {
		if shard < sharding.Shard(after+1) {
			continue
		}
		then, now, _, err := h.again(ctx, p, subject, shard)
		if err != nil {
			return nil, false, err
		}
		if added {
			then, now = now, then
		}
		then.AndNot(now)
		var subjects []string
		first := len(members)
		for it := then.Iterator(); it.HasNext(); {
			o := sharding.Ordinal(shard, it.Next())
			if o <= after {
				continue
			}
			if len(members) == limit {
				more = true
				break
			}
			members = append(members, Member{Ordinal: o})
			subjects = append(subjects, wire.UserSubject(p.App, shard, o))
		}
		if err := h.names(ctx, p.App, shard, members[first:], subjects); err != nil || more {
			return members, more, err
		}
	}
	return members, false, nil
}

// names fills in the accounts of members of one shard, whose subjects are given in the same order.
func (h *History) names(ctx context.Context, app push.AppID, shard push.Shard, members []Member, subjects []string) error {
	if len(subjects) == 0 {
		return nil
	}
	records, err := h.b.LastOf(ctx, wire.UsersStream(app, shard), subjects)
	if err != nil {
		return err
	}
	for i, subject := range subjects {
		m := records[subject]
		if m == nil {
			continue
		}
		r, err := wire.DecodeRecord(m.Data)
		if err != nil {
			return fmt.Errorf("the record of ordinal %d: %w", members[i].Ordinal, err)
		}
		members[i].Account = r.Account
	}
	return nil
}

// again gives a shard's audience of a push, and whom its condition holds for now; known says whether there is an audience,
// or cannot be any since the shard is younger.
func (h *History) again(ctx context.Context, p *push.Push, subject string, shard push.Shard) (then, now *roaring.Bitmap, known bool, err error) {
	part, err := h.part(ctx, p, subject, shard)
	if err != nil {
		return nil, nil, false, err
	}
	if now, err = h.matching(ctx, p.App, shard, p.Condition); err != nil {
		return nil, nil, false, err
	}
	return part.audience, now, part.standing == evaluated || part.standing == later, nil
}

// matching gives whom a condition holds for now in a shard, by their places.
func (h *History) matching(ctx context.Context, app push.AppID, shard push.Shard, condition string) (*roaring.Bitmap, error) {
	q := wire.MatchRequest{Predicates: []string{condition}}
	// The newest record there is: what anybody was told to be written is at it or before it.
	switch m, err := h.b.Last(ctx, wire.UsersStream(app, shard), wire.UserShardFilter(app, shard)); {
	case err == nil:
		q.Folded = m.Seq
	case !errors.Is(err, broker.ErrNotFound):
		return nil, err
	}
	raw, err := h.b.Request(ctx, wire.MatchSubject(app, shard), wire.EncodeMatchRequest(q))
	if err != nil {
		return nil, err
	}
	reply, err := wire.DecodeMatchReply(raw, h.b.Sharding().Width())
	if err != nil {
		return nil, fmt.Errorf("a matcher of shard %d: %w", shard, err)
	}
	return reply.Users, nil
}
