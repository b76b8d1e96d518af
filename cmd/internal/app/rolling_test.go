package app_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/carillon-push/carillon/cmd/internal/app"
	"github.com/carillon-push/carillon/cmd/internal/app/apptest"
	"github.com/carillon-push/carillon/pkg/client"
	"github.com/carillon-push/carillon/pkg/push"
)

// shown are the pushes that a user has been shown.
type shown struct {
	mu    sync.Mutex
	count map[push.Seq]int
	more  chan struct{} // capacity 1
}

func (s *shown) push(p client.Push) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count[p.Seq]++
	select { // never waits: a mark that is there already says the same
	case s.more <- struct{}{}:
	default:
	}
}

// await waits until the user has been shown so many pushes, and fails when one was shown twice.
func (s *shown) await(ctx context.Context, n int) error {
	for {
		s.mu.Lock()
		have := len(s.count)
		for seq, times := range s.count {
			if times > 1 {
				s.mu.Unlock()
				return fmt.Errorf("push %d was shown %d times", seq, times)
			}
		}
		s.mu.Unlock()
		if have >= n {
			return nil
		}
		select { // a push wakes it, ctx ends it
		case <-s.more:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d pushes were shown", have, n)
		}
	}
}

// Every process of a fleet is replaced, one after the other, while pushes go on: no push is lost, none is shown twice, and
// no call fails at both ingest processes.
func TestRollingEveryRoleUnderLoad(t *testing.T) {
	t.Parallel()
	base := apptest.Config(t)
	narrow(base)
	base.NATS.URL = apptest.StartNATS(t)
	base.Sessions.Drain = 50 * time.Millisecond
	type process struct {
		role app.Role
		*apptest.System
	}
	begin := func(role app.Role, rest, sessions string) *process {
		cfg := *base
		cfg.HTTP.Listen, cfg.Sessions.Listen = rest, sessions
		return &process{role, apptest.StartRoles(t, &cfg, role)}
	}
	const anyPort = "127.0.0.1:0"
	var fleet []*process
	var rests, bases []string
	var gateways []string
	for _, role := range []app.Role{app.Matcher, app.Offline, app.Deliver, app.Ingest} {
		for range 2 {
			rest, sessions := freeAddress(t), freeAddress(t)
			fleet = append(fleet, begin(role, rest, sessions))
			switch role {
			case app.Ingest:
				rests = append(rests, "http://"+rest)
			case app.Deliver:
				gateways, bases = append(gateways, sessions), append(bases, "ws://"+sessions)
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*apptest.Wait)
	defer cancel()

	// Two ingest processes: a call that one does not take goes to the other.
	call := func(do func(*client.REST) error) error {
		var err error
		for i := range 50 {
			rest := &client.REST{URL: rests[i%2], App: apptest.AppID, Admin: apptest.Admin, Key: apptest.Key}
			if err = do(rest); err == nil || ctx.Err() != nil {
				return err
			}
		}
		return err
	}
	const users = 30
	var listening sync.WaitGroup
	listen, hangUp := context.WithCancel(ctx)
	defer hangUp()
	got := make([]*shown, users)
	for i := range got {
		name := fmt.Sprint("u", i)
		if err := call(func(r *client.REST) error {
			return r.Call(ctx, "im_open_login_svc/account_import", map[string]any{"UserID": name}, nil)
		}); err != nil {
			t.Fatal(err)
		}
		got[i] = &shown{count: map[push.Seq]int{}, more: make(chan struct{}, 1)}
		listening.Go(func() {
			s := &client.Session{
				URLs: bases, App: apptest.AppID, Account: name, UserSig: apptest.Sig(t, name), Gather: 10 * time.Millisecond, OnPush: got[i].push,
			}
			if err := s.Listen(listen); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}

	pushes, pushing := 0, make(chan struct{})
	pushed := make(chan struct{})
	rolled := make(chan struct{})
	go func() {
		defer close(pushing)
		for done := false; !done; pushes++ {
			body := apptest.Text(fmt.Sprint("m", pushes), 3600, nil)
			if err := call(func(r *client.REST) error { _, err := r.Push(ctx, body); return err }); err != nil {
				t.Errorf("push %d: %v", pushes, err)
				return
			}
			select { // never waits
			case <-rolled:
				done = true
			case pushed <- struct{}{}:
			default:
			}
			if err := got[pushes%users].await(ctx, pushes/2); err != nil { // users keep up, by and large
				t.Error(err)
				return
			}
		}
	}()
	for i, p := range fleet {
		rest, sessions := anyPort, anyPort
		switch p.role {
		case app.Ingest:
			rest = rests[i%2][len("http://"):]
		case app.Deliver:
			sessions = gateways[i%2]
		}
		p.Stop()
		fleet[i] = begin(p.role, rest, sessions)
		for range 2 { // pushes go on before the next one goes
			select {
			case <-pushed:
			case <-pushing:
			}
		}
	}
	close(rolled)
	<-pushing
	for i, s := range got {
		if err := s.await(ctx, pushes); err != nil {
			t.Errorf("u%d: %v", i, err)
		}
	}
	t.Logf("%d pushes to %d users while %d processes were replaced", pushes, users, len(fleet))
	hangUp()
	listening.Wait()
}

// freeAddress is one of this machine that nobody listens on, so that a process can come back to it.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
