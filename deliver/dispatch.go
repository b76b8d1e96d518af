package deliver

import (
	"context"
	"errors"
	"time"

	"github.com/carillon-push/carillon/deliver/socket"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// dispatcher writes live pushes to the sessions of this process. Its fields are of the goroutine that folds AUDIENCES.
type dispatcher struct {
	d    *Deliver
	list []*session // of the audience at hand, reused
}

// dispatch follows AUDIENCES from now on.
func (d *Deliver) dispatch(ctx context.Context) error {
	last, err := d.b.LastSeq(ctx, wire.AudiencesStream)
	if err != nil {
		return err
	}
	d.hub.handled.Store(last)
	x := dispatcher{d: d}
	return d.b.Fold(ctx, broker.FoldConfig{
		Stream: wire.AudiencesStream, Start: last + 1,
		CaughtUp: func() { close(d.live) },
		Handle: func(m *broker.Message) error {
			err := x.audience(ctx, m)
			d.hub.handled.Store(m.Seq)
			return err
		},
	})
}

// audience writes one audience's push to whoever of it is connected here.
func (x *dispatcher) audience(ctx context.Context, m *broker.Message) error {
	place, err := wire.ParsePushPlace(m.Subject)
	if err != nil {
		x.d.log.Error("an audience cannot be read and is left out", "subject", m.Subject, "err", err)
		return nil
	}
	shard := x.d.hub.find(place.App, place.Shard)
	if shard == nil {
		return nil // nobody has logged in to it; who does now asks the broker for its newest audience
	}
	users, err := wire.DecodeBitmap(m.Data, x.d.b.Sharding().Width())
	if err != nil {
		x.d.log.Error("an audience cannot be read and is left out", "subject", m.Subject, "err", err)
		return nil
	}
	x.list = shard.audience(users, m.Seq, x.list[:0])
	defer clear(x.list) // not kept alive by the reused list
	if len(x.list) > 0 {
		if err := x.write(ctx, place.Seq); err != nil {
			return err
		}
	}
	shard.wrote(place.Seq)
	return nil
}

// write writes a push to the sessions of the list.
func (x *dispatcher) write(ctx context.Context, seq push.Seq) error {
	p, err := x.fetch(ctx, seq)
	if errors.Is(err, broker.ErrNotFound) || err == nil && p.expire != 0 && p.expire <= time.Now().Unix() {
		x.d.metrics.late.Inc() // matched when its lifetime had passed
		return nil
	}
	if unreadable(err) {
		x.d.log.Error("a push cannot be read and is left out", "push", seq, "err", err)
		return nil
	}
	if err != nil {
		return err
	}
	x.send(seq, p.frame)
	x.d.metrics.latency.Observe(time.Since(p.at).Seconds())
	return nil
}

// fetch gets a push's frame, again and again while the broker does not answer: the sessions of the audience have nobody
// else to get it from now.
func (x *dispatcher) fetch(ctx context.Context, seq push.Seq) (*known, error) {
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

// send is the hot loop: one shared frame to every session of the list, without allocation and without waiting.
func (x *dispatcher) send(seq push.Seq, f *socket.Frame) {
	sent, slow := 0, 0
	for _, s := range x.list {
		switch err := s.deliver(seq, f); {
		case err == nil:
			sent++
		case errors.Is(err, socket.ErrTooSlow):
			slow++
		}
	}
	x.d.metrics.sent.WithLabelValues(sentLive).Add(float64(sent))
	x.d.metrics.slow.Add(float64(slow))
}
