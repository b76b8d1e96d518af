package history

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

// standing is what is known of a push in one shard.
type standing int

const (
	evaluated standing = iota // its audience is there
	waiting                   // the matcher has not come to it
	later                     // the shard was made after the push
	gone                      // the shard has evaluated later pushes, and this one's audience is not there any more
)

// settled is after how long a push that is not in a shard's log will not come into it.
const settled = time.Minute

// part is what the logs hold of a push in one shard. Its sets are places within the shard.
type part struct {
	standing standing
	// place is the push's sequence in the shard's log, and cut when it got there; zero when the log has it no more.
	place uint64
	cut   time.Time
	// folded is the sequence up to which the records were folded when the push was evaluated, and at when its audience
	// was published.
	folded   uint64
	at       time.Time
	audience *roaring.Bitmap
}

// part reads a shard's part of a push.
func (h *History) part(ctx context.Context, p *push.Push, subject string, shard push.Shard) (*part, error) {
	out := &part{audience: roaring.New()}
	copied, err := h.b.Last(ctx, wire.UsersStream(p.App, shard), subject)
	if err == nil {
		out.place, out.cut = copied.Seq, copied.Time
	} else if !errors.Is(err, broker.ErrNotFound) {
		return nil, err
	}
	m, err := h.b.Last(ctx, wire.AudiencesStream, wire.AudienceSubject(p.App, shard, p.Seq))
	if errors.Is(err, broker.ErrNotFound) {
		out.standing, err = h.without(ctx, p, shard, out.place > 0)
		return out, err
	}
	if err != nil {
		return nil, err
	}
	out.at = m.Time
	if out.audience, err = wire.DecodeBitmap(m.Data, h.b.Sharding().Width()); err != nil {
		return nil, fmt.Errorf("read the audience of push %d in shard %d: %w", p.Seq, shard, err)
	}
	if s, has := m.Header[wire.HeaderEvaluated]; has {
		if out.folded, err = strconv.ParseUint(s, 10, 64); err != nil {
			return nil, fmt.Errorf("read where push %d was evaluated in shard %d: %w", p.Seq, shard, err)
		}
	}
	return out, nil
}

// without says why a shard has no audience of a push. A shard's audiences come in the order of their pushes, so one of a
// later push tells that the matcher has been past this one.
func (h *History) without(ctx context.Context, p *push.Push, shard push.Shard, copied bool) (standing, error) {
	passed := false
	m, err := h.b.Last(ctx, wire.AudiencesStream, wire.AudienceFilter(p.App, shard))
	if err == nil {
		place, err := wire.ParsePushPlace(m.Subject)
		if err != nil {
			return 0, err
		}
		passed = place.Seq > p.Seq
	} else if !errors.Is(err, broker.ErrNotFound) {
		return 0, err
	}
	switch {
	case copied && passed:
		return gone, nil
	case copied:
		return waiting, nil
	case passed || h.now().Sub(p.At) > settled:
		return later, nil
	}
	// A shard is made right after its first account.
	account, err := h.b.Get(ctx, wire.AccountsStream(p.App), max(1, uint64(h.b.Sharding().Ordinal(shard, 0))))
	if err == nil && account.Time.After(p.At) {
		return later, nil
	}
	if err != nil && !errors.Is(err, broker.ErrNotFound) {
		return 0, err
	}
	return waiting, nil
}

// receipts reads the receipts of a push from one shard, in the order in which gateways published them.
func (h *History) receipts(ctx context.Context, p *push.Push, shard push.Shard, handle func(m *broker.Message, r wire.Receipt)) error {
	return h.b.Fold(ctx, broker.FoldConfig{
		Stream: wire.ReceiptsStream, Filter: wire.ReceiptSubject(p.App, shard, p.Seq), StopWhenRead: true,
		Handle: func(m *broker.Message) error {
			r, err := wire.DecodeReceipt(m.Data, h.b.Sharding().Width())
			if err != nil {
				h.log.Error("a receipt cannot be read and is left out", "subject", m.Subject, "seq", m.Seq, "err", err)
				return nil
			}
			handle(m, r)
			return nil
		},
	})
}

// shards of the app, ascending.
func (h *History) shards(ctx context.Context, app push.AppID) ([]push.Shard, error) {
	shards, err := h.b.Shards(ctx, app)
	slices.Sort(shards)
	return shards, err
}
