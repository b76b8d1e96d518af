package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/carillon-push/carillon/pkg/client"
)

// sent is one push that was accepted.
type sent struct {
	text string
	at   time.Time // when the answer was there
}

// operator pushes by either of the two REST processes.
type operator struct {
	rest  []*client.REST
	n     int // pushes tried
	wrong int // of those that were not accepted
}

// callWait bounds one call. One that was on its way to the server that is gone has no answer.
const callWait = 6 * time.Second

func newOperator(s *site) *operator {
	o := &operator{}
	for _, url := range s.rest {
		o.rest = append(o.rest, &client.REST{URL: url, App: appID, Admin: admin, Key: s.key, HTTP: &http.Client{Timeout: callWait}})
	}
	return o
}

// push tries new pushes until one is accepted. What became of one without an answer is not known, and not counted.
func (o *operator) push(ctx context.Context) (*sent, error) {
	for {
		o.n++
		text := fmt.Sprintf("push %d", o.n)
		_, err := o.rest[o.n%len(o.rest)].Push(ctx, map[string]any{
			"MsgRandom": rand.Uint32(), "MsgLifeTime": 3600,
			"MsgBody": []any{map[string]any{"MsgType": "TIMTextElem", "MsgContent": map[string]any{"Text": text}}},
		})
		if err == nil {
			return &sent{text, time.Now()}, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("push: %w", err)
		}
		o.wrong++
	}
}

// pause between two pushes.
const pause = 50 * time.Millisecond

func (o *operator) several(ctx context.Context, n int) (all []*sent, err error) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for range n {
		p, err := o.push(ctx)
		if err != nil {
			return all, err
		}
		all = append(all, p)
		select { // the ticker wakes it, ctx ends it
		case <-ctx.Done():
			return all, ctx.Err()
		case <-tick.C:
		}
	}
	return all, nil
}

// tell is the story.
func tell(ctx context.Context, s settings, c *site, out io.Writer) error {
	begun := time.Now()
	say := func(format string, args ...any) {
		fmt.Fprintf(out, "%6.1fs  %s\n", time.Since(begun).Seconds(), fmt.Sprintf(format, args...))
	}
	if err := c.up(ctx, c.brokers); err != nil {
		return err
	}
	say("%d servers of the broker are a cluster", nodes)
	if err := c.up(ctx, c.roles); err != nil {
		return err
	}
	say("%d processes are ready: two of each role", len(c.roles))

	with, leave := context.WithCancel(ctx)
	people := newCrowd()
	defer people.ended.Wait()
	defer leave()
	people.join(with, c, s.Users)
	if err := people.all(ctx, s.Users); err != nil {
		return err
	}
	say("%d users are logged in, over two gateways", s.Users)

	o := newOperator(c)
	before, err := o.several(ctx, s.Pushes)
	if err != nil {
		return err
	}
	people.await(ctx, before, s.Users)
	say("%d pushes to everybody; acceptance to the last of %d: %s", len(before), s.Users, people.times(before))

	victim, err := c.leader(ctx)
	if err != nil {
		return err
	}
	victim.kill()
	killed := time.Now()
	say("killed %s (kill -9), which led the pushes", victim.name)
	first, err := o.push(ctx)
	if err != nil {
		return err
	}
	say("the next push was accepted after %s; %d calls had failed", first.at.Sub(killed).Round(time.Millisecond), o.wrong)
	people.await(ctx, []*sent{first}, s.Users)
	say("and was with everybody %s after the kill", people.lastOf(first).Sub(killed).Round(time.Millisecond))
	after, err := o.several(ctx, s.Pushes)
	if err != nil {
		return err
	}
	after = append(after, first)
	people.await(ctx, after, s.Users)
	say("%d more pushes, with two servers: %s", len(after), people.times(after))
	if err := c.up(ctx, []*process{victim}); err != nil {
		return err
	}
	say("%s is back", victim.name)
	last, err := o.several(ctx, 5)
	if err != nil {
		return err
	}
	all := slices.Concat(before, after, last)
	people.await(ctx, all, s.Users)
	lost, doubled := people.missing(all, s.Users), people.doubled()
	say("%d pushes were accepted, %d pairs of a push and a user checked: %d lost, %d pushes there twice", len(all), len(all)*s.Users, lost, doubled)
	leave()
	people.ended.Wait()
	if err := c.stop(); err != nil {
		return err
	}
	say("everything has ended")
	if lost > 0 || doubled > 0 {
		return errors.New("accepted pushes were lost, or are there twice")
	}
	return nil
}

// times are how long pushes took from their acceptance to the last user, as a median and a maximum.
func (c *crowd) times(pushes []*sent) string {
	var all []time.Duration
	for _, p := range pushes {
		all = append(all, max(0, c.lastOf(p).Sub(p.at)))
	}
	if len(all) == 0 {
		return "none"
	}
	slices.Sort(all)
	return fmt.Sprintf("p50 %s, at most %s", all[len(all)/2].Round(100*time.Microsecond), all[len(all)-1].Round(100*time.Microsecond))
}

// lastOf is when the last user had a push.
func (c *crowd) lastOf(p *sent) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a := c.arrivals[p.text]; a != nil {
		return a.last
	}
	return p.at
}

// doubled are the texts that came under more than one id.
func (c *crowd) doubled() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.arrivals {
		if len(a.ids) > 1 {
			n++
		}
	}
	return n
}
