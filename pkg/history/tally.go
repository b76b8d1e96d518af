package history

import (
	"context"
	"sync"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"golang.org/x/sync/errgroup"

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

// tallyAtOnce is how many shards are read at once; each is a few bitmaps of at most 128 KiB.
const tallyAtOnce = 8

// Tally counts a push of the log, shard by shard. It is exact as far as receipts are published.
func (h *History) Tally(ctx context.Context, p *push.Push) (*Tally, error) {
	p, subject, err := h.find(ctx, p.App, p.Seq)
	if err != nil {
		return nil, err
	}
	shards, err := h.shards(ctx, p.App)
	if err != nil {
		return nil, err
	}
	revoked, err := h.Revocation(ctx, p)
	if err != nil {
		return nil, err
	}
	t, rest := new(Tally), uint64(0)
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(tallyAtOnce)
	for _, shard := range shards {
		g.Go(func() error {
			part, err := h.part(gctx, p, subject, shard)
			if err != nil {
				return err
			}
			had, err := h.had(gctx, p, shard, part.audience)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			switch part.standing {
			case waiting:
				t.Unevaluated++
			case gone:
				t.Unknown++
			}
			received, sent := had.Received.GetCardinality(), had.Sent.GetCardinality()
			t.Audience += part.audience.GetCardinality()
			t.Received += received
			t.Opened += had.Opened.GetCardinality()
			t.Sent += sent
			rest += part.audience.GetCardinality() - received - sent
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	switch {
	case revoked != nil:
		t.Withheld = rest
	case p.Lifetime == 0:
		t.Offline = rest
	case p.Expire() > h.now().Unix():
		t.Pending = rest
	default:
		t.Expired = rest
	}
	return t, nil
}

// had gives who of a shard's audience has got the push: received, opened, and sent without an acknowledgement.
func (h *History) had(ctx context.Context, p *push.Push, shard push.Shard, audience *roaring.Bitmap) (wire.Receipt, error) {
	had := wire.Receipt{Received: roaring.New(), Opened: roaring.New(), Sent: roaring.New()}
	if audience.IsEmpty() {
		return had, nil
	}
	err := h.receipts(ctx, p, shard, func(_ time.Time, r wire.Receipt) {
		had.Received.Or(r.Received)
		had.Opened.Or(r.Opened)
		had.Sent.Or(r.Sent)
	})
	had.Received.Or(had.Opened) // who opened it has it
	for _, set := range []*roaring.Bitmap{had.Received, had.Opened, had.Sent} {
		set.And(audience) // a client may acknowledge anything
	}
	had.Sent.AndNot(had.Received)
	return had, err
}
