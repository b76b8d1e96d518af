package demo

import (
	"context"
	"fmt"
	"slices"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// logins logs everybody in who was not online.
func (d *demo) logins(ctx context.Context) error {
	others := d.crowd.order[d.cfg.Online:]
	bar := d.out.progress("logins", len(others))
	err := d.each(ctx, others, func(ctx context.Context, i int) error {
		defer bar.add(1)
		return d.login(ctx, i)
	})
	bar.end()
	return err
}

// login logs one person in, who reads what was kept, acknowledges it and leaves. What goes wrong once the session has
// begun is the account's fault in the ledger, and the others go on.
func (d *demo) login(ctx context.Context, i int) error {
	p, err := d.service.dial(ctx, i)
	if err != nil {
		return err
	}
	kept := make(chan []push.Seq, 1) // all that hello announced
	failed := make(chan error, 1)
	go func() {
		var seqs []push.Seq
		if err := p.read(ctx, func(f wire.ServerFrame) error {
			d.ledger.arrived(i, f)
			if seqs = append(seqs, f.Seq); len(seqs) == p.pending {
				kept <- slices.Clone(seqs)
			}
			return nil
		}); err != nil {
			failed <- err
		}
	}()
	if p.pending > 0 {
		select { // the last push that was kept wakes it, or the session's end, which ctx's end is too
		case seqs := <-kept:
			err = p.ack(ctx, seqs...)
		case err = <-failed:
		}
	}
	if err == nil {
		err = p.hangUp(ctx)
	} else {
		p.drop()
	}
	if err != nil {
		d.ledger.fault(i, fmt.Sprintf("the login that was to fetch %d pushes: %v", p.pending, err))
	}
	return ctx.Err()
}

// sample is how many log in a second time.
const sample = 1000

// again logs a sample of all in once more: everything was acknowledged, so that nothing may come.
func (d *demo) again(ctx context.Context) error {
	people := d.rand.Perm(d.cfg.Accounts)[:min(sample, d.cfg.Accounts)]
	bar := d.out.progress("second logins", len(people))
	err := d.each(ctx, people, func(ctx context.Context, i int) error {
		defer bar.add(1)
		p, err := d.service.dial(ctx, i)
		if err != nil {
			return err
		}
		if p.pending > 0 {
			d.ledger.fault(i, fmt.Sprintf("%d pushes wait after they were acknowledged", p.pending))
		}
		go func() {
			if err := p.read(ctx, func(f wire.ServerFrame) error {
				d.ledger.fault(i, fmt.Sprintf("push %s comes again after it was acknowledged", f.ID))
				return nil
			}); err != nil {
				d.ledger.fault(i, fmt.Sprintf("the second session ended: %v", err))
			}
		}()
		if err := p.hangUp(ctx); err != nil {
			d.ledger.fault(i, err.Error())
		}
		return ctx.Err()
	})
	bar.end()
	return err
}
