package history

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// Missed is whom a push would be sent again to, counted in users: everybody in the audience is one of Received, Deleted
// and Missed.
type Missed struct {
	Audience uint64 `json:"audience"`
	// Received acknowledged or opened it.
	Received uint64 `json:"received"`
	// Deleted have not, and are no accounts any more.
	Deleted uint64 `json:"deleted"`
	// Missed have not, and are.
	Missed uint64 `json:"missed"`
	// Unevaluated shards have no audience yet, Unknown ones none any more; their users are in no count.
	Unevaluated int `json:"unevaluated"`
	Unknown     int `json:"unknown"`
}

// Missed counts who has missed a push, as a matcher that sends it again finds them (package matcher), as of now.
func (h *History) Missed(ctx context.Context, p *push.Push) (*Missed, error) {
	p, subject, err := h.find(ctx, p.App, p.Seq)
	if err != nil {
		return nil, err
	}
	shards, err := h.shards(ctx, p.App)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	sum := new(Missed)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(countAtOnce)
	for _, shard := range shards {
		g.Go(func() error {
			part, err := h.part(gctx, p, subject, shard)
			if err != nil {
				return err
			}
			had, _, err := h.had(gctx, p, shard, part.audience)
			if err != nil {
				return err
			}
			left := roaring.AndNot(part.audience, had.Received)
			missed := left
			if !left.IsEmpty() {
				today, err := h.matching(gctx, p.App, shard, predicate.String(predicate.All{}))
				if err != nil {
					return err
				}
				missed = roaring.And(left, today)
			}
			mu.Lock()
			defer mu.Unlock()
			switch part.standing {
			case waiting:
				sum.Unevaluated++
			case gone:
				sum.Unknown++
			}
			sum.Audience += part.audience.GetCardinality()
			sum.Received += had.Received.GetCardinality()
			sum.Deleted += left.GetCardinality() - missed.GetCardinality()
			sum.Missed += missed.GetCardinality()
			return nil
		})
	}
	return sum, g.Wait()
}

// Replay gives the push that another was sent again as, nil when there is none.
func (h *History) Replay(ctx context.Context, p *push.Push) (*push.Push, error) {
	m, err := h.b.Last(ctx, wire.PushesStream, wire.PushSubject(p.App, wire.ReplayName(p.Seq)))
	if errors.Is(err, broker.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r, err := wire.DecodePush(m.Data, push.Seq(m.Seq))
	if err != nil {
		return nil, fmt.Errorf("read the replay of push %d: %w", p.Seq, err)
	}
	return r, nil
}

// original is the push that a traced one is a replay of, and what the logs hold of it for the user.
type original struct {
	id push.TaskID
	// was says whether it was for the user; nil where its audience is no longer in the logs.
	was *bool
	// had is when its first acknowledgement had come, zero for none.
	had time.Time
}

// readOriginal finds what the matcher went by.
func (t *tracing) readOriginal(ctx context.Context) error {
	if t.p.Again == 0 {
		return nil
	}
	o := &original{id: push.NewTaskID(t.p.App, t.p.Again)}
	t.original, t.Again = o, o.id
	if t.Ordinal == 0 {
		return nil
	}
	p, subject, err := t.h.find(ctx, t.p.App, t.p.Again)
	if errors.Is(err, ErrNoPush) {
		return nil
	}
	if err != nil {
		return err
	}
	part, err := t.h.part(ctx, p, subject, t.Shard)
	if err != nil {
		return err
	}
	local := t.h.b.Sharding().Local(t.Ordinal)
	if was := part.audience.Contains(local); part.standing == evaluated || part.standing == later {
		o.was = &was
	}
	return t.h.receipts(ctx, p, t.Shard, func(m *broker.Message, r wire.Receipt) {
		if o.had.IsZero() && (r.Received.Contains(local) || r.Opened.Contains(local)) {
			o.had = m.Time
		}
	})
}

// in begins the story of a user who is in the audience.
func (t *tracing) in() string {
	if t.original == nil {
		return "matched"
	}
	return fmt.Sprintf("replay of %s: had missed it", t.original.id)
}

// out says why a replay was not for the user.
func (o *original) out() string {
	switch {
	case o.was == nil:
		return fmt.Sprintf("replay of %s: had received it, or it was not for the user; whom it was for is no longer in the logs", o.id)
	case !*o.was:
		return fmt.Sprintf("replay of %s: it was not for the user", o.id)
	case !o.had.IsZero():
		return fmt.Sprintf("replay of %s: had received it, as was acknowledged by %s", o.id, clock(o.had))
	}
	return fmt.Sprintf("replay of %s: the audience does not hold the user", o.id)
}

// agreeOnMissed compares a replay's audience with what it was made from. A receipt that came since is no fault, nor is one
// that came while it was evaluated.
func (t *tracing) agreeOnMissed() {
	o := t.original
	if t.Matched == nil || o.was == nil {
		return
	}
	there := t.state == existing && !t.look.record().Deleted
	for _, v := range t.look.vs {
		there = there && !(v.record.Deleted && v.at.Before(t.part.at.Add(slack)))
	}
	switch {
	case *t.Matched && !*o.was:
		t.Fault = fmt.Sprintf("the audience holds the user, and that of %s, which it is a replay of, does not", o.id)
	case *t.Matched && !o.had.IsZero() && o.had.Before(t.part.cut):
		t.Fault = fmt.Sprintf("the audience holds the user, who had received %s, which it is a replay of", o.id)
	case !*t.Matched && *o.was && o.had.IsZero() && there:
		t.Fault = fmt.Sprintf("the audience does not hold the user, who had missed %s, which it is a replay of", o.id)
	default:
		return
	}
	t.h.log.Error("the audience of a replay is at odds with what it was made from", "app", t.p.App, "push", t.p.Seq,
		"again", t.p.Again, "shard", t.Shard, "ordinal", t.Ordinal, "audience", *t.Matched)
}
