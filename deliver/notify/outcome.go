package notify

import (
	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/deliver/channel"
	"github.com/carillon-push/carillon/pkg/wire"
)

// outcome is what is known of a task, and its revision in NOTICES, 0 when nothing is.
type outcome struct {
	wire.Outcome
	rev uint64
}

// settled are the users for whom nothing more is to be done.
func (o *outcome) settled() *roaring.Bitmap {
	all := roaring.New()
	for i := range o.Parts {
		all.Or(o.Parts[i].Users)
	}
	return all
}

// settle notes what became of users, which are not empty.
func (o *outcome) settle(result, reason, id string, users *roaring.Bitmap) {
	for i := range o.Parts {
		if p := &o.Parts[i]; p.Result == result && p.Reason == reason && p.ID == id {
			p.Users.Or(users)
			return
		}
	}
	o.Parts = append(o.Parts, wire.OutcomePart{Result: result, Reason: reason, ID: id, Users: users.Clone()})
}

// merge takes over what another worker wrote of the same task. Who is in both was notified by both.
func (o *outcome) merge(theirs wire.Outcome) {
	for _, p := range theirs.Parts {
		o.settle(p.Result, p.Reason, p.ID, p.Users)
	}
	o.Done = o.Done || theirs.Done
}

// verdict is what one user's devices make together: one that was notified is enough, and one to be tried again keeps the
// others' word back.
type verdict struct {
	outcome    channel.Outcome
	reason, id string
}

// weight orders outcomes by what they mean for the user.
func weight(o channel.Outcome) int {
	switch o {
	case channel.Sent:
		return 4
	case channel.Later, channel.Denied:
		return 3
	case channel.Refused:
		return 2
	case channel.Gone:
		return 1
	}
	return 0
}

// with is the verdict with one more device's result.
func (v verdict) with(r channel.Result) verdict {
	if weight(r.Outcome) > weight(v.outcome) {
		return verdict{r.Outcome, r.Reason, r.ID}
	}
	return v
}

// final says whether the user is settled.
func (v verdict) final() bool { return results[v.outcome] != "" }

// results are the final outcomes of channels, as outcomes of tasks name them.
var results = map[channel.Outcome]string{
	channel.Sent: wire.ResultSent, channel.Gone: wire.ResultGone, channel.Refused: wire.ResultRefused,
}

// part is the task's share of the users of a channel.
func part(users *roaring.Bitmap, task int) *roaring.Bitmap {
	share := roaring.New()
	first, err := users.Select(uint32(task) * wire.NotifySize)
	if err != nil { // there are not so many
		return share
	}
	it := users.Iterator()
	it.AdvanceIfNeeded(first)
	for n := 0; n < wire.NotifySize && it.HasNext(); n++ {
		share.Add(it.Next())
	}
	return share
}
