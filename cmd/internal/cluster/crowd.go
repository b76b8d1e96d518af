package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/carillon-push/carillon/pkg/client"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/usersig"
)

// crowd is users who are logged in, and what came to them.
type crowd struct {
	mu       sync.Mutex
	open     int // sessions
	logins   int // of all users, first ones too
	opened   chan struct{}
	arrivals map[string]*arrival // by the push's text
	progress chan struct{}       // capacity 1: something came
	ended    sync.WaitGroup
}

// arrival is what became of one text.
type arrival struct {
	users map[int]bool
	ids   map[push.TaskID]bool
	last  time.Time // when the last user had it
}

func newCrowd() *crowd {
	return &crowd{opened: make(chan struct{}, 1), arrivals: map[string]*arrival{}, progress: make(chan struct{}, 1)}
}

func userName(i int) string { return fmt.Sprintf("user%d", i) }

// join logs users in, each over one of the gateways and over another when that is gone, until ctx ends.
func (c *crowd) join(ctx context.Context, s *site, users int) {
	for i := range users {
		session := &client.Session{
			URLs: s.sessions, App: appID, Account: userName(i), Platform: "Linux",
			Sig: func(context.Context) (string, error) {
				return usersig.Sign(s.key, appID, userName(i), time.Now(), time.Hour, nil)
			},
			OnPush:  func(p client.Push) { c.came(i, p) },
			OnState: c.state,
		}
		c.ended.Go(func() { _ = session.Listen(ctx) }) // it ends with ctx
	}
}

func (c *crowd) state(s client.State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch s.(type) {
	case client.Open:
		c.open++
		c.logins++
	case client.Waiting:
		c.open--
	}
	wake(c.opened)
}

func wake(c chan struct{}) {
	select { // never waits: a mark that is there already says the same
	case c <- struct{}{}:
	default:
	}
}

// all waits until so many have logged in.
func (c *crowd) all(ctx context.Context, users int) error {
	for {
		c.mu.Lock()
		n := c.logins
		c.mu.Unlock()
		if n >= users {
			return nil
		}
		select { // a login wakes it, ctx ends it
		case <-ctx.Done():
			return fmt.Errorf("only %d of %d users are logged in: %w", n, users, ctx.Err())
		case <-c.opened:
		}
	}
}

func (c *crowd) came(user int, p client.Push) {
	now := time.Now()
	var elems []struct{ MsgContent struct{ Text string } }
	if json.Unmarshal(p.Body, &elems) != nil || len(elems) != 1 {
		return // no push of this run
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.arrivals[elems[0].MsgContent.Text]
	if a == nil {
		a = &arrival{users: map[int]bool{}, ids: map[push.TaskID]bool{}}
		c.arrivals[elems[0].MsgContent.Text] = a
	}
	a.users[user], a.ids[p.ID], a.last = true, true, now
	wake(c.progress)
}

// missing are the pairs of a user and an accepted push that have not come.
func (c *crowd) missing(accepted []*sent, users int) (pairs int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range accepted {
		pairs += users
		if a := c.arrivals[p.text]; a != nil {
			pairs -= len(a.users)
		}
	}
	return pairs
}

// await waits until everything that was accepted is with everybody, or ctx ends.
func (c *crowd) await(ctx context.Context, accepted []*sent, users int) {
	for c.missing(accepted, users) > 0 {
		select { // an arrival wakes it, ctx ends it
		case <-ctx.Done():
			return
		case <-c.progress:
		}
	}
}
