package deliver

import (
	"context"
	"errors"
	"math/bits"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/deliver/socket"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// maxBatch is how many audiences are dispatched together: a bit each in a target's mask.
const maxBatch = 64

// dispatcher writes live pushes to the sessions of this process. What has come while it wrote is its next batch, in which
// a session's pushes are joined in one write; when it has nothing to do, a push waits for no other.
type dispatcher struct {
	d      *Deliver
	frames []*socket.Frame // scratch of session.deliver
	list   []target        // of the batch at hand, reused
}

// live is an audience on its way to the sessions of its shard.
type live struct {
	place uint64 // in AUDIENCES
	at    time.Time
	seq   push.Seq
	push  *known          // nil: it is not sent
	users *roaring.Bitmap // who of the audience is connected here, and then who of them was sent the push
}

// target is a session and which pushes of a batch it gets.
type target struct {
	se   *session
	mask uint64
}

// dispatch follows AUDIENCES from now on.
func (d *Deliver) dispatch(ctx context.Context) error {
	last, err := d.b.LastSeq(ctx, wire.AudiencesStream)
	if err != nil {
		return err
	}
	d.hub.handled.Advance(last)
	heard := make(chan broker.Message, maxBatch)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return d.b.Fold(ctx, broker.FoldConfig{
			Stream: wire.AudiencesStream, Start: last + 1,
			CaughtUp: func() { close(d.live) },
			Handle: func(m *broker.Message) error {
				select { // the dispatcher makes room, ctx ends it
				case heard <- *m:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			},
		})
	})
	g.Go(func() error { return newDispatcher(d).run(ctx, heard) })
	return g.Wait()
}

func newDispatcher(d *Deliver) *dispatcher {
	return &dispatcher{d: d, frames: make([]*socket.Frame, 0, maxBatch)}
}

// run dispatches what is heard until ctx ends.
func (x *dispatcher) run(ctx context.Context, heard <-chan broker.Message) error {
	batch := make([]broker.Message, 0, maxBatch)
	for {
		select { // an audience wakes it, ctx ends it
		case m := <-heard:
			batch = append(batch[:0], m)
		case <-ctx.Done():
			return ctx.Err()
		}
		for len(heard) > 0 && len(batch) < maxBatch { // nobody else takes from it
			batch = append(batch, <-heard)
		}
		if err := x.batch(ctx, batch); err != nil {
			return err
		}
		x.d.hub.handled.Advance(batch[len(batch)-1].Seq)
		clear(batch)
	}
}

// batch dispatches audiences, each shard's together.
func (x *dispatcher) batch(ctx context.Context, batch []broker.Message) error {
	var shards []*shard // in the order in which they come; nearly always one
	of := map[*shard][]live{}
	for i := range batch {
		s, l := x.read(&batch[i])
		if s == nil {
			continue
		}
		if of[s] == nil {
			shards = append(shards, s)
		}
		of[s] = append(of[s], l)
	}
	for _, s := range shards {
		if err := x.shard(ctx, s, of[s]); err != nil {
			return err
		}
	}
	return nil
}

// read decodes an audience. The shard is nil when it cannot be read, and when nobody has logged in to it: who does now
// asks the broker for its newest audience.
func (x *dispatcher) read(m *broker.Message) (*shard, live) {
	place, err := wire.ParsePushPlace(m.Subject)
	if err != nil {
		x.d.log.Error("an audience cannot be read and is left out", "subject", m.Subject, "err", err)
		return nil, live{}
	}
	s := x.d.hub.find(place.App, place.Shard)
	if s == nil {
		return nil, live{}
	}
	users, err := wire.DecodeBitmap(m.Data, x.d.b.Sharding().Width())
	if err != nil {
		x.d.log.Error("an audience cannot be read and is left out", "subject", m.Subject, "err", err)
		return nil, live{}
	}
	return s, live{place: m.Seq, at: m.Time, seq: place.Seq, users: users}
}

// shard dispatches audiences of one shard.
func (x *dispatcher) shard(ctx context.Context, s *shard, batch []live) error {
	x.list = s.audiences(batch, x.list[:0])
	defer func() { clear(x.list) }() // not kept alive by the reused list
	if len(x.list) == 0 {
		return nil
	}
	for i := range batch {
		l := &batch[i]
		if l.users.IsEmpty() {
			continue
		}
		if err := x.fetch(ctx, s, l); err != nil {
			return err
		}
		for j := range batch[:i] { // a push and its revocation in one batch: nobody has it yet
			if l.push != nil && batch[j].seq == l.push.revokes {
				batch[j].push = nil
			}
		}
	}
	x.send(batch)
	for i := range batch {
		if l := &batch[i]; l.push != nil {
			x.d.metrics.latency.Observe(time.Since(l.push.at).Seconds())
			s.sent(l.push, l.users)
		}
	}
	return nil
}

// late is how old an audience is when it must be asked whether its push has been revoked since: a process that was
// stopped goes on where it was, and nobody has waited for it.
const late = time.Second

// fetch gets an audience's push, or none when nobody is to have it any more.
func (x *dispatcher) fetch(ctx context.Context, s *shard, l *live) error {
	p, err := x.ask(ctx, l.seq)
	switch {
	case errors.Is(err, broker.ErrNotFound) || err == nil && p.over(time.Now().Unix()):
		x.d.metrics.late.Inc() // matched when its lifetime had passed
		return nil
	case unreadable(err) || err == nil && p.app != s.app:
		x.d.log.Error("a push cannot be read and is left out", "push", l.seq, "err", err)
		return nil
	case err != nil:
		return err
	}
	if p.revokes == 0 && time.Since(l.at) > late {
		_, err := x.d.b.Last(ctx, wire.PushesStream, wire.RevocationSubject(s.app, l.seq))
		if err == nil {
			return nil
		}
		if !errors.Is(err, broker.ErrNotFound) {
			x.d.log.Warn("ask whether a late push is revoked; it is sent", "push", l.seq, "err", err)
		}
	}
	l.push = p
	return nil
}

// ask gets a push, again and again while the broker does not answer: the sessions of the audience have nobody else to get
// it from now.
func (x *dispatcher) ask(ctx context.Context, seq push.Seq) (*known, error) {
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		p, err := x.d.pushes.get(ctx, seq)
		if err == nil || errors.Is(err, broker.ErrNotFound) || unreadable(err) {
			return p, err
		}
		x.d.log.Warn("fetch a push; will try again", "push", seq, "err", err)
		select { // the pause wakes it, ctx ends it
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// send is the hot loop: shared frames to every session of the list, without allocation and without waiting. It leaves in
// each entry of the batch who was sent it.
func (x *dispatcher) send(batch []live) {
	var all uint64
	for i, l := range batch {
		if l.push != nil {
			all |= 1 << i
		}
	}
	sent, slow := 0, 0
	var got uint64 // what the user at hand was sent
	for i, t := range x.list {
		if mask := t.mask & all; mask != 0 {
			switch err := t.se.deliver(batch, mask, x.frames); {
			case err == nil:
				got |= mask
				sent += bits.OnesCount64(mask)
			case errors.Is(err, socket.ErrTooSlow):
				slow++
			}
		}
		if i+1 < len(x.list) && x.list[i+1].se.local == t.se.local {
			continue // another session of the user
		}
		for missed := t.mask & all &^ got; missed != 0; missed &= missed - 1 {
			batch[bits.TrailingZeros64(missed)].users.Remove(t.se.local)
		}
		got = 0
	}
	x.d.metrics.sent.WithLabelValues(sentLive).Add(float64(sent))
	x.d.metrics.slow.Add(float64(slow))
}
