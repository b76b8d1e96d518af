package native

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/history"
	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// views shows pushes, with one look at the broker for those that are revoked or sent again.
func (n *Native) views(ctx context.Context, pushes ...*push.Push) ([]*pushView, error) {
	subjects := make([]string, 0, 2*len(pushes))
	for _, p := range pushes {
		subjects = append(subjects, wire.RevocationSubject(p.App, p.Seq), wire.PushSubject(p.App, wire.ReplayName(p.Seq)))
	}
	about, err := n.b.LastOf(ctx, wire.PushesStream, subjects)
	if err != nil {
		return nil, err
	}
	views := make([]*pushView, len(pushes))
	for i, p := range pushes {
		if views[i], err = n.view(ctx, p); err != nil {
			return nil, err
		}
		if m := about[subjects[2*i+1]]; m != nil {
			views[i].Replay = push.NewTaskID(p.App, push.Seq(m.Seq))
		}
		if m := about[subjects[2*i]]; m != nil {
			r, err := wire.DecodePush(m.Data, push.Seq(m.Seq))
			if err != nil {
				return nil, err
			}
			views[i].RevokedAt = timestamp(r.At)
		}
	}
	return views, nil
}

func (n *Native) view(ctx context.Context, p *push.Push) (*pushView, error) {
	v := &pushView{
		accepted: accepted{p.TaskID(), p.Seq, timestamp(p.At)}, By: p.Caller, Lifetime: int(p.Lifetime.Seconds()),
		Body: p.Body, Offline: p.OfflineInfo,
	}
	if p.Again != 0 {
		v.Again = push.NewTaskID(p.App, p.Again)
	}
	if utf8.ValidString(p.Sender) {
		v.From = p.Sender
	} else {
		v.FromBase64 = []byte(p.Sender)
	}
	if p.Condition == "" { // it was too long to be kept
		return v, nil
	}
	node, err := predicate.Parse(p.Condition)
	if err != nil {
		return nil, err
	}
	names, err := n.dir.AttrNames(ctx, p.App)
	if err != nil {
		return nil, err
	}
	v.Condition = render(node, &names)
	return v, nil
}

// pastView shows a push of which only the counts are kept.
func (n *Native) pastView(ctx context.Context, k history.Known) (*pushView, error) {
	v, err := n.view(ctx, k.Push)
	if err != nil {
		return nil, err
	}
	v.Past = true
	if !k.Past.RevokedAt.IsZero() {
		v.RevokedAt = timestamp(k.Past.RevokedAt)
	}
	return v, nil
}

// pastAudience is audience of such a push.
func pastAudience(t *wire.Task) *audience {
	a := &audience{Evaluated: true, Shards: []shardAudience{}}
	for _, p := range t.Parts {
		switch p.Standing {
		case wire.TaskCounted:
			a.Matched += p.Audience
			a.Shards = append(a.Shards, shardAudience{p.Shard, p.Audience})
		case wire.TaskWaiting:
			a.Evaluated = false
		}
	}
	return a
}

// audience is whom a push is for, as far as the matchers have come.
type audience struct {
	// Evaluated says that every shard that the push is for has its part.
	Evaluated bool            `json:"evaluated"`
	Matched   uint64          `json:"matched"`
	Shards    []shardAudience `json:"shards"`
}

// shardAudience is one shard's part.
type shardAudience struct {
	Shard   push.Shard `json:"shard"`
	Matched uint64     `json:"matched"`
}

// audience reads the parts that stand on the broker.
func (n *Native) audience(ctx context.Context, p *push.Push) (*audience, error) {
	shards, err := n.b.Shards(ctx, p.App)
	if err != nil {
		return nil, err
	}
	slices.Sort(shards)
	a := &audience{Evaluated: true, Shards: []shardAudience{}}
	for _, shard := range shards {
		subject := wire.AudienceSubject(p.App, shard, p.Seq)
		m, err := n.b.Last(ctx, wire.AudiencesStream, subject)
		if errors.Is(err, broker.ErrNotFound) {
			later, lerr := n.isLater(ctx, p, shard)
			if lerr != nil {
				return nil, lerr
			}
			if !later {
				a.Evaluated = false
				continue
			}
			// The part may have come between the two looks, and a later push's behind it.
			if m, err = n.b.Last(ctx, wire.AudiencesStream, subject); errors.Is(err, broker.ErrNotFound) {
				continue
			}
		}
		if err != nil {
			return nil, err
		}
		matched, err := strconv.ParseUint(m.Header[wire.HeaderCardinality], 10, 64)
		if err != nil {
			return nil, err
		}
		a.Matched += matched
		a.Shards = append(a.Shards, shardAudience{shard, matched})
	}
	return a, nil
}

// isLater says whether a shard without a part of the push will never have one, because it was made after it. The shard's
// audiences come in the order of their pushes, so one of a later push tells. Where it has none at all, its first account's
// age does: the shard is made right after that.
func (n *Native) isLater(ctx context.Context, p *push.Push, shard push.Shard) (bool, error) {
	m, err := n.b.Last(ctx, wire.AudiencesStream, wire.AudienceFilter(p.App, shard))
	if err == nil {
		place, err := wire.ParsePushPlace(m.Subject)
		return place.Seq > p.Seq, err
	}
	if !errors.Is(err, broker.ErrNotFound) {
		return false, err
	}
	first := max(1, uint64(n.b.Sharding().Ordinal(shard, 0)))
	account, err := n.b.Get(ctx, wire.AccountsStream(p.App), first)
	if errors.Is(err, broker.ErrNotFound) {
		return false, nil
	}
	return err == nil && account.Time.After(p.At), err
}

// Pages of pushes.
const (
	defaultPushes = 20
	maxPushes     = 100
)

type pushList struct {
	Pushes []*pushView `json:"pushes"`
	// Next is what to send as before for the next page; nil when this is the last.
	Next *push.Seq `json:"next"`
}

// listPushes reads backwards what can only be read forwards: a window before the given place, and a wider one as long as
// too few pushes of the app are in it. The broker leaves out other apps' pushes.
func (n *Native) listPushes(ctx context.Context, c *call) (*reply, error) {
	last, err := n.b.LastSeq(ctx, wire.PushesStream)
	if err != nil {
		return nil, err
	}
	before, err := c.number("before", last+1, 1, 1<<63)
	if err != nil {
		return nil, err
	}
	before = min(before, last+1)
	limit, err := c.number("limit", defaultPushes, 1, maxPushes)
	if err != nil {
		return nil, err
	}
	var newest []*push.Push // oldest first, one more than the page has
	for window := 2 * limit; ; window *= 4 {
		from := uint64(1)
		if window < before {
			from = before - window
		}
		if newest, err = n.pushesBetween(ctx, c.app.ID, from, before, int(limit)+1); err != nil {
			return nil, err
		}
		if from == 1 || len(newest) > int(limit) {
			break
		}
	}
	slices.Reverse(newest)
	page := pushList{}
	if page.Pushes, err = n.views(ctx, newest...); err != nil {
		return nil, err
	}
	if left := int(limit) + 1 - len(newest); left > 0 { // the logs go no further back
		end := push.Seq(before)
		if len(newest) > 0 {
			end = newest[len(newest)-1].Seq
		}
		past, err := n.history.Past(ctx, c.app.ID, end, left)
		if err != nil {
			return nil, err
		}
		for _, k := range past {
			v, err := n.pastView(ctx, k)
			if err != nil {
				return nil, err
			}
			page.Pushes = append(page.Pushes, v)
		}
	}
	if len(page.Pushes) > int(limit) {
		page.Pushes = page.Pushes[:limit]
		page.Next = &page.Pushes[limit-1].Seq
	}
	return &reply{status: http.StatusOK, body: page}, nil
}

var errBehind = errors.New("behind the window")

// pushesBetween gives the app's last pushes, at most keep, of those with a sequence in [from, before).
func (n *Native) pushesBetween(ctx context.Context, app push.AppID, from, before uint64, keep int) ([]*push.Push, error) {
	var kept []*push.Push
	if from >= before {
		return nil, nil
	}
	err := n.b.Fold(ctx, broker.FoldConfig{
		Stream: wire.PushesStream, Filter: wire.PushFilter(app), Start: from, StopWhenRead: true,
		Handle: func(m *broker.Message) error {
			if m.Seq >= before {
				return errBehind
			}
			p, err := wire.DecodePush(m.Data, push.Seq(m.Seq))
			if err != nil {
				n.log.Error("a push cannot be read; it is left out of the list", "seq", m.Seq, "err", err)
				return nil
			}
			if p.Revokes != 0 {
				return nil
			}
			if len(kept) == keep {
				kept = append(kept[:0], kept[1:]...)
			}
			kept = append(kept, p)
			return nil
		},
	})
	if err != nil && !errors.Is(err, errBehind) {
		return nil, err
	}
	return kept, nil
}
