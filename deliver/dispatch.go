package deliver

import (
	"cmp"
	"context"
	"errors"
	"math/bits"
	"slices"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/deliver/socket"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/tracing"
	"github.com/carillon-push/carillon/pkg/wire"
)

const (
	// maxBatch is how many audiences are dispatched together: a bit each in a target's mask.
	maxBatch = 64
	// maxWaiting audiences wait for others of their shards; beyond them they wait where they are heard.
	maxWaiting = 256
	// chunk is how many sessions are written to before a look at what else has come: a fraction of a millisecond's work.
	chunk = 64
	// mergeShare is what part of a list is written, before a look, when what came last had to be merged into it: that costs as
	// much as writing to two in a hundred of the list.
	mergeShare = 16
)

// dispatcher writes live pushes to the sessions of this process. What comes while it writes joins what it has still to write:
// a session gets in one write what has come until its turn. When there is nothing to do, a push waits for no other.
type dispatcher struct {
	d       *Deliver
	heard   <-chan broker.Message
	last    uint64 // sequence in AUDIENCES of the last one taken from heard
	waiting []audience
	writer  *socket.Writer
	results []error // of a chunk's sends

	// Of the shard at hand, reused.
	batch   []live
	list    []target   // what is written and to be written
	fresh   []target   // what has come
	merged  []target   // list's next content
	reached addressees // whom the whole list was made for
	due     int        // how many sessions are written to before the next look
	revoked uint64     // the pushes of batch that are not sent on
	traced  uint64     // those whose way is recorded
	mask    uint64     // of which frames holds the last
	frames  []*socket.Frame
}

// audience is a live push and the shard whose it is.
type audience struct {
	shard *shard
	live
}

// live is an audience on its way to the sessions of its shard.
type live struct {
	place uint64 // in AUDIENCES
	at    time.Time
	seq   push.Seq
	push  *known          // nil: it is not sent
	users *roaring.Bitmap // who of the audience is connected here, and then who of them was sent the push

	span     tracing.Span // from when it was heard to the last write
	sessions int          // that it was written to, counted when the span is recorded
}

// target is a session and which pushes of a batch it gets.
type target struct {
	se   *session
	mask uint64
}

// DispatchFold is the name of the gateway's fold, by which the broker knows how far it is behind.
const DispatchFold = "deliver_audiences"

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
			Name: DispatchFold, Stream: wire.AudiencesStream, Start: last + 1,
			CaughtUp: func() { close(d.live) },
			Handle: func(m *broker.Message) error {
				select { // the dispatcher makes room, ctx ends it
				case heard <- *m:
					d.backlog.Add(1)
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			},
		})
	})
	g.Go(func() error {
		w := d.poller.NewWriter()
		d.log.Debug("live pushes are sent", "io_uring", w.Rings())
		return errors.Join(newDispatcher(d, heard, w).run(ctx), w.Close())
	})
	return g.Wait()
}

func newDispatcher(d *Deliver, heard <-chan broker.Message, w *socket.Writer) *dispatcher {
	return &dispatcher{d: d, heard: heard, writer: w}
}

// run dispatches what is heard until ctx ends.
func (x *dispatcher) run(ctx context.Context) error {
	for {
		select { // an audience wakes it, ctx ends it
		case m := <-x.heard:
			x.hear(m)
		case <-ctx.Done():
			return ctx.Err()
		}
		for len(x.waiting) > 0 {
			if err := x.shard(ctx, x.waiting[0].shard); err != nil {
				return err
			}
		}
		x.d.hub.handled.Advance(x.last)
	}
}

// hear takes an audience to where it waits for its turn.
func (x *dispatcher) hear(m broker.Message) {
	x.last = m.Seq
	if s, l := x.read(&m); s != nil {
		x.waiting = append(x.waiting, audience{s, l})
	} else {
		x.d.backlog.Add(-1)
	}
}

// take moves what has come for a shard to the end of the batch, as long as there is room.
func (x *dispatcher) take(s *shard) {
	for len(x.heard) > 0 && len(x.waiting) < maxWaiting { // nobody else takes from it
		x.hear(<-x.heard)
	}
	x.waiting = slices.DeleteFunc(x.waiting, func(a audience) bool {
		if a.shard != s || len(x.batch) == maxBatch {
			return false
		}
		x.batch = append(x.batch, a.live)
		return true
	})
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
	span := x.d.cfg.Tracer.Process(m.Header, "dispatch", wire.AudiencesStream, place)
	return s, live{place: m.Seq, at: m.Time, seq: place.Seq, users: users, span: span}
}

// shard dispatches what waits for one shard, and what comes for it meanwhile.
func (x *dispatcher) shard(ctx context.Context, s *shard) error {
	defer func() { // nothing is kept alive by what is reused
		x.d.backlog.Add(-int64(len(x.batch)))
		clear(x.batch)
		clear(x.list)
		x.batch, x.list, x.revoked = x.batch[:0], x.list[:0], 0
		x.traced, x.due, x.reached = 0, 0, addressees{}
	}()
	at := 0
	for {
		if had := len(x.batch); x.due <= 0 || at == len(x.list) {
			if x.take(s); len(x.batch) > had {
				if err := x.join(ctx, s, had, at); err != nil {
					return err
				}
				at = 0
			}
		}
		if at == len(x.list) {
			break
		}
		n := x.send(x.list[at:])
		at, x.due = at+n, x.due-n
	}
	for i := range x.batch {
		if l := &x.batch[i]; l.push != nil {
			x.d.metrics.latency.Observe(time.Since(l.push.at).Seconds())
			s.sent(l.push, l.users)
		}
		if l := &x.batch[i]; l.span.Recording() {
			l.span.Int("sessions", l.sessions)
			l.span.End(nil)
		}
	}
	return nil
}

// join adds the batch's entries from had on to what is to be written: to the list from at on, which stays in the order of
// places, and goes round once.
func (x *dispatcher) join(ctx context.Context, s *shard, had, at int) error {
	var same bool
	x.fresh, same = s.audiencesLike(&x.reached, x.batch[:had], x.batch[had:], x.fresh[:0])
	if err := x.fetchAll(ctx, s, x.batch[had:]); err != nil {
		return err
	}
	for i := range x.batch[had:] {
		l := &x.batch[had+i]
		if l.span.Recording() {
			x.traced |= 1 << (had + i)
			x.d.traces.dispatched(s, l.seq, l.span) // before anybody can acknowledge it
		}
		if l.users.IsEmpty() {
			continue
		}
		for j := range x.batch[:had+i] {
			if l.push != nil && x.batch[j].seq == l.push.revokes {
				x.revoked |= 1 << j
			}
		}
	}
	x.due = 0
	switch {
	case at == len(x.list) && had == 0:
		x.list, x.fresh = x.fresh, x.list
		return nil
	case same:
		x.merged = round(x.merged[:0], x.list, at, 1<<len(x.batch)-1<<had)
	default:
		x.merged = merge(x.merged[:0], x.list[at:], x.fresh, had)
		x.due = len(x.merged) / mergeShare
	}
	clear(x.list)
	clear(x.fresh)
	x.list, x.merged = x.merged, x.list
	return nil
}

// round appends the sessions of a list, from at on, with more pushes to get, and those before, which have got the others.
func round(into, list []target, at int, mask uint64) []target {
	for _, t := range list[at:] {
		into = append(into, target{t.se, t.mask | mask})
	}
	for _, t := range list[:at] {
		into = append(into, target{t.se, mask})
	}
	return into
}

// merge appends the sessions of two lists, each user's together. The places of rest ascend from its first on, and round to
// what is before that; those of fresh ascend, and its masks count from the given bit.
func merge(into, rest, fresh []target, bit int) []target {
	first := uint32(0)
	if len(rest) > 0 {
		first = rest[0].se.local
	}
	start, _ := slices.BinarySearchFunc(fresh, first, func(t target, local uint32) int { return cmp.Compare(t.se.local, local) })
	for range 2 { // what is behind the first place, and then what is before it
		part := fresh[start:]
		for len(part) > 0 {
			local := part[0].se.local
			for len(rest) > 0 && rest[0].se.local-first < local-first {
				into, rest = append(into, rest[0]), rest[1:]
			}
			n, m := ofUser(part, local), ofUser(rest, local)
			for _, t := range part[:n] {
				t.mask <<= bit
				for _, o := range rest[:m] {
					if o.se == t.se {
						t.mask |= o.mask
					}
				}
				into = append(into, t)
			}
			for _, o := range rest[:m] { // who has left since gets an error, and is noted
				if !slices.ContainsFunc(part[:n], func(t target) bool { return t.se == o.se }) {
					into = append(into, o)
				}
			}
			part, rest = part[n:], rest[m:]
		}
		fresh, start = fresh[:start], 0
	}
	return append(into, rest...)
}

// ofUser is how many targets at the beginning of a list are of one user.
func ofUser(list []target, local uint32) (n int) {
	for n < len(list) && list[n].se.local == local {
		n++
	}
	return n
}

// late is how old an audience is when it must be asked whether its push has been revoked since: a process that was
// stopped goes on where it was, and nobody has waited for it.
const late = time.Second

// fetchAll fetches the pushes of those audiences that have users here, beside each other: while the broker does not answer,
// each takes as long as all of them.
func (x *dispatcher) fetchAll(ctx context.Context, s *shard, batch []live) error {
	if len(batch) == 1 { // as a rule, and then without a goroutine
		if batch[0].users.IsEmpty() {
			return nil
		}
		return x.fetch(ctx, s, &batch[0])
	}
	var g errgroup.Group
	for i := range batch {
		if l := &batch[i]; !l.users.IsEmpty() {
			g.Go(func() error { return x.fetch(ctx, s, l) })
		}
	}
	return g.Wait()
}

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

// send is the hot loop: shared frames to the sessions at the beginning of a list, a chunk of them and the last user's to the
// end, without allocation and without waiting. It gives their number, and takes out of each entry of the batch who was not
// sent it.
func (x *dispatcher) send(list []target) (n int) {
	for n = min(chunk, len(list)); n < len(list) && list[n].se.local == list[n-1].se.local; n++ {
		// another session of the last user
	}
	all := uint64(0) // what is sent, or was until it was revoked
	for i, l := range x.batch {
		if l.push != nil {
			all |= 1 << i
		}
	}
	x.results = slices.Grow(x.results[:0], n)[:n]
	for i, t := range list[:n] {
		if mask := t.mask & all &^ x.revoked; mask != 0 {
			t.se.deliver(x.writer, x.batch, mask, x.framesOf(mask), &x.results[i])
		}
	}
	x.writer.Flush()
	x.mask = 0
	clear(x.frames)
	x.frames = x.frames[:0]
	x.count(list[:n], all)
	return n
}

// framesOf are the frames of the pushes that a mask names. They stand until the writer is flushed.
func (x *dispatcher) framesOf(mask uint64) []*socket.Frame {
	n := bits.OnesCount64(mask)
	if mask != x.mask { // as a rule everybody gets the same
		x.mask = mask
		for ; mask != 0; mask &= mask - 1 {
			x.frames = append(x.frames, x.batch[bits.TrailingZeros64(mask)].push.frame)
		}
	}
	return x.frames[len(x.frames)-n:]
}

// count notes what became of the sends to the sessions of a list.
func (x *dispatcher) count(list []target, all uint64) {
	sent, slow := 0, 0
	var got uint64 // what the user at hand was sent
	for i, t := range list {
		if mask := t.mask & all &^ x.revoked; mask != 0 {
			switch err := x.results[i]; {
			case err == nil:
				got |= mask
				sent += bits.OnesCount64(mask)
				for m := mask & x.traced; m != 0; m &= m - 1 {
					x.batch[bits.TrailingZeros64(m)].sessions++
				}
			case errors.Is(err, socket.ErrTooSlow):
				slow++
			}
		}
		if i+1 < len(list) && list[i+1].se.local == t.se.local {
			continue // another session of the user
		}
		for missed := t.mask & all &^ got; missed != 0; missed &= missed - 1 {
			x.batch[bits.TrailingZeros64(missed)].users.Remove(t.se.local)
		}
		got = 0
	}
	clear(x.results)
	x.d.metrics.sent.WithLabelValues(sentLive).Add(float64(sent))
	x.d.metrics.slow.Add(float64(slow))
}
