package app_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillon-push/carillon/cmd/internal/app"
	"github.com/carillon-push/carillon/cmd/internal/app/apptest"
	"github.com/carillon-push/carillon/cmd/internal/config"
	"github.com/carillon-push/carillon/pkg/client"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/usersig"
	"github.com/carillon-push/carillon/pkg/wire"
)

func narrow(c *config.Config) { c.Sharding.Bits = 4 }

// Accounts and tags are bytes, subjects are not.
func TestAnyBytesAreAnAccountAndATag(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, narrow)
	names := []string{"a.b", "*", ">", "a b", "a\x00b", "😀", "$KV.PENDING", "user.1.0.1", strings.Repeat("x", 32)}
	s.Import(names...)
	for i, n := range names {
		s.Tag(n, n, fmt.Sprint("only", i))
	}
	for i, n := range names {
		online := s.Dial(n)
		s.Push(apptest.Text(n, 60, map[string]any{"TagsAnd": []string{n, fmt.Sprint("only", i)}}))
		if text, _ := online.Push(); text != n {
			t.Errorf("%q got %q", n, text)
		}
	}
}

// The inbox comes oldest first, over an orderly restart too, each push once per login until it is acknowledged.
func TestPendingSurvivesARestartInOrder(t *testing.T) {
	t.Parallel()
	cfg := apptest.Config(t)
	narrow(cfg)
	s := apptest.StartRoles(t, cfg, app.Roles()...)
	var users []string
	for i := range 40 { // three shards
		users = append(users, fmt.Sprint("u", i))
	}
	s.Import(users...)
	for i := range 5 {
		s.Push(apptest.Text(fmt.Sprint("m", i), 3600, nil))
	}
	first := s.Dial("u39")
	for i := range 5 {
		text, seq := first.Push()
		if text != fmt.Sprint("m", i) {
			t.Fatalf("push %d is %q", i, text)
		}
		if i%2 == 0 {
			first.Ack(seq)
		}
	}
	first.Sync()
	first.Close()
	s.Stop()

	s = apptest.StartRoles(t, cfg, app.Roles()...)
	again := s.Dial("u39")
	if again.Hello.Pending != 2 {
		t.Fatalf("%d pending after the restart, want the 2 that were not acknowledged", again.Hello.Pending)
	}
	for _, want := range []string{"m1", "m3"} {
		if text, _ := again.Push(); text != want {
			t.Errorf("got %q, want %q", text, want)
		}
	}
	if other := s.Dial("u0"); other.Hello.Pending != 5 {
		t.Errorf("another user has %d pending, want 5", other.Hello.Pending)
	}
	s.Push(apptest.Text("after", 3600, nil))
	if text, _ := again.Push(); text != "after" {
		t.Errorf("after the restart came %q", text)
	}
}

// Lifetime 0 stores nothing; a lifetime that has passed leaves nothing.
func TestLifetimes(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	s.Import("u", "online")
	online := s.Dial("online")
	s.Push(apptest.Text("now or never", 0, nil))
	s.Push(apptest.Text("two seconds", 2, nil))
	for _, want := range []string{"now or never", "two seconds"} {
		if text, _ := online.Push(); text != want {
			t.Fatalf("got %q, want %q", text, want)
		}
	}
	if p := s.Dial("u").Hello.Pending; p != 1 {
		t.Fatalf("%d pending, want the one with a lifetime", p)
	}
	deadline := time.Now().Add(apptest.Wait)
	for s.Dial("u").Hello.Pending != 0 {
		if time.Now().After(deadline) {
			t.Fatal("a push outlives its lifetime")
		}
	}
	last, err := s.Broker().LastSeq(t.Context(), wire.PushesStream)
	if err != nil || last != 2 {
		t.Fatalf("%d pushes, %v", last, err)
	}
	if _, err := s.Broker().Last(t.Context(), wire.PendingStream, wire.PendingSubject(apptest.AppID, 0, 1)); err == nil {
		t.Error("an online-only push was stored")
	}
}

// Users who come and go while pushes are made miss none and, once acknowledged, get none again: the live stream and the
// inbox meet without a gap.
func TestComingAndGoingMissesNothing(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, narrow)
	const users, pushes = 24, 60
	var names []string
	for i := range users {
		names = append(names, fmt.Sprint("u", i))
	}
	s.Import(names...)

	got := make([]map[string]int, users)
	var mu sync.Mutex
	missing := users * pushes
	all := make(chan struct{})
	ctx, cancel := context.WithTimeout(t.Context(), 4*apptest.Wait)
	defer cancel()
	var wg sync.WaitGroup
	for i, name := range names {
		got[i] = map[string]int{}
		wg.Go(func() {
			for round := 0; ctx.Err() == nil; round++ {
				session, leave := context.WithCancel(ctx)
				n := 0
				listener := &client.Session{
					URLs: []string{s.SessionsURL()}, App: apptest.AppID, Account: name, UserSig: apptest.Sig(t, name), Gather: time.Millisecond,
					OnPush: func(p client.Push) {
						mu.Lock()
						defer mu.Unlock()
						text := apptest.TextOf(t, p.Body)
						if got[i][text]++; got[i][text] == 1 {
							if missing--; missing == 0 {
								close(all)
							}
						}
						if n++; n >= 1+(i+round)%4 && missing > 0 {
							leave() // after a few pushes, in the middle of what is going on
						}
					},
				}
				err := listener.Listen(session)
				leave()
				if !errors.Is(err, context.Canceled) && ctx.Err() == nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
	for i := range pushes {
		s.Push(apptest.Text(fmt.Sprint("m", i), 3600, nil))
	}
	select {
	case <-all:
	case <-ctx.Done():
		t.Errorf("%d of %d (push, user) pairs did not arrive", missing, users*pushes)
	}
	cancel()
	wg.Wait()
}

func TestLoginsThatAreRefused(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	sign := func(key string, app push.AppID, account string, issued time.Time) string {
		sig, err := usersig.Sign(key, app, account, issued, time.Hour, nil)
		if err != nil {
			t.Fatal(err)
		}
		return sig
	}
	now, app := time.Now(), apptest.AppID.String()
	for name, c := range map[string]struct {
		q            url.Values
		status, code int
	}{
		"no app":       {url.Values{"identifier": {"u"}, "usersig": {"x"}}, 403, 60012},
		"foreign app":  {url.Values{"sdkappid": {"7"}, "identifier": {"u"}, "usersig": {"x"}}, 403, 60006},
		"no account":   {url.Values{"sdkappid": {app}, "usersig": {"x"}}, 401, 60004},
		"no signature": {url.Values{"sdkappid": {app}, "identifier": {"u"}}, 401, 60005},
		"garbage":      {url.Values{"sdkappid": {app}, "identifier": {"u"}, "usersig": {"garbage"}}, 401, 70003},
		"forged":       {url.Values{"sdkappid": {app}, "identifier": {"u"}, "usersig": {sign("another key", apptest.AppID, "u", now)}}, 401, 70009},
		"expired":      {url.Values{"sdkappid": {app}, "identifier": {"u"}, "usersig": {sign(apptest.Key, apptest.AppID, "u", now.Add(-2*time.Hour))}}, 401, 70001},
		"of another":   {url.Values{"sdkappid": {app}, "identifier": {"u"}, "usersig": {apptest.Sig(t, "v")}}, 401, 70013},
		"of elsewhere": {url.Values{"sdkappid": {app}, "identifier": {"u"}, "usersig": {sign(apptest.Key, 7, "u", now)}}, 401, 70014},
		"too long":     {url.Values{"sdkappid": {app}, "identifier": {strings.Repeat("x", 33)}, "usersig": {"x"}}, 403, 70402},
		"platform":     {url.Values{"sdkappid": {app}, "identifier": {"u"}, "usersig": {apptest.Sig(t, "u")}, "platform": {"Fax"}}, 403, 70402},
	} {
		_, err := s.TryDial(c.q)
		var r *apptest.Refusal
		if !errors.As(err, &r) || r.Status != c.status || r.ErrorCode != c.code || r.ErrorInfo == "" {
			t.Errorf("%s: %v, want HTTP %d with code %d", name, err, c.status, c.code)
		}
	}
	last, err := s.Broker().LastSeq(t.Context(), wire.AccountsStream(apptest.AppID))
	if err != nil || last != 0 {
		t.Errorf("refused logins made %d accounts, %v", last, err)
	}
}

func TestSessionsEndWithTheContractsCodes(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, func(c *config.Config) { c.Sessions.PerAccount = 2 })
	kicked := []*apptest.Session{s.Dial("kicked"), s.Dial("kicked")}
	s.Call("im_open_login_svc/kick", map[string]any{"UserID": "kicked"}, nil)
	for _, k := range kicked {
		if c := k.CloseCode(); c != wire.CloseKicked {
			t.Errorf("kicked: %d", c)
		}
	}
	deleted := s.Dial("deleted")
	s.Call("im_open_login_svc/account_delete", map[string]any{"DeleteItem": []any{map[string]any{"UserID": "deleted"}}}, nil)
	if c := deleted.CloseCode(); c != wire.CloseDeleted {
		t.Errorf("deleted: %d", c)
	}
	oldest := s.Dial("many")
	second, third := s.Dial("many"), s.Dial("many")
	if c := oldest.CloseCode(); c != wire.CloseTooMany {
		t.Errorf("too many: %d", c)
	}
	for _, garbage := range []string{"", "null", "[]", `{"t":1}`, `{"t":"ack"}`, `{"t":"ack","seq":[-1]}`, `{"t":"ack","seq":"1"}`} {
		bad := s.Dial("bad")
		bad.Send(garbage)
		if c := bad.CloseCode(); c != wire.CloseBadFrame {
			t.Errorf("frame %q: %d", garbage, c)
		}
	}
	lenient := s.Dial("bad")
	lenient.Send(`{"t":"from the future","seq":"whatever"}`)
	lenient.Send(`{"t":"ack","seq":[999999999],"more":true}`)
	lenient.Send(`{"t":"logout"}`)
	if c := lenient.CloseCode(); c != wire.CloseNormal {
		t.Errorf("logout: %d", c)
	}
	// Several sessions of one account all get live pushes; one acknowledgement settles the push for the account.
	s.Push(apptest.Text("both", 60, nil))
	_, seq := second.Push()
	if text, _ := third.Push(); text != "both" {
		t.Errorf("the third session got %q", text)
	}
	second.Ack(seq)
	second.Sync()
	if p := s.Dial("many").Hello.Pending; p != 0 {
		t.Errorf("%d pending after one session's acknowledgement", p)
	}
	s.Stop()
	if c := third.CloseCode(); c != wire.CloseDraining {
		t.Errorf("draining: %d", c)
	}
}

// A role a process, all against one NATS server: the same roles and the same messages.
func TestEachRoleAlone(t *testing.T) {
	t.Parallel()
	base := apptest.Config(t)
	narrow(base)
	nats := apptest.StartNATS(t)
	var rest, sessions *apptest.System
	for _, r := range []app.Role{app.Matcher, app.Offline, app.Deliver, app.Ingest} {
		cfg := *base
		cfg.NATS.URL = nats
		s := apptest.StartRoles(t, &cfg, r)
		switch r {
		case app.Ingest:
			rest = s
		case app.Deliver:
			sessions = s
		}
	}
	rest.Import("on", "off")
	online := sessions.Dial("on")
	rest.Push(apptest.Text("over the wire", 60, nil))
	if text, _ := online.Push(); text != "over the wire" {
		t.Errorf("got %q", text)
	}
	if text, _ := sessions.Dial("off").Push(); text != "over the wire" {
		t.Errorf("offline got %q", text)
	}
	var online1 struct {
		QueryResult []struct{ To_Account, Status string } //nolint:revive // the contract's spelling
	}
	rest.Call("openim/query_online_status", map[string]any{"To_Account": []string{"on"}}, &online1)
	if len(online1.QueryResult) != 1 || online1.QueryResult[0].Status != "Online" {
		t.Errorf("status: %+v", online1)
	}
}

// A client that stops reading is closed with 4003 and slows nobody; what it did not acknowledge waits for its next login.
func TestAClientThatStopsReading(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, func(c *config.Config) { c.Sessions.Queue = 64 << 10 })
	stalled, brisk := s.Dial("stalled"), s.Dial("brisk")
	const pushes = 200
	long := strings.Repeat("x", 11<<10)
	for i := range pushes {
		s.Push(apptest.Text(fmt.Sprint(i, long), 3600, nil))
		if text, _ := brisk.Push(); text != fmt.Sprint(i, long) {
			t.Fatalf("push %d came out of order", i)
		}
	}
	// A client that does not read for seconds after it was closed is cut, and then misses the code.
	if c, err := stalled.TryCloseCode(); err == nil && c != wire.CloseTooSlow {
		t.Errorf("closed with %d", c)
	}
	again := s.Dial("stalled")
	if again.Hello.Pending != pushes {
		t.Errorf("%d pending, want %d", again.Hello.Pending, pushes)
	}
	for i := range pushes {
		if text, _ := again.Push(); text != fmt.Sprint(i, long) {
			t.Fatalf("push %d came out of order", i)
		}
	}
}
