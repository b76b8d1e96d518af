package app_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/carillon-push/carillon/cmd/internal/app"
	"github.com/carillon-push/carillon/cmd/internal/app/apptest"
	"github.com/carillon-push/carillon/cmd/internal/config"
	"github.com/carillon-push/carillon/pkg/client"
	"github.com/carillon-push/carillon/pkg/push"
)

// Three processes of `carillon serve` are one cluster: what is accepted by one of them reaches a user at each, also when one
// process has ended.
func TestThreeProcessesAreOneService(t *testing.T) {
	t.Parallel()
	const n = 3
	routes := make([]string, n)
	for i := range routes {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		routes[i] = l.Addr().String()
		l.Close()
	}
	systems := make([]*app.App, n)
	ends := make([]func(), n)
	var starting sync.WaitGroup
	for i := range n {
		cfg := apptest.Config(t)
		cfg.NATS.Node, cfg.NATS.ClusterListen, cfg.NATS.Listen, cfg.NATS.Replicas = fmt.Sprintf("n%d", i), routes[i], "127.0.0.1:0", n
		for j, r := range routes {
			if j != i {
				cfg.NATS.ClusterRoutes += r + ","
			}
		}
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		starting.Go(func() { systems[i], ends[i] = running(t, cfg) })
	}
	starting.Wait()
	if t.Failed() {
		t.FailNow()
	}

	got := make([]*shown, n)
	for i := range n {
		got[i] = &shown{count: map[push.Seq]int{}, more: make(chan struct{}, 1)}
		opened := make(chan struct{}, 1)
		session := &client.Session{
			URLs: []string{systems[i].SessionsURL()}, App: apptest.AppID, Account: fmt.Sprintf("u%d", i),
			UserSig: apptest.Sig(t, fmt.Sprintf("u%d", i)), OnPush: got[i].push,
			OnState: func(s client.State) {
				if _, ok := s.(client.Open); ok {
					select { // the first counts
					case opened <- struct{}{}:
					default:
					}
				}
			},
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = session.Listen(ctx) // it ends with ctx
		}()
		t.Cleanup(func() { cancel(); <-ended })
		select { // the login, or the time
		case <-opened:
		case <-time.After(apptest.Wait):
			t.Fatalf("nobody could log in at process %d", i)
		}
	}
	send := func(by int, random uint32) {
		t.Helper()
		rest := &client.REST{URL: systems[by].URL(), App: apptest.AppID, Admin: apptest.Admin, Key: apptest.Key}
		var err error
		for range 30 { // a leader may have to be chosen
			if _, err = rest.Push(t.Context(), map[string]any{
				"MsgRandom": random, "MsgLifeTime": 600,
				"MsgBody": []any{map[string]any{"MsgType": "TIMTextElem", "MsgContent": map[string]any{"Text": "hello"}}},
			}); err == nil {
				return
			}
		}
		t.Fatalf("push by process %d: %v", by, err)
	}
	await := func(who, pushes int) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), apptest.Wait)
		defer cancel()
		if err := got[who].await(ctx, pushes); err != nil {
			t.Errorf("the user at process %d: %v", who, err)
		}
	}
	for i := range n {
		send(i, uint32(i+1))
	}
	for i := range n {
		await(i, n)
	}
	ends[2]()
	send(0, 10)
	send(1, 11)
	await(0, n+2)
	await(1, n+2)
}

// running starts every role, and gives what ends them.
func running(t *testing.T, cfg *config.Config) (*app.App, func()) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	a, err := app.New(ctx, cfg, app.Roles(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Errorf("start process %s: %v", cfg.NATS.Node, err)
		return nil, nil
	}
	runs, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(runs) }()
	end := sync.OnceFunc(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("process %s ended with: %v", cfg.NATS.Node, err)
		}
	})
	t.Cleanup(end)
	if err := a.AwaitReady(ctx); err != nil {
		t.Errorf("process %s: %v", cfg.NATS.Node, err)
	}
	return a, end
}
