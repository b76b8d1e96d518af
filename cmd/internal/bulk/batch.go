package bulk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/carillon-push/carillon/pkg/client"
)

const (
	// perBatch bounds the lines of a batch, and bodyPerBatch what is said of them, in bytes: less than a service reads by
	// default.
	perBatch     = 500
	bodyPerBatch = 48 << 10
	// perDevices is how many users one call registers devices of: they have ten each, and a call takes a thousand.
	perDevices = 100
)

// entry is one line of a batch.
type entry struct {
	user User
	body json.RawMessage // what the service is told of the user, but for devices
	line int
	text string
	err  error // why the line was refused
}

func (e *entry) refuse(no *client.Error) { e.err = fmt.Errorf("the service refuses it: %w", no) }

// lay writes the body.
func (e *entry) lay() error {
	said := struct {
		Account       string            `json:"account,omitempty"`
		AccountBase64 []byte            `json:"accountBase64,omitempty"`
		Tags          []string          `json:"tags,omitempty"`
		Attributes    map[string]string `json:"attributes,omitempty"`
	}{e.user.Account, nil, e.user.Tags, e.user.Attributes}
	if !utf8.ValidString(e.user.Account) {
		said.Account, said.AccountBase64 = "", []byte(e.user.Account)
	}
	var err error
	e.body, err = json.Marshal(said)
	return err
}

// batch is a run of lines that are done together.
type batch struct {
	entries  []*entry
	size     int             // of the bodies, in bytes
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
	b.size += len(e.body)
	if e.err == nil {
		b.accounts[e.user.Account] = true
	}
}

func (b *batch) full() bool { return len(b.entries) >= perBatch || b.size >= bodyPerBatch }

// takes says whether there is room for one more entry.
func (b *batch) takes(e *entry) bool {
	return len(b.entries) == 0 || b.size+len(e.body) <= bodyPerBatch
}

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
	if err := each(ctx, b.some(func(*entry) bool { return true }), calls.merge); err != nil {
		return err
	}
	for es := range slices.Chunk(b.some(func(e *entry) bool { return len(e.user.Devices) > 0 }), perDevices) {
		if err := each(ctx, es, calls.addDevices); err != nil {
			return err
		}
	}
	return nil
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
