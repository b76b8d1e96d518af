package matcher

import (
	"context"
	"errors"
	"fmt"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// audience gives the shard's audience of an earlier push, which one that revokes it or sends it again goes by. It stands
// before the other in the shard's log, so that its audience is there, unless nobody of the shard got one.
func (s *shard) audience(ctx context.Context, seq push.Seq) (*roaring.Bitmap, error) {
	m, err := s.m.b.Last(ctx, wire.AudiencesStream, wire.AudienceSubject(s.app, s.id, seq))
	if errors.Is(err, broker.ErrNotFound) {
		return roaring.New(), nil
	}
	if err != nil {
		return nil, fmt.Errorf("fetch the audience of push %d, which is revoked or sent again: %w", seq, err)
	}
	users, err := wire.DecodeBitmap(m.Data, s.m.b.Sharding().Width())
	if err != nil {
		s.log.Error("the audience of a push that is revoked or sent again cannot be read; nobody of the shard hears of it", "push", seq, "err", err)
		return roaring.New(), nil
	}
	return users, nil
}

// missed gives who of an earlier push's audience has neither acknowledged nor opened it, as far as receipts are published,
// and still is an account: a deleted one's ordinal is nobody's again. Receipts and deletions only take away, so that a
// second evaluation of the same push is for nobody whom the first was not for; and it is the first's audience that stands.
func (s *shard) missed(ctx context.Context, seq push.Seq) (*roaring.Bitmap, error) {
	users, err := s.audience(ctx, seq)
	if err != nil || users.IsEmpty() {
		return users, err
	}
	err = s.m.b.Fold(ctx, broker.FoldConfig{
		Stream: wire.ReceiptsStream, Filter: wire.ReceiptSubject(s.app, s.id, seq), StopWhenRead: true,
		Handle: func(m *broker.Message) error {
			r, err := wire.DecodeReceipt(m.Data, s.m.b.Sharding().Width())
			if err != nil {
				s.log.Error("a receipt cannot be read; whom it tells of gets the push again", "subject", m.Subject, "seq", m.Seq, "err", err)
				return nil
			}
			users.AndNot(r.Received)
			users.AndNot(r.Opened)
			return nil
		},
	})
	if err != nil {
		return nil, fmt.Errorf("read the receipts of push %d, which is sent again: %w", seq, err)
	}
	users.And(s.index.Eval(predicate.All{}))
	return users, nil
}
