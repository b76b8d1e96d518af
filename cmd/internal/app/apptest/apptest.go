// Package apptest starts the whole service in a test's process: the very roles, broker and listeners of `carillon serve`,
// on free ports and a directory of the test.
package apptest

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carillon-push/carillon/cmd/internal/app"
	"github.com/carillon-push/carillon/cmd/internal/config"
	"github.com/carillon-push/carillon/pkg/client"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/usersig"
)

// The app that a System has.
const (
	AppID push.AppID = 1400000001
	Admin            = "administrator"
	Key              = "a key for tests only"
)

// Wait bounds how long a test waits for an event.
const Wait = 20 * time.Second

// Config is what Start uses: free ports, quotas that tests do not run into, receipts that do not dawdle.
func Config(t testing.TB) *config.Config {
	cfg := config.Default()
	cfg.Data = t.TempDir()
	cfg.HTTP.Listen, cfg.Sessions.Listen = "127.0.0.1:0", "127.0.0.1:0"
	cfg.Sessions.Drain = 0
	cfg.Receipts.Interval = 20 * time.Millisecond
	cfg.Apps = []config.App{{SDKAppID: AppID, Key: Key, Admins: []string{Admin}, CallsPerSecond: 1_000_000}}
	return cfg
}

// System is a running service.
type System struct {
	*app.App
	REST *client.REST
	t    testing.TB
	stop func()
}

// Start runs every role until the test ends.
func Start(t testing.TB, change ...func(*config.Config)) *System {
	t.Helper()
	cfg := Config(t)
	for _, c := range change {
		c(cfg)
	}
	return StartRoles(t, cfg, app.Roles()...)
}

// StartRoles runs some roles with a configuration until the test ends, or Stop.
func StartRoles(t testing.TB, cfg *config.Config, roles ...app.Role) *System {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Wait)
	defer cancel()
	a, err := app.New(ctx, cfg, roles, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("start the service: %v", err)
	}
	running, end := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(running) }()
	s := &System{App: a, t: t, REST: &client.REST{URL: a.URL(), App: AppID, Admin: Admin, Key: Key}}
	stopped := false
	s.stop = func() {
		if stopped {
			return
		}
		stopped = true
		end()
		if err := <-done; err != nil {
			t.Errorf("the service ended with: %v", err)
		}
	}
	t.Cleanup(s.stop)
	if err := a.AwaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	return s
}

// On is a service that the test runs itself.
func On(t testing.TB, a *app.App) *System {
	return &System{App: a, t: t, REST: &client.REST{URL: a.URL(), App: AppID, Admin: Admin, Key: Key}, stop: func() {}}
}

// Stop ends the service in an orderly way.
func (s *System) Stop() { s.stop() }

// Call posts a command and fails the test when it is refused.
func (s *System) Call(command string, body, answer any) {
	s.t.Helper()
	if err := s.REST.Call(s.t.Context(), command, body, answer); err != nil {
		s.t.Fatal(err)
	}
}

// Import registers accounts.
func (s *System) Import(accounts ...string) {
	s.t.Helper()
	for _, a := range accounts {
		s.Call("im_open_login_svc/account_import", map[string]any{"UserID": a}, nil)
	}
}

// Tag adds tags to one account.
func (s *System) Tag(account string, tags ...string) {
	s.t.Helper()
	s.Call("all_member_push/im_add_tag", map[string]any{"UserTags": []any{map[string]any{"To_Account": account, "Tags": tags}}}, nil)
}

// random makes every push of a process another one.
var random atomic.Uint32

// Text is a push of one text element.
func Text(text string, lifetime int, condition map[string]any) map[string]any {
	r := random.Add(1)
	m := map[string]any{
		"MsgRandom": r, "MsgLifeTime": lifetime,
		"MsgBody": []any{map[string]any{"MsgType": "TIMTextElem", "MsgContent": map[string]any{"Text": text}}},
	}
	if condition != nil {
		m["Condition"] = condition
	}
	return m
}

// Push posts a push and fails the test when it is refused.
func (s *System) Push(body map[string]any) push.TaskID {
	s.t.Helper()
	id, err := s.REST.Push(s.t.Context(), body)
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

// Sig signs for an account of the app.
func Sig(t testing.TB, account string) string {
	t.Helper()
	sig, err := usersig.Sign(Key, AppID, account, time.Now(), time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

// TextOf is the text of a push made by Text.
func TextOf(t testing.TB, body json.RawMessage) string {
	t.Helper()
	var elems []struct{ MsgContent struct{ Text string } }
	if err := json.Unmarshal(body, &elems); err != nil || len(elems) != 1 {
		t.Fatalf("body %s, %v", body, err)
	}
	return elems[0].MsgContent.Text
}
