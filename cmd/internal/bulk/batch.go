package bulk

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/carillon-push/carillon/pkg/client"
)

const (
	// perCall is how many users one call is about, and tagsPerCall how many tags each of them gets by it: the contract's
	// limits.
	perCall     = 100
	tagsPerCall = 10
	// perBatch bounds the text of a batch in bytes. A call says less than the lines that it is made from, so that it stays
	// below what a service reads by default.
	perBatch = 48 << 10
)

// entry is one line of a batch.
type entry struct {
	user User
	line int
	text string
	err  error // why the line was refused
}

func (e *entry) refuse(no *client.Error) { e.err = fmt.Errorf("the service refuses it: %w", no) }

// raw says that the contract cannot carry the account.
func (e *entry) raw() bool { return !utf8.ValidString(e.user.Account) }

// batch is a run of lines that are done together.
type batch struct {
	entries  []*entry
	size     int             // of the texts, in bytes
	accounts map[string]bool // that it is about
	after    []*batch        // those before it that are about some of the same accounts
	end      place
	read     int64 // what was taken from the file until then, in bytes

	done chan struct{} // closed when err is known, and nobody changes the entries any more
	err  error
}

func newBatch() *batch { return &batch{accounts: map[string]bool{}, done: make(chan struct{})} }

func (b *batch) add(e *entry) {
	b.entries = append(b.entries, e)
	b.size += len(e.text)
	if e.err == nil {
		b.accounts[e.user.Account] = true
	}
}

func (b *batch) full() bool { return len(b.entries) >= perCall || b.size >= perBatch }

// follow makes the batch wait for those before it that are about some of the same accounts.
func (b *batch) follow(earlier []*batch) {
	for _, e := range earlier {
		for a := range b.accounts {
			if e.accounts[a] {
				b.after = append(b.after, e)
				break
			}
		}
	}
}

// run does the batch when its turn has come. It must be called once.
func (b *batch) run(ctx context.Context, calls *caller) error {
	defer close(b.done)
	for _, e := range b.after {
		select { // the earlier batch wakes it, ctx ends it
		case <-e.done:
		case <-ctx.Done():
			b.err = ctx.Err()
			return b.err
		}
		if e.err != nil {
			b.err = errors.New("a batch about the same accounts failed")
			return b.err
		}
	}
	b.after = nil // or each would keep all before it
	b.err = b.apply(ctx, calls)
	return b.err
}

// apply tells the service. Lines that it refuses are marked; an error is anything else.
func (b *batch) apply(ctx context.Context, calls *caller) error {
	if err := calls.writeNative(ctx, b.some((*entry).raw)); err != nil {
		return err
	}
	if err := each(ctx, b.some(func(e *entry) bool { return !e.raw() }), calls.importAccounts); err != nil {
		return err
	}
	if err := each(ctx, b.some(func(e *entry) bool { return !e.raw() && len(e.user.Attributes) > 0 }), calls.setAttrs); err != nil {
		return err
	}
	for from := 0; ; from += tagsPerCall {
		more := b.some(func(e *entry) bool { return !e.raw() && len(e.user.Tags) > from })
		if len(more) == 0 {
			break
		}
		if err := each(ctx, more, func(ctx context.Context, es []*entry) error { return calls.addTags(ctx, es, from) }); err != nil {
			return err
		}
	}
	return each(ctx, b.some(func(e *entry) bool { return len(e.user.Devices) > 0 }), calls.addDevices)
}

// some are the entries that have a property and were not refused.
func (b *batch) some(has func(*entry) bool) []*entry {
	var some []*entry
	for _, e := range b.entries {
		if e.err == nil && has(e) {
			some = append(some, e)
		}
	}
	return some
}

// each makes a call about entries. One that is refused is made again about each half, until the entries at fault are found:
// of a call that is refused nothing is applied.
func each(ctx context.Context, entries []*entry, call func(context.Context, []*entry) error) error {
	if len(entries) == 0 {
		return nil
	}
	err := call(ctx, entries)
	no := refused(err)
	switch {
	case no == nil:
		return err
	case len(entries) == 1:
		entries[0].refuse(no)
		return nil
	}
	half := len(entries) / 2
	if err := each(ctx, entries[:half], call); err != nil {
		return err
	}
	return each(ctx, entries[half:], call)
}

func (c *caller) importAccounts(ctx context.Context, entries []*entry) error {
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.user.Account
	}
	var answer struct{ FailAccounts []string }
	if err := c.call(ctx, "im_open_login_svc/multiaccount_import", map[string]any{"Accounts": names}, &answer); err != nil {
		return err
	}
	failed := map[string]bool{}
	for _, name := range answer.FailAccounts {
		failed[name] = true
	}
	for _, e := range entries {
		if failed[e.user.Account] {
			e.err = errors.New("the service does not take the account")
		}
	}
	return nil
}

func (c *caller) setAttrs(ctx context.Context, entries []*entry) error {
	users := make([]any, len(entries))
	for i, e := range entries {
		users[i] = map[string]any{"To_Account": e.user.Account, "Attrs": e.user.Attributes}
	}
	return c.call(ctx, "all_member_push/im_set_attr", map[string]any{"UserAttrs": users}, nil)
}

// addTags adds some of each user's tags, of which there are more than from.
func (c *caller) addTags(ctx context.Context, entries []*entry, from int) error {
	users := make([]any, len(entries))
	for i, e := range entries {
		tags := e.user.Tags[from:]
		users[i] = map[string]any{"To_Account": e.user.Account, "Tags": tags[:min(len(tags), tagsPerCall)]}
	}
	return c.call(ctx, "all_member_push/im_add_tag", map[string]any{"UserTags": users}, nil)
}
