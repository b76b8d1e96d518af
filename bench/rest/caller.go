package rest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/bench/service"
)

// caller is the operator's server.
type caller struct {
	*service.Process
	o Options
}

func (c caller) call(ctx context.Context, command string, body any) error {
	return c.REST.Call(ctx, command, body, nil)
}

// work is a command that changes users, and its body for some of them.
type work struct {
	command string
	body    func(names []string) map[string]any
}

var importing = work{"im_open_login_svc/multiaccount_import", func(names []string) map[string]any {
	return map[string]any{"Accounts": names}
}}

// meanTags that tagging adds to a user.
const meanTags = 5.5

// tagging gives 1 to 10 tags, all of them new to their users, a tenth of the users as many of each.
var tagging = work{"all_member_push/im_add_tag", func(names []string) map[string]any {
	list := make([]any, len(names))
	for i, name := range names {
		tags := make([]string, 1+i%10)
		for t := range tags {
			tags[t] = "tag-" + strconv.Itoa((i+t*37)%1000)
		}
		list[i] = map[string]any{"To_Account": name, "Tags": tags}
	}
	return map[string]any{"UserTags": list}
}}

var valuing = work{"all_member_push/im_set_attr", func(names []string) map[string]any {
	list := make([]any, len(names))
	for i, name := range names {
		list[i] = map[string]any{"To_Account": name, "Attrs": map[string]string{"city": "city-" + strconv.Itoa(i)}}
	}
	return map[string]any{"UserAttrs": list}
}}

// rate of some work.
type rate struct {
	users float64 // a second
	cpu   float64 // CPU-seconds of the service for a thousand users
}

// load does some work for n users, by all callers at once.
func (c caller) load(ctx context.Context, w work, prefix string, n int) (rate, error) {
	return c.measure(ctx, n, together, func(ctx context.Context, first, _ int) error {
		return c.call(ctx, w.command, w.body(names(prefix, first)))
	})
}

// measure makes calls for n users, by all callers at once and at most each users a call.
func (c caller) measure(ctx context.Context, n, each int, call func(ctx context.Context, first, users int) error) (rate, error) {
	before, err := c.CPU()
	if err != nil {
		return rate{}, err
	}
	start := time.Now()
	var next atomic.Int64
	g, gctx := errgroup.WithContext(ctx)
	for range c.o.Callers {
		g.Go(func() error {
			for {
				first := int(next.Add(int64(each))) - each
				if first >= n {
					return nil
				}
				if err := call(gctx, first, min(each, n-first)); err != nil {
					return fmt.Errorf("users from %d: %w", first, err)
				}
			}
		})
	}
	if err := g.Wait(); err != nil {
		return rate{}, err
	}
	took := time.Since(start)
	after, err := c.CPU()
	return rate{float64(n) / took.Seconds(), (after - before).Seconds() / float64(n) * 1000}, err
}

// names of the users of one call.
func names(prefix string, first int) []string {
	list := make([]string, together)
	for i := range list {
		list[i] = prefix + strconv.Itoa(first+i)
	}
	return list
}

// pushes one after the other, and gives what each took to be accepted, in milliseconds. They are for nobody, so that what
// comes after is not measured too.
func (c caller) pushes(ctx context.Context) (took []float64, err error) {
	for range c.o.Pushes {
		body := map[string]any{
			"MsgRandom": rand.Uint32(), "MsgLifeTime": 60, "Condition": map[string]any{"TagsOr": []string{"a tag that nobody has"}},
			"MsgBody": []any{map[string]any{"MsgType": "TIMTextElem", "MsgContent": map[string]any{"Text": "hello"}}},
		}
		start := time.Now()
		if _, err := c.REST.Push(ctx, body); err != nil {
			return nil, err
		}
		took = append(took, float64(time.Since(start))/float64(time.Millisecond))
	}
	return took, nil
}

// besideCallers import while pushes are measured.
const besideCallers = 4

// pushesBeside pushes while others import accounts, and gives also how many of those a second.
func (c caller) pushesBeside(ctx context.Context) (took []float64, imported float64, err error) {
	importCtx, stop := context.WithCancel(ctx)
	defer stop()
	var next, done atomic.Int64
	g, importCtx := errgroup.WithContext(importCtx)
	for range besideCallers {
		g.Go(func() error {
			for {
				first := int(next.Add(together)) - together
				if err := c.call(importCtx, importing.command, importing.body(names("beside-", first))); err != nil {
					return err
				}
				done.Add(together)
			}
		})
	}
	start := time.Now()
	took, err = c.pushes(importCtx) // which ends if the import fails
	imported = float64(done.Load()) / time.Since(start).Seconds()
	pushed := err == nil
	stop()
	if failed := g.Wait(); !pushed {
		return nil, 0, fmt.Errorf("push beside an import: %w (the import ended with: %w)", err, failed)
	}
	return took, imported, nil
}
