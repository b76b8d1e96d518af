package soak

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Removal is an account that is deleted, and registered again under its name some time later.
type Removal struct {
	Account int
	Pause   time.Duration
}

// BeginRemoval notes that an account is about to be deleted. Whoever is logged in is obliged to nothing from now on, and nobody
// logs in any more.
func (l *Ledger) BeginRemoval(at Moment, account int) *Change {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.users[l.current[account]]
	c := &Change{begun: at, done: never}
	u.facts[Exists] = append(u.facts[Exists], c)
	u.gone = at
	for _, s := range u.sessions {
		s.gone = at
	}
	return c
}

// Return notes that a deleted account is about to be registered again: another user, who has only the name of the one
// before. A login that nobody waits for any more may have made it since the removal began.
func (l *Ledger) Return(account int, removal *Change) *Change {
	l.mu.Lock()
	defer l.mu.Unlock()
	before, c := l.users[l.current[account]], &Change{value: "1", begun: removal.begun, done: never}
	l.current[account] = len(l.users)
	l.users = append(l.users, &user{account: account, life: before.life + 1, facts: map[Fact][]*Change{Exists: {c}}, gone: never})
	l.removals++
	return c
}

// remove deletes an account, and registers it again.
func (c *caller) remove(ctx context.Context, r *Removal) {
	if len(c.claim([]int{r.Account})) == 0 {
		return
	}
	c.lock(ctx, r.Account)
	removal := c.l.BeginRemoval(c.clock.now(), r.Account)
	sure, err := c.repeat(ctx, func() error { return c.deletion(ctx, r.Account) })
	switch {
	case err == nil:
		c.l.Done(c.clock.now(), removal)
	case !errors.Is(err, errUnsure):
		c.l.Odd("the deletion of %s was refused: %v", accountName(r.Account), err)
		return
	default:
		return // the run is over
	}
	if !sure { // or an earlier attempt deletes the account that comes
		pause(ctx, c.haunting)
	}
	pause(ctx, r.Pause)
	back := c.l.Return(r.Account, removal)
	sure, err = c.repeat(ctx, func() error { return c.register(ctx, []int{r.Account}) })
	at := c.clock.now()
	switch {
	case err == nil:
		c.l.Done(at, back)
	case !errors.Is(err, errUnsure):
		c.l.Odd("%s was not registered again: %v", accountName(r.Account), err)
	}
	if !sure {
		at += c.haunting
	}
	c.unlock(r.Account)
	c.release([]int{r.Account}, at)
}

// noSuchAccount is the contract's code for an account that is not there.
const noSuchAccount = 70107

// deletion makes the call once. An account that is gone already was deleted by an attempt before.
func (c *caller) deletion(ctx context.Context, account int) error {
	var o struct {
		outcome
		ResultItem []struct {
			ResultCode int
			ResultInfo string
		}
	}
	item := []any{map[string]any{"UserID": accountName(account)}}
	if err := c.answered(ctx, "im_open_login_svc/account_delete", map[string]any{"DeleteItem": item}, &o, &o.outcome); err != nil {
		return err
	}
	if len(o.ResultItem) != 1 {
		return fmt.Errorf("%d results", len(o.ResultItem))
	}
	switch r := o.ResultItem[0]; {
	case r.ResultCode == 0, r.ResultCode == noSuchAccount:
		return nil
	case tryAgain[r.ResultCode]:
		return errUnsure
	default:
		return fmt.Errorf("%d %s", r.ResultCode, r.ResultInfo)
	}
}

// kick ends the sessions of an account, once. Its users come back.
func (c *caller) kick(ctx context.Context, account int) {
	if len(c.claim([]int{account})) == 0 {
		return
	}
	defer c.release([]int{account}, 0)
	_, err := c.command(ctx, "im_open_login_svc/kick", map[string]any{"UserID": accountName(account)})
	switch {
	case err == nil:
		c.l.Kicked()
	case !errors.Is(err, errUnsure):
		c.l.Odd("%s could not be kicked: %v", accountName(account), err)
	}
}

// lock keeps logins of an account from beginning, and waits for those that have.
func (c *caller) lock(ctx context.Context, account int) {
	c.mu.Lock()
	c.locked[account] = true
	c.mu.Unlock()
	for ctx.Err() == nil {
		c.mu.Lock()
		n := c.dialling[account]
		c.mu.Unlock()
		if n == 0 {
			return
		}
		pause(ctx, 50*time.Millisecond)
	}
}

func (c *caller) unlock(account int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.locked, account)
}

// enter says whether an account may be logged in to; leave is called when that has succeeded, or failed.
func (c *caller) enter(account int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.locked[account] {
		return false
	}
	c.dialling[account]++
	return true
}

func (c *caller) leave(account int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dialling[account]--; c.dialling[account] == 0 {
		delete(c.dialling, account)
	}
}
