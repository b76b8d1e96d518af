package callback

import (
	"context"
	"errors"
	"fmt"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// source is one message of a log, as the events that it has still to tell. Which they are, and their order, follows from the
// logs alone, so that their number says where to go on.
type source struct {
	told  *wire.ToldLog // of its log
	seq   uint64
	done  uint64 // how many of the events of all parts are told
	parts []part
}

// part is a run of events of one kind.
type part struct {
	kind  string
	size  uint64
	event func(i uint64) (event, error)
}

// take appends events of the kinds that an app wants until there are limit, and says whether more may be left.
func (s *source) take(events []event, app App, limit int) (_ []event, more bool, err error) {
	first := uint64(0)
	for _, p := range s.parts {
		end := first + p.size
		if s.done < end && !app.wants(p.kind) {
			s.done = end
		}
		for s.done < end {
			if len(events) == limit {
				return events, true, nil
			}
			e, err := p.event(s.done - first)
			if err != nil {
				return events, false, err
			}
			events = append(events, e)
			s.done++
		}
		first = end
	}
	return events, false, nil
}

// ofSessions is the source of a message of EVENTS.
func ofSessions(m *broker.Message) ([]part, error) {
	got, err := wire.DecodeSessionEvents(m.Data)
	if err != nil {
		return nil, err
	}
	kinds := map[wire.SessionChange]string{wire.SessionLogin: Login, wire.SessionLogout: Logout, wire.SessionDisconnect: Disconnect}
	parts := make([]part, len(got.Events))
	for i, e := range got.Events {
		told := event{
			id: fmt.Sprintf("%s-%d", got.ID, i), kind: kinds[e.Change], at: e.At, logged: m.Time, ordinal: e.Ordinal, platform: e.Platform, reason: e.Reason,
		}
		parts[i] = part{told.kind, 1, func(uint64) (event, error) { return told, nil }}
	}
	return parts, nil
}

// known is what the receipts of a push from one shard have said so far.
type known struct {
	users *roaring.Bitmap // of the push; empty for a revocation
	wire.Receipt
}

// add takes what another receipt says, and gives what is new in it: sent, received, opened. Who has opened a push has
// received it, and who has received it was sent it.
func (k *known) add(r wire.Receipt) (fresh [3]*roaring.Bitmap) {
	r.Received.Or(r.Opened)
	r.Sent.Or(r.Received)
	for i, sets := range [...][2]*roaring.Bitmap{{r.Sent, k.Sent}, {r.Received, k.Received}, {r.Opened, k.Opened}} {
		now, before := sets[0], sets[1]
		now.And(k.users) // clients may acknowledge what they were never sent
		fresh[i] = roaring.AndNot(now, before)
		before.Or(now)
	}
	return fresh
}

// errRead ends a fold that has read what it is to.
var errRead = errors.New("everything that was wanted is read")

// errCorrupt is for a message that cannot be read, now or later.
var errCorrupt = errors.New("the message cannot be read")

// ofReceipt is the source of a message of RECEIPTS. Those of one log must come in their order.
func (t *teller) ofReceipt(ctx context.Context, m *broker.Message) ([]part, error) {
	place, err := wire.ParsePushPlace(m.Subject)
	if err != nil {
		return nil, err
	}
	width := t.c.b.Sharding().Width()
	r, err := wire.DecodeReceipt(m.Data, width)
	if err != nil {
		return nil, err
	}
	k, here := t.known.Get(place)
	if !here {
		if k, err = t.read(ctx, place, m); err != nil {
			return nil, err
		}
		t.known.Add(place, k)
	}
	var parts []part
	for i, users := range k.add(r) {
		kind := pushKinds[i]
		parts = append(parts, part{kind, users.GetCardinality(), func(i uint64) (event, error) {
			local, err := users.Select(uint32(i))
			if err != nil {
				return event{}, fmt.Errorf("find user %d of %d: %w", i, users.GetCardinality(), err)
			}
			o, task := t.c.b.Sharding().Ordinal(place.Shard, local), push.NewTaskID(place.App, place.Seq)
			return event{
				id: fmt.Sprintf("%s-%s-%d", task, kind, o), kind: kind, at: m.Time, logged: m.Time, ordinal: o, task: task,
			}, nil
		}})
	}
	return parts, nil
}

// read reads what is known of a push in a shard before a receipt.
func (t *teller) read(ctx context.Context, place wire.PushPlace, until *broker.Message) (*known, error) {
	k := &known{users: roaring.New(), Receipt: wire.Receipt{Received: roaring.New(), Opened: roaring.New(), Sent: roaring.New()}}
	width := t.c.b.Sharding().Width()
	audience, err := t.c.b.Last(ctx, wire.AudiencesStream, wire.AudienceSubject(place.App, place.Shard, place.Seq))
	if err != nil && !errors.Is(err, broker.ErrNotFound) {
		return nil, fmt.Errorf("read whom push %d is for: %w", place.Seq, err)
	}
	if err != nil || audience.Header[wire.HeaderRevokes] != "" {
		return k, nil // no audience: it is none of the app's pushes, or one of long ago
	}
	if k.users, err = wire.DecodeBitmap(audience.Data, width); err != nil {
		return nil, errors.Join(errCorrupt, err)
	}
	err = t.c.b.Fold(ctx, broker.FoldConfig{
		Stream: wire.ReceiptsStream, Filter: until.Subject, StopWhenRead: true,
		Handle: func(m *broker.Message) error {
			if m.Seq >= until.Seq {
				return errRead
			}
			if r, err := wire.DecodeReceipt(m.Data, width); err == nil {
				k.add(r)
			}
			return ctx.Err()
		},
	})
	if err != nil && !errors.Is(err, errRead) {
		return nil, fmt.Errorf("read the receipts of push %d: %w", place.Seq, err)
	}
	return k, nil
}
