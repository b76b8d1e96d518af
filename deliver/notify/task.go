package notify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/deliver/channel"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

const (
	// taskAgainAfter is when users come again whose vendor did not say when.
	taskAgainAfter = 5 * time.Second
	// taskAgainAtMost bounds what a vendor may say, so that a task is looked at while its push lives.
	taskAgainAtMost = 10 * time.Minute
	// taskFresh is how long a task stands for whom it was cut; later it is looked up who has acknowledged meanwhile.
	taskFresh = 3 * time.Second
	// writeWait bounds how long it may take to write down what became of a task.
	writeWait = 5 * time.Second
	// outcomeAttempts bounds the repeats of a compare-and-set; each means that another worker's succeeded.
	outcomeAttempts = 8
)

var (
	errLater     = errors.New("some users are to be notified later")
	errNoChannel = errors.New("the channel is not configured here")
)

// job is a task that a worker has.
type job struct {
	n      *Notify
	place  wire.NoticePlace
	sender Sender
	known  *known
	left   *roaring.Bitmap // users who are not settled
	outcome
}

// task does one task of the queue: an error is why it comes again.
func (n *Notify) task(ctx context.Context, m *broker.Message) error {
	place, err := wire.ParseNotifySubject(m.Subject)
	if err != nil {
		n.metrics.corrupt.Inc()
		n.log.Error("a task cannot be read and is left out", "subject", m.Subject, "seq", m.Seq, "err", err)
		return nil
	}
	result, err := n.do(ctx, place, m.Time)
	if errors.Is(err, wire.ErrCorrupt) || errors.Is(err, wire.ErrVersion) {
		n.metrics.corrupt.Inc()
		n.log.Error("what a task needs cannot be read; it is left out", "subject", m.Subject, "seq", m.Seq, "err", err)
		result, err = taskCorrupt, nil
	}
	if result != "" {
		n.metrics.tasks.WithLabelValues(place.Channel, result).Inc()
	}
	return err
}

// do does a task that was put into the queue at a time.
func (n *Notify) do(ctx context.Context, place wire.NoticePlace, at time.Time) (result string, err error) {
	j := &job{n: n, place: place, sender: n.channels(place.App)[place.Channel]}
	if j.sender == nil {
		return "", broker.After(taskAgainAfter, errNoChannel)
	}
	if j.outcome, err = n.outcome(ctx, place); err != nil {
		return "", err
	}
	if j.Done {
		return taskKnown, nil
	}
	if j.known, err = n.notices.get(ctx, place.Seq); err != nil {
		if errors.Is(err, broker.ErrNotFound) {
			return taskDone, nil // its retention has ended, and its lifetime long before
		}
		return "", err
	}
	of := place
	if of.Seq = j.known.push.Revokes; of.Seq == 0 {
		of.Seq = place.Seq
	}
	users, err := n.audience(ctx, of)
	if errors.Is(err, broker.ErrNotFound) {
		return taskDone, nil // as above
	}
	if err != nil {
		return "", err
	}
	j.left = part(users, place.Task)
	j.left.AndNot(j.settled())
	pause, err := j.work(ctx, of, at)
	if err != nil {
		return "", err
	}
	j.Done = j.left.IsEmpty()
	if err := j.write(ctx); err != nil {
		return "", err
	}
	if !j.Done {
		n.metrics.tasks.WithLabelValues(place.Channel, taskAgain).Inc()
		return "", broker.After(pause, errLater)
	}
	return taskDone, nil
}

// work notifies, or takes back, and gives how long those are to wait who are left.
func (j *job) work(ctx context.Context, of wire.NoticePlace, at time.Time) (time.Duration, error) {
	if of.Seq != j.place.Seq {
		return j.revoke(ctx, of)
	}
	if err := j.drop(ctx, at); err != nil || j.left.IsEmpty() {
		return 0, err
	}
	tokens, owners, err := j.tokens(ctx, j.left)
	if err != nil || len(tokens) == 0 {
		return 0, err
	}
	return j.take(ctx, tokens, owners, j.sender.Send(ctx, j.known.notice, tokens))
}

// end settles everybody who is left.
func (j *job) end(result string) { j.spare(result, j.left.Clone()) }

// spare settles users without asking the vendor.
func (j *job) spare(result string, users *roaring.Bitmap) {
	if !users.IsEmpty() {
		j.settle(result, "", "", users)
		j.left.AndNot(users)
		j.n.metrics.results.WithLabelValues(j.place.Channel, result).Add(float64(users.GetCardinality()))
	}
}

// drop settles those who are no longer to be notified.
func (j *job) drop(ctx context.Context, at time.Time) error {
	p := j.known.push
	if j.known.notice == nil || time.Now().Unix() >= p.Expire() {
		j.end(wire.ResultExpired)
		return nil
	}
	_, err := j.n.b.Last(ctx, wire.PushesStream, wire.RevocationSubject(p.App, p.Seq))
	if err == nil {
		j.end(wire.ResultRevoked)
		return nil
	}
	if !errors.Is(err, broker.ErrNotFound) {
		return err
	}
	if time.Since(at) < taskFresh {
		return nil
	}
	m, err := j.n.b.Last(ctx, wire.PendingStream, wire.PendingSubject(p.App, j.place.Shard, p.Seq))
	if errors.Is(err, broker.ErrNotFound) || err == nil && len(m.Data) == 0 {
		return nil // it is not written yet, or its time has just ended
	}
	if err != nil {
		return err
	}
	pending, err := wire.DecodePending(m.Data, j.n.b.Sharding().Width())
	if err != nil {
		return err
	}
	j.spare(wire.ResultReceived, roaring.AndNot(j.left, pending.Users))
	return nil
}

// tokens are those of some users' devices on the channel, with whose each is. Who has none is settled.
func (j *job) tokens(ctx context.Context, users *roaring.Bitmap) (tokens []string, owners []uint32, err error) {
	sharding := j.n.b.Sharding()
	ordinals := make([]push.Ordinal, 0, users.GetCardinality())
	for it := users.Iterator(); it.HasNext(); {
		ordinals = append(ordinals, sharding.Ordinal(j.place.Shard, it.Next()))
	}
	lists, err := j.n.dir.Devices(ctx, j.place.App, ordinals...)
	if err != nil {
		return nil, nil, fmt.Errorf("read the devices of %d users: %w", len(ordinals), err)
	}
	none := roaring.New()
	for _, o := range ordinals {
		local, has := sharding.Local(o), false
		for i := range lists[o] {
			if d := &lists[o][i]; d.Channel == j.place.Channel {
				tokens, owners, has = append(tokens, d.Token), append(owners, local), true
			}
		}
		if !has {
			none.Add(local)
		}
	}
	j.spare(wire.ResultNoDevice, none)
	return tokens, owners, nil
}

// take settles users by the results of their devices, forgets those that are gone, and gives how long the rest is to wait.
func (j *job) take(ctx context.Context, tokens []string, owners []uint32, answers []channel.Result) (time.Duration, error) {
	verdicts := make(map[uint32]verdict, len(owners))
	pause := time.Duration(0)
	forget := !j.suspicious(answers)
	for i, r := range answers {
		verdicts[owners[i]] = verdicts[owners[i]].with(r)
		if r.Outcome == channel.Gone && forget {
			o := j.n.b.Sharding().Ordinal(j.place.Shard, owners[i])
			if err := j.n.dir.RemoveDevice(ctx, j.place.App, o, j.place.Channel, tokens[i]); err != nil {
				j.n.log.Warn("forget a device that its vendor no longer knows; the next push will again", "app", j.place.App, "ordinal", o, "err", err)
			} else {
				j.n.metrics.forgotten.WithLabelValues(forgottenGone).Inc()
			}
		}
		pause = max(pause, r.After)
	}
	for local, v := range verdicts {
		if !v.final() {
			continue
		}
		id := ""
		if j.sender.Revokes() {
			id = v.id
		}
		j.settle(results[v.outcome], v.reason, id, roaring.BitmapOf(local))
		j.left.Remove(local)
		j.n.metrics.results.WithLabelValues(j.place.Channel, results[v.outcome]).Inc()
	}
	if pause == 0 {
		pause = taskAgainAfter
	}
	return min(pause, taskAgainAtMost), nil
}

// massGone is from how many devices on it is not believed that all of them are gone.
const massGone = 20

// suspicious says whether a vendor calls so many devices gone, and none known, that its credentials must be another app's:
// forgetting them would be for ever.
func (j *job) suspicious(answers []channel.Result) bool {
	for _, r := range answers {
		if r.Outcome != channel.Gone {
			return false
		}
	}
	if len(answers) < massGone {
		return false
	}
	j.n.metrics.suspicious.Inc()
	j.n.log.Error("a vendor says that all devices of a task are gone; none is forgotten: are the credentials this app's?",
		"app", j.place.App, "channel", j.place.Channel, "devices", len(answers))
	return true
}

// revoke takes back what was sent of a push.
func (j *job) revoke(ctx context.Context, of wire.NoticePlace) (time.Duration, error) {
	original, err := j.n.notices.get(ctx, of.Seq)
	if errors.Is(err, broker.ErrNotFound) || err == nil && original.notice == nil {
		j.end(wire.ResultExpired)
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if time.Now().Unix() >= original.push.Expire() {
		j.end(wire.ResultExpired)
		return 0, nil
	}
	was, err := j.n.outcome(ctx, of)
	if err != nil {
		return 0, err
	}
	ids, sent := map[uint32]string{}, roaring.New()
	for _, p := range was.Parts {
		if p.Result == wire.ResultSent {
			sent.Or(p.Users)
			for it := p.Users.Iterator(); it.HasNext(); {
				ids[it.Next()] = p.ID
			}
		}
	}
	sent.And(j.left)
	if was.Done || len(was.Parts) > 0 { // else it may be under way: it is looked at again
		j.spare(wire.ResultReceived, roaring.AndNot(j.left, sent))
	}
	if sent.IsEmpty() {
		return taskAgainAfter, nil
	}
	tokens, owners, err := j.tokens(ctx, sent)
	if err != nil || len(tokens) == 0 {
		return 0, err
	}
	wanted := make([]string, len(owners))
	for i, o := range owners {
		wanted[i] = ids[o]
	}
	return j.take(ctx, tokens, owners, j.sender.Revoke(ctx, original.notice, tokens, wanted))
}

// outcome reads what is known of a task.
func (n *Notify) outcome(ctx context.Context, place wire.NoticePlace) (outcome, error) {
	m, err := n.b.Last(ctx, wire.NoticesStream, wire.OutcomeSubject(place))
	if errors.Is(err, broker.ErrNotFound) {
		return outcome{}, nil
	}
	if err != nil {
		return outcome{}, err
	}
	o, err := wire.DecodeOutcome(m.Data, n.b.Sharding().Width())
	return outcome{o, m.Seq}, err
}

// write says what became of the task. What another worker has said of it meanwhile is kept too.
func (j *job) write(ctx context.Context) error {
	// Who was notified is written down even by a worker that is told to stop: the next one would notify them again.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeWait)
	defer cancel()
	for range outcomeAttempts {
		data, err := wire.EncodeOutcome(j.Outcome)
		if err != nil {
			return err
		}
		rev, _, err := j.n.b.Publish(ctx, broker.Message{Subject: wire.OutcomeSubject(j.place), Data: data}.After(j.rev))
		if err == nil {
			j.rev = rev
			return nil
		}
		if !errors.Is(err, broker.ErrConflict) {
			return fmt.Errorf("write what became of a task: %w", err)
		}
		theirs, err := j.n.outcome(ctx, j.place)
		if err != nil {
			return err
		}
		j.merge(theirs.Outcome)
		j.rev = theirs.rev
		j.left.AndNot(j.settled())
		j.Done = j.Done || j.left.IsEmpty()
	}
	return fmt.Errorf("write what became of a task: %w", broker.ErrConflict)
}
