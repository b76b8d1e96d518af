package history

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/RoaringBitmap/roaring/v2"
	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// Tally is what has become of a push, counted in users. Everybody in the audience is one of Received, Sent, Pending,
// Expired, Offline and Withheld.
type Tally struct {
	Audience uint64 `json:"audience"`
	// Received acknowledged the push, Opened are those of them who opened it.
	Received uint64 `json:"received"`
	Opened   uint64 `json:"opened"`
	// Sent had it written to a connection and have not acknowledged it.
	Sent uint64 `json:"sent"`
	// Pending have not got it, and get it when they log in.
	Pending uint64 `json:"pending"`
	// Expired did not log in before the push's lifetime was over.
	Expired uint64 `json:"expired"`
	// Offline had no session when a push for online users only went out.
	Offline uint64 `json:"offline"`
	// Withheld did not get it before it was revoked.
	Withheld uint64 `json:"withheld"`
	// Unevaluated shards have no audience yet, Unknown ones none any more; their users are in no count.
	Unevaluated int `json:"unevaluated"`
	Unknown     int `json:"unknown"`
}

// Tally counts a push: from the logs, exactly as far as receipts are published, and from beyond them by what TASKS keeps.
func (h *History) Tally(ctx context.Context, p *push.Push) (*Tally, error) {
	t, _, err := h.counts(ctx, p.App, p.Seq, nil)
	if errors.Is(err, ErrNoPush) {
		t, _, err = h.Task(ctx, p.App, p.Seq)
	}
	if err != nil {
		return nil, err
	}
	return h.tally(t), nil
}

// tally sums a push's parts.
func (h *History) tally(task *wire.Task) *Tally {
	t, rest := new(Tally), uint64(0)
	for _, p := range task.Parts {
		switch p.Standing {
		case wire.TaskWaiting:
			t.Unevaluated++
		case wire.TaskGone:
			t.Unknown++
		}
		t.Audience += p.Audience
		t.Received += p.Received
		t.Opened += p.Opened
		t.Sent += p.Reached - p.Received
		rest += p.Audience - p.Reached
	}
	switch {
	case !task.RevokedAt.IsZero():
		t.Withheld = rest
	case task.Lifetime == 0:
		t.Offline = rest
	case task.At.Add(task.Lifetime).Unix() > h.now().Unix():
		t.Pending = rest
	default:
		t.Expired = rest
	}
	return t
}

// countAtOnce is how many shards are counted at once; each is a few bitmaps of at most 128 KiB.
const countAtOnce = 8

// receiptsAtOnce is how many shards' last receipts are read at once; each is three bitmaps at most.
const receiptsAtOnce = 64

// Count gives what the entry of TASKS should say of a push that the logs have; ErrNoPush when they do not. Of what is known
// already, which may be nil, it takes over what the logs say nothing new about, and whatever they no longer tell.
func (h *History) Count(ctx context.Context, app push.AppID, seq push.Seq, known *wire.Task) (*wire.Task, error) {
	t, p, err := h.counts(ctx, app, seq, known)
	if err != nil {
		return nil, err
	}
	if known != nil {
		t.Channels, t.Notices = known.Channels, known.Notices
	}
	if err := h.notified(ctx, p, t); err != nil {
		return nil, err
	}
	return t, nil
}

// counts is Count without channels. It gives the push too.
func (h *History) counts(ctx context.Context, app push.AppID, seq push.Seq, known *wire.Task) (*wire.Task, *push.Push, error) {
	p, subject, err := h.find(ctx, app, seq)
	if err != nil {
		return nil, nil, err
	}
	shards, err := h.shards(ctx, app)
	if err != nil {
		return nil, nil, err
	}
	revoked, err := h.Revocation(ctx, p)
	if err != nil {
		return nil, nil, err
	}
	t := &wire.Task{At: p.At, Lifetime: p.Lifetime, Sender: p.Sender, Caller: p.Caller}
	if len(p.Condition) <= wire.MaxTaskCondition {
		t.Condition = p.Condition
	}
	if revoked != nil {
		t.RevokedAt = revoked.At
	} else if known != nil {
		t.RevokedAt = known.RevokedAt
	}
	parts := map[push.Shard]wire.TaskPart{}
	if known != nil {
		for _, part := range known.Parts {
			parts[part.Shard] = part
		}
		if shards, err = h.changed(ctx, p, shards, parts); err != nil {
			return nil, nil, err
		}
	}
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(countAtOnce)
	for _, shard := range shards {
		g.Go(func() error {
			part, ever, err := h.count(gctx, p, subject, shard)
			mu.Lock()
			defer mu.Unlock()
			if before, has := parts[shard]; err == nil && ever {
				if has {
					part = further(before, part)
				}
				parts[shard] = part
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, nil, err
	}
	t.Parts = slices.SortedFunc(maps.Values(parts), func(a, b wire.TaskPart) int { return cmp.Compare(a.Shard, b.Shard) })
	return t, p, nil
}

// changed are those of the shards of which the logs have more than is in the parts.
func (h *History) changed(ctx context.Context, p *push.Push, shards []push.Shard, parts map[push.Shard]wire.TaskPart) ([]push.Shard, error) {
	var more []push.Shard
	for some := range slices.Chunk(shards, receiptsAtOnce) {
		subjects := make([]string, len(some))
		for i, shard := range some {
			subjects[i] = wire.ReceiptSubject(p.App, shard, p.Seq)
		}
		newest, err := h.b.LastOf(ctx, wire.ReceiptsStream, subjects)
		if err != nil {
			return nil, err
		}
		for i, shard := range some {
			part, receipt := parts[shard], newest[subjects[i]]
			if part.Standing != wire.TaskCounted || receipt != nil && receipt.Seq > part.Receipts {
				more = append(more, shard)
			}
		}
	}
	return more, nil
}

// count counts one shard; ever is false when the shard was made after the push.
func (h *History) count(ctx context.Context, p *push.Push, subject string, shard push.Shard) (count wire.TaskPart, ever bool, err error) {
	count.Shard = shard
	part, err := h.part(ctx, p, subject, shard)
	if err != nil {
		return count, false, err
	}
	switch part.standing {
	case later:
		return count, false, nil
	case waiting:
		return count, true, nil
	case gone:
		count.Standing = wire.TaskGone
		return count, true, nil
	}
	had, last, err := h.had(ctx, p, shard, part.audience)
	if err != nil {
		return count, false, err
	}
	count.Standing, count.Receipts = wire.TaskCounted, last
	count.Audience = part.audience.GetCardinality()
	count.Received, count.Opened = had.Received.GetCardinality(), had.Opened.GetCardinality()
	count.Reached = count.Received + had.Sent.GetCardinality()
	return count, true, nil
}

// further is what two looks at a shard tell together, in whatever order they were made.
func further(a, b wire.TaskPart) wire.TaskPart {
	return wire.TaskPart{
		Shard: a.Shard, Standing: max(a.Standing, b.Standing), Audience: max(a.Audience, b.Audience), Reached: max(a.Reached, b.Reached),
		Received: max(a.Received, b.Received), Opened: max(a.Opened, b.Opened), Receipts: max(a.Receipts, b.Receipts),
	}
}

// had gives who of a shard's audience has got the push: received, opened, and sent without an acknowledgement. last is the
// sequence of the last receipt that says so.
func (h *History) had(ctx context.Context, p *push.Push, shard push.Shard, audience *roaring.Bitmap) (had wire.Receipt, last uint64, err error) {
	had = wire.Receipt{Received: roaring.New(), Opened: roaring.New(), Sent: roaring.New()}
	if audience.IsEmpty() {
		return had, 0, nil
	}
	err = h.receipts(ctx, p, shard, func(m *broker.Message, r wire.Receipt) {
		last = m.Seq
		had.Received.Or(r.Received)
		had.Opened.Or(r.Opened)
		had.Sent.Or(r.Sent)
	})
	had.Received.Or(had.Opened) // who opened it has it
	for _, set := range []*roaring.Bitmap{had.Received, had.Opened, had.Sent} {
		set.And(audience) // a client may acknowledge anything
	}
	had.Sent.AndNot(had.Received)
	return had, last, err
}
