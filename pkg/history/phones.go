package history

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// phones is what the notices of a push say of a user's phones.
type phones struct {
	notified string   // the channels that took a notification; empty for none
	others   []string // what is to be said of the others
}

// why is the end of a sentence about a user who was not notified.
func (p *phones) why() string {
	if len(p.others) == 0 {
		return ""
	}
	return "; " + strings.Join(p.others, "; ")
}

// toNotify is a user's share in one channel's notice.
type toNotify struct {
	task wire.NoticePlace
	at   time.Time
}

// readNotices finds what became of the push on the user's phones. A task is so many users of its channel in their order, so
// that the notice says which one the user is in, and only that one's outcome is read.
func (t *tracing) readNotices(ctx context.Context) error {
	if t.p.Lifetime == 0 || t.Matched != nil && !*t.Matched {
		return nil
	}
	width, local := t.h.b.Sharding().Width(), t.h.b.Sharding().Local(t.Ordinal)
	var of []toNotify
	err := t.h.b.Fold(ctx, broker.FoldConfig{
		Stream: wire.NoticesStream, Filter: wire.NoticeShardFilter(t.p.App, t.p.Seq, t.Shard), StopWhenRead: true,
		Handle: func(m *broker.Message) error {
			place, err := wire.ParseNoticeSubject(m.Subject)
			if err != nil {
				return err
			}
			users, err := wire.DecodeBitmap(m.Data, width)
			if err != nil {
				t.h.log.Error("a notice cannot be read and is left out", "subject", m.Subject, "seq", m.Seq, "err", err)
				return nil
			}
			if users.Contains(local) {
				place.Task = int((users.Rank(local) - 1) / wire.NotifySize)
				of = append(of, toNotify{place, m.Time})
			}
			return nil
		},
	})
	if err != nil || len(of) == 0 {
		return err
	}
	slices.SortFunc(of, func(a, b toNotify) int { return strings.Compare(a.task.Channel, b.task.Channel) })
	verdicts, err := t.verdicts(ctx, of, t.p.Seq)
	if err != nil {
		return err
	}
	var by []string
	for i, n := range of {
		v, name := verdicts[i], n.task.Channel
		left := fmt.Sprintf("left for phones by %s", name)
		if v.part == nil {
			left += ": waiting"
			t.phones.others = append(t.phones.others, left)
		}
		t.event(n.at, EventPhones, 0, left)
		if v.part == nil {
			continue
		}
		kind, text := v.told(name)
		t.event(v.at, kind, 0, text)
		if kind == EventNotified {
			by = append(by, name)
		} else {
			t.phones.others = append(t.phones.others, text)
		}
	}
	t.phones.notified = strings.Join(by, " and ")
	if t.revoked == nil {
		return nil
	}
	if verdicts, err = t.verdicts(ctx, of, t.revoked.Seq); err != nil {
		return err
	}
	for i, v := range verdicts {
		if v.part != nil && v.part.Result == wire.ResultSent {
			t.event(v.at, EventTakenBack, 0, fmt.Sprintf("the notification was taken back by %s", of[i].task.Channel))
		}
	}
	return nil
}

// verdict is what became of one user in one task: nil while nothing has.
type verdict struct {
	part *wire.OutcomePart
	at   time.Time // by when
}

// verdicts reads the outcomes of tasks, of the push or of its revocation, which has the same.
func (t *tracing) verdicts(ctx context.Context, of []toNotify, seq push.Seq) ([]verdict, error) {
	subjects := make([]string, len(of))
	for i, n := range of {
		n.task.Seq = seq
		subjects[i] = wire.OutcomeSubject(n.task)
	}
	found, err := t.h.b.LastOf(ctx, wire.NoticesStream, subjects)
	if err != nil {
		return nil, err
	}
	local := t.h.b.Sharding().Local(t.Ordinal)
	all := make([]verdict, len(of))
	for i, subject := range subjects {
		m := found[subject]
		if m == nil {
			continue
		}
		o, err := wire.DecodeOutcome(m.Data, t.h.b.Sharding().Width())
		if err != nil {
			t.h.log.Error("a notice cannot be read and is left out", "subject", m.Subject, "seq", m.Seq, "err", err)
			continue
		}
		rank := len(resultOrder)
		for k := range o.Parts {
			p := &o.Parts[k]
			if r := slices.Index(resultOrder, p.Result); r >= 0 && r < rank && p.Users.Contains(local) {
				all[i], rank = verdict{p, m.Time}, r
			}
		}
	}
	return all, nil
}

// told is a verdict in words.
func (v verdict) told(channel string) (Kind, string) {
	because := ""
	if v.part.Reason != "" {
		because = ": " + v.part.Reason
	}
	switch v.part.Result {
	case wire.ResultSent:
		return EventNotified, "notified by " + channel
	case wire.ResultRefused:
		return EventRefused, fmt.Sprintf("refused by %s%s", channel, because)
	case wire.ResultGone:
		return EventGone, fmt.Sprintf("token gone, says %s%s", channel, because)
	}
	return EventSpared, fmt.Sprintf("not notified by %s: %s", channel, map[string]string{
		wire.ResultExpired:  "the push's lifetime was over",
		wire.ResultReceived: "the push waited for the user no more",
		wire.ResultNoDevice: "the user had no device of it any more",
		wire.ResultRevoked:  "the push was revoked",
	}[v.part.Result])
}
