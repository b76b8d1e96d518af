package demo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/pkg/wire"
)

// online is the sessions that are there while the pushes are made.
type online struct {
	d      *demo
	mu     sync.Mutex
	phones []*phone
}

// newOnline counts what those who will be online must get.
func newOnline(d *demo) *online {
	for _, i := range d.crowd.order[:d.cfg.Online] {
		for _, u := range d.uses {
			if u.wants(&d.crowd.people[i]) {
				u.live.want++
			}
		}
	}
	return &online{d: d}
}

// connect opens the sessions. Each acknowledges what it gets at once.
func (o *online) connect(ctx context.Context) error {
	d := o.d
	bar := d.out.progress("online", d.cfg.Online)
	err := d.each(ctx, d.crowd.order[:d.cfg.Online], func(dialing context.Context, i int) error {
		p, err := d.service.dial(dialing, i)
		if err != nil {
			return err
		}
		// The reader outlives the dialling; drop ends it.
		go func() {
			if err := p.read(ctx, func(f wire.ServerFrame) error { return o.got(ctx, p, f) }); err != nil && ctx.Err() == nil {
				d.ledger.fault(i, fmt.Sprintf("the session ended: %v", err))
			}
		}()
		o.mu.Lock()
		o.phones = append(o.phones, p)
		o.mu.Unlock()
		bar.add(1)
		return nil
	})
	bar.end()
	return err
}

// got takes one push.
func (o *online) got(ctx context.Context, p *phone, f wire.ServerFrame) error {
	if u := o.d.ledger.arrived(p.account, f); u != nil && u.wants(&o.d.crowd.people[p.account]) {
		u.live.arrived()
	}
	return p.ack(ctx, f.Seq)
}

// leave ends the sessions in an orderly way: everything that was sent to them has been counted then.
func (o *online) leave(ctx context.Context) error {
	var g errgroup.Group
	g.SetLimit(o.d.cfg.Logins)
	for _, p := range o.phones {
		g.Go(func() error {
			bounded, cancel := context.WithTimeout(ctx, phoneWait)
			defer cancel()
			if err := p.hangUp(bounded); err != nil {
				o.d.ledger.fault(p.account, err.Error())
			}
			return ctx.Err()
		})
	}
	err := g.Wait()
	o.phones = nil
	return err
}

// drop ends what leave has not.
func (o *online) drop() {
	for _, p := range o.phones {
		p.drop()
	}
}

// onlineWait bounds the wait for the last online user. What has not come by then is missing at the check.
const onlineWait = 30 * time.Second

// push makes the pushes, one after the other, each until the last online user has it.
func (d *demo) push(ctx context.Context, o *online) error {
	for _, u := range d.uses {
		begin := time.Now()
		task, err := d.service.rest.Push(ctx, u.request(d.rand.Uint32()))
		if err != nil {
			return err
		}
		u.task, u.accepted = task, time.Since(begin)
		if err := u.live.wait(ctx, onlineWait); err != nil {
			return err
		}
		u.toLast = u.live.lastAfter(begin)
		if u.matched, u.pending, err = d.service.audience(ctx, task); err != nil {
			return err
		}
		d.out.line("push to %s: accepted as %s in %s, %d users matched, of them %d online, the last of whom had it after %s",
			u.name, task, brief(u.accepted), u.matched, u.live.want, u.toLast)
	}
	return nil
}

// each does something for some people, Logins of them at once, each within phoneWait.
func (d *demo) each(ctx context.Context, people []int, do func(ctx context.Context, i int) error) error {
	g, failed := errgroup.WithContext(ctx)
	g.SetLimit(d.cfg.Logins)
	for _, i := range people {
		if failed.Err() != nil {
			break
		}
		g.Go(func() error {
			bounded, cancel := context.WithTimeout(failed, phoneWait)
			defer cancel()
			return do(bounded, i)
		})
	}
	return errors.Join(g.Wait(), ctx.Err())
}
