package history

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// Channel is what has become of a push on the channel of one vendor, counted in users. Everybody of Users is in one of the
// others.
type Channel struct {
	// Users were to be notified: those with a device of the channel who had not acknowledged the push in time.
	Users uint64 `json:"users"`
	// Sent are those whose notification the vendor took, for one of their devices at least.
	Sent uint64 `json:"sent"`
	// Gone have no device any more, says the vendor.
	Gone uint64 `json:"gone"`
	// Refused counts by the vendor's own reasons.
	Refused map[string]uint64 `json:"refused"`
	// Expired, Received and Revoked: the push's lifetime was over first, they acknowledged it first, or it was revoked first.
	// NoDevice have lost the device since they were counted in.
	Expired  uint64 `json:"expired"`
	Received uint64 `json:"received"`
	NoDevice uint64 `json:"noDevice"`
	Revoked  uint64 `json:"revoked"`
	// Open are still to be notified.
	Open uint64 `json:"open"`
}

// Channels counts a push by the names of the channels that it went to: from the logs, exactly, and from beyond them by what
// TASKS keeps. There are none of a push that went to no phone.
func (h *History) Channels(ctx context.Context, p *push.Push) (map[string]Channel, error) {
	t := new(wire.Task)
	found, _, err := h.find(ctx, p.App, p.Seq)
	if err == nil {
		err = h.notified(ctx, found, t)
	}
	if errors.Is(err, ErrNoPush) {
		t, _, err = h.Task(ctx, p.App, p.Seq)
	}
	if err != nil {
		return nil, err
	}
	all := make(map[string]Channel, len(t.Channels))
	for _, c := range t.Channels {
		all[c.Channel] = channelOf(&c)
	}
	return all, nil
}

func channelOf(of *wire.TaskChannel) Channel {
	c := Channel{Users: of.Users, Open: of.Users, Refused: map[string]uint64{}}
	for _, r := range of.Results {
		c.Open -= r.Users
		switch r.Result {
		case wire.ResultSent:
			c.Sent += r.Users
		case wire.ResultGone:
			c.Gone += r.Users
		case wire.ResultRefused:
			c.Refused[cmp.Or(r.Reason, reasonOther)] += r.Users
		case wire.ResultExpired:
			c.Expired += r.Users
		case wire.ResultReceived:
			c.Received += r.Users
		case wire.ResultNoDevice:
			c.NoDevice += r.Users
		case wire.ResultRevoked:
			c.Revoked += r.Users
		default: // of a later version: nothing that this one knows has become of them
			c.Open += r.Users
		}
	}
	return c
}

// resultOrder says which result counts of a user who has several, which is so where two workers had the same task: the
// first of these.
var resultOrder = []string{
	wire.ResultSent, wire.ResultRefused, wire.ResultGone, wire.ResultNoDevice, wire.ResultReceived, wire.ResultRevoked, wire.ResultExpired,
}

const (
	// reasonsAtMost is how many reasons one result is counted by; the rarest of more are counted as reasonOther. It is a net:
	// the reasons are those of a vendor's documentation.
	reasonsAtMost = 64
	reasonOther   = "other"
)

// notified counts what NOTICES says of a push into its entry of TASKS, which stays as it is when there is nothing new. A
// message of NOTICES is younger than its push, so that the logs have all of them as long as they have the push.
func (h *History) notified(ctx context.Context, p *push.Push, t *wire.Task) error {
	if p.Lifetime == 0 {
		return nil // no phone shows a push that is for online users only
	}
	fold := func(start uint64, handle func(*broker.Message) error) error {
		return h.b.Fold(ctx, broker.FoldConfig{
			Stream: wire.NoticesStream, Filter: wire.NoticesFilter(p.App, p.Seq), Start: start, StopWhenRead: true, Handle: handle,
		})
	}
	if t.Notices > 0 {
		err := fold(t.Notices+1, func(*broker.Message) error { return errEnough })
		if !errors.Is(err, errEnough) {
			return err
		}
	}
	c := channels{users: map[wire.NoticePlace]uint64{}, tasks: map[wire.NoticePlace][]wire.TaskResult{}}
	err := fold(0, func(m *broker.Message) error {
		c.last = m.Seq
		if err := c.take(m, h.b.Sharding().Width()); err != nil {
			h.log.Error("a notice cannot be read and is left out", "subject", m.Subject, "seq", m.Seq, "err", err)
		}
		return nil
	})
	if err == nil && len(c.users) > 0 {
		t.Channels, t.Notices = c.sum(), c.last
	}
	return err
}

// channels counts a push while NOTICES is read. The broker keeps each task's last outcome, and whoever reads while it is
// replaced may see both: so they are kept by task until the end.
type channels struct {
	users map[wire.NoticePlace]uint64            // of each channel in each shard
	tasks map[wire.NoticePlace][]wire.TaskResult // in no order
	last  uint64
}

// take takes one message of NOTICES.
func (c *channels) take(m *broker.Message, width uint32) error {
	if place, err := wire.ParseOutcomeSubject(m.Subject); err == nil {
		o, err := wire.DecodeOutcome(m.Data, width)
		if err == nil {
			c.tasks[place] = results(o.Parts)
		}
		return err
	}
	place, err := wire.ParseNoticeSubject(m.Subject)
	if err != nil {
		return err
	}
	users, err := wire.DecodeBitmap(m.Data, width)
	if err == nil {
		c.users[place] = users.GetCardinality()
	}
	return err
}

// results counts a task's users, each once.
func results(parts []wire.OutcomePart) (counts []wire.TaskResult) {
	seen := roaring.New()
	for _, result := range resultOrder {
		for _, p := range parts {
			if p.Result != result {
				continue
			}
			n := p.Users.GetCardinality() - p.Users.AndCardinality(seen)
			if n == 0 {
				continue
			}
			seen.Or(p.Users)
			i := slices.IndexFunc(counts, func(r wire.TaskResult) bool { return r.Result == result && r.Reason == p.Reason })
			if i < 0 {
				counts, i = append(counts, wire.TaskResult{Result: result, Reason: p.Reason}), len(counts)
			}
			counts[i].Users += n
		}
	}
	return counts
}

// sum adds the tasks up by channel.
func (c *channels) sum() []wire.TaskChannel {
	type kind struct{ result, reason string }
	users, counts := map[string]uint64{}, map[string]map[kind]uint64{}
	for place, n := range c.users {
		users[place.Channel] += n
	}
	for place, of := range c.tasks {
		if counts[place.Channel] == nil {
			counts[place.Channel] = map[kind]uint64{}
		}
		for _, r := range of {
			counts[place.Channel][kind{r.Result, r.Reason}] += r.Users
		}
	}
	var all []wire.TaskChannel
	for _, name := range slices.Sorted(maps.Keys(users)) {
		var of []wire.TaskResult
		for k, n := range counts[name] {
			of = append(of, wire.TaskResult{Result: k.result, Reason: k.reason, Users: n})
		}
		all = append(all, wire.TaskChannel{Channel: name, Users: users[name], Results: bounded(of, users[name])})
	}
	return all
}

// bounded gives counts in their order, with few reasons of each result, and of no more users than there are: an outcome may
// name whom its task was not for.
func bounded(counts []wire.TaskResult, users uint64) (kept []wire.TaskResult) {
	slices.SortFunc(counts, func(a, b wire.TaskResult) int { return cmp.Or(cmp.Compare(b.Users, a.Users), a.Compare(b)) })
	reasons, others := map[string]int{}, map[string]uint64{}
	for _, r := range counts {
		r.Users = min(r.Users, users)
		users -= r.Users
		switch {
		case r.Users == 0:
		case r.Reason == reasonOther || reasons[r.Result] == reasonsAtMost:
			others[r.Result] += r.Users
		default:
			reasons[r.Result]++
			kept = append(kept, r)
		}
	}
	for result, n := range others {
		kept = append(kept, wire.TaskResult{Result: result, Reason: reasonOther, Users: n})
	}
	slices.SortFunc(kept, wire.TaskResult.Compare)
	return kept
}
