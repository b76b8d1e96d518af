package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// limits of an app's pushes.
type limits struct {
	interval time.Duration // zero: none
	perDay   int           // zero: no limit
	zone     *time.Location
}

// none says that there is nothing to count.
func (l limits) none() bool { return l.interval == 0 && l.perDay == 0 }

// day of a time, counted from 1970 in the zone: it changes at the zone's midnight, however long the day was.
func (l limits) day(t time.Time) int64 {
	year, month, day := t.In(l.zone).Date()
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix() / (24 * 60 * 60)
}

// midnight is when a day begins.
func (l limits) midnight(day int64) time.Time {
	year, month, date := time.Unix(day*24*60*60, 0).UTC().Date()
	return time.Date(year, month, date, 0, 0, 0, 0, l.zone)
}

// at gives an entry as it is at a time: of that day, and without payments whose pushes the broker has forgotten. A process
// whose clock is behind goes by the day that another one has begun; more than that day's difference is a clock that was
// wrong, and is not gone by.
func (l limits) at(q wire.Quota, now time.Time) wire.Quota {
	if day := l.day(now); day > q.Day || day < q.Day-1 {
		q.Day, q.Used = day, 0
	}
	q.Payments = slices.DeleteFunc(slices.Clone(q.Payments), func(p wire.Payment) bool {
		return now.Sub(time.Unix(0, p.At)).Abs() >= wire.DuplicateWindow
	})
	return q
}

// wrongClock is how far ahead the last push may be: one that is further was given its time by a clock that was wrong.
const wrongClock = time.Minute

// pay gives the entry after one push more. The error is a *QuotaError.
func (l limits) pay(q wire.Quota, p wire.Payment) (wire.Quota, error) {
	if since := time.Duration(p.At - q.Last); l.interval > 0 && q.Last > 0 && since < l.interval && since > -wrongClock {
		return q, &QuotaError{codePushInterval, fmt.Sprintf("the app's last push was less than %v ago", l.interval), l.interval - since}
	}
	if l.perDay > 0 && q.Used >= l.perDay {
		wait := l.midnight(q.Day + 1).Sub(time.Unix(0, p.At))
		return q, &QuotaError{codePushPerDay, fmt.Sprintf("the app's %d pushes of the day are used up", l.perDay), wait}
	}
	q.Used++
	q.Last = p.At
	q.Payments = append(q.Payments, p)
	if over := len(q.Payments) - wire.MaxPayments; over > 0 {
		q.Payments = q.Payments[over:]
	}
	return q, nil
}

// quota is what an app's pushes have used up: one entry on the broker, for all processes, changed by compare-and-set.
//
// A push is paid for before it is published, and gets its unit back only when the broker has said that it did not take it
// as a new one. So whatever crashes between, and whatever answer is lost, may cost a unit; but no push is on the broker
// that was not paid for.
type quota struct {
	b   *broker.Broker
	app push.AppID

	// turn is taken by whoever changes the entry: the pushes of one process contend with those of others only.
	turn    chan struct{}
	waiting atomic.Int64 // pushes that wait for it
	// entry and seq are what the process last knew of the entry, so that a lone process need not read it. A guess: no push
	// is refused by it, and none admitted that the broker does not agree to.
	known bool
	entry wire.Quota
	seq   uint64
}

func newQuota(b *broker.Broker, app push.AppID) *quota {
	return &quota{b: b, app: app, turn: make(chan struct{}, 1)}
}

// ticket is how a push may go to the broker.
type ticket struct {
	// repeat: as a repeat of one that was paid for, and not as a new one.
	repeat bool
	// paid: payment is in the entry for it, of the given day; before is what Quota.Last was.
	paid    bool
	payment wire.Payment
	day     int64
	before  int64
}

// reserve pays for a push, unless it is taken for a repeat. The error is a *QuotaError when a limit is reached.
func (q *quota) reserve(ctx context.Context, l limits, id string, now time.Time) (ticket, error) {
	if l.none() {
		return ticket{}, nil
	}
	if err := q.begin(ctx); err != nil {
		return ticket{}, err
	}
	defer q.end()
	p := wire.Payment{Push: wire.PaymentKey(id), At: now.UnixNano()}
	fresh := false
	for { // each round reads what another process has written, or is the last
		if !q.known {
			if err := q.read(ctx); err != nil {
				return ticket{}, err
			}
			fresh = true
		}
		entry := l.at(q.entry, now)
		if slices.ContainsFunc(entry.Payments, func(o wire.Payment) bool { return o.Push == p.Push }) {
			return ticket{repeat: true}, nil
		}
		paid, err := l.pay(entry, p)
		if err != nil {
			if fresh {
				return ticket{}, err
			}
			q.known = false
			continue
		}
		if err := q.write(ctx, paid); errors.Is(err, broker.ErrConflict) {
			continue
		} else if err != nil {
			return ticket{}, err
		}
		return ticket{paid: true, payment: p, day: paid.Day, before: entry.Last}, nil
	}
}

// giveBack takes back the payment of a push that is not on the broker as a new one.
func (q *quota) giveBack(ctx context.Context, t ticket) error {
	if err := q.begin(ctx); err != nil {
		return err
	}
	defer q.end()
	for { // as in reserve
		if !q.known {
			if err := q.read(ctx); err != nil {
				return err
			}
		}
		e := q.entry
		if e.Day == t.day {
			e.Used = max(0, e.Used-1)
		}
		if e.Last == t.payment.At {
			e.Last = t.before
		}
		e.Payments = slices.DeleteFunc(slices.Clone(e.Payments), func(p wire.Payment) bool { return p == t.payment })
		if err := q.write(ctx, e); !errors.Is(err, broker.ErrConflict) {
			return err
		}
	}
}

func (q *quota) begin(ctx context.Context) error {
	q.waiting.Add(1)
	defer q.waiting.Add(-1)
	select { // the one before ends in bounded time, as its ctx does
	case q.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the quota of app %d: %w", q.app, ctx.Err())
	}
}

func (q *quota) end() { <-q.turn }

// read takes the entry from the broker; one that was never written is a new one.
func (q *quota) read(ctx context.Context) error {
	m, err := q.b.Last(ctx, wire.QuotasStream, wire.QuotaSubject(q.app))
	switch {
	case errors.Is(err, broker.ErrNotFound):
		q.entry, q.seq = wire.Quota{}, 0
	case err != nil:
		return fmt.Errorf("read the quota of app %d: %w", q.app, err)
	default:
		entry, err := wire.DecodeQuota(m.Data)
		if err != nil {
			return fmt.Errorf("read the quota of app %d: %w", q.app, err)
		}
		q.entry, q.seq = entry, m.Seq
	}
	q.known = true
	return nil
}

// write changes the entry that is known. After an error it is to be read again.
func (q *quota) write(ctx context.Context, entry wire.Quota) error {
	m := broker.Message{Subject: wire.QuotaSubject(q.app), Data: wire.EncodeQuota(entry)}
	seq, _, err := q.b.Publish(ctx, m.After(q.seq))
	if err != nil {
		q.known = false
		return fmt.Errorf("write the quota of app %d: %w", q.app, err)
	}
	q.entry, q.seq = entry, seq
	return nil
}
