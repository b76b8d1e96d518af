package app_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/carillon-push/carillon/cmd/internal/app"
	"github.com/carillon-push/carillon/cmd/internal/app/apptest"
	"github.com/carillon-push/carillon/pkg/client"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/usersig"
)

// phone is a Session of the Go SDK against the whole service.
type phone struct {
	*client.Session
	t      *testing.T
	texts  chan string
	states chan client.State
	ended  chan error
	cancel context.CancelFunc
}

// listen logs an account in, as the test changes it, until the test ends.
func listen(t *testing.T, s *apptest.System, account string, change func(*client.Session)) *phone {
	p := &phone{t: t, texts: make(chan string, 256), ended: make(chan error, 1)}
	p.Session = &client.Session{
		URLs: []string{s.SessionsURL()}, App: apptest.AppID, Account: account, UserSig: apptest.Sig(t, account), Gather: time.Millisecond,
		OnPush:  func(m client.Push) { p.texts <- m.Text() },
		OnState: func(s client.State) { p.states <- s },
	}
	if change != nil {
		change(p.Session)
	}
	p.start()
	t.Cleanup(func() { p.cancel() })
	return p
}

func (p *phone) start() {
	var ctx context.Context
	ctx, p.cancel = context.WithTimeout(context.Background(), apptest.Wait)
	p.states = make(chan client.State, 256)
	go func() { p.ended <- p.Listen(ctx) }()
}

// stop ends Listen, which has then told everything.
func (p *phone) stop() {
	p.t.Helper()
	p.cancel()
	if err := <-p.ended; !errors.Is(err, context.Canceled) {
		p.t.Errorf("Listen: %v", err)
	}
}

// open waits until there is a session.
func (p *phone) open() client.Open {
	for s := range p.states {
		switch s := s.(type) {
		case client.Open:
			return s
		case client.Ended:
			p.t.Fatalf("no session: %v", s)
		}
	}
	return client.Open{}
}

func (p *phone) want(texts ...string) {
	p.t.Helper()
	for _, want := range texts {
		select {
		case got := <-p.texts:
			if got != want {
				p.t.Errorf("shown %q, want %q", got, want)
			}
		case <-time.After(apptest.Wait):
			p.t.Fatalf("%q was not shown", want)
		}
	}
}

// The SDK shows what is live and what was kept, each once, over a restart of the service, and its acknowledgements settle it.
func TestGoSDKOverARestart(t *testing.T) {
	t.Parallel()
	cfg := apptest.Config(t)
	s := apptest.StartRoles(t, cfg, app.Roles()...)
	s.Import("u")
	s.Push(apptest.Text("kept", 3600, nil))
	p := listen(t, s, "u", nil)
	if open := p.open(); open.Heartbeat != time.Minute || open.ID == "" {
		t.Errorf("opened %+v", open)
	}
	s.Push(apptest.Text("live", 3600, nil))
	p.want("kept", "live")
	p.stop()
	s.Push(apptest.Text("missed", 3600, nil))
	s.Stop()

	s = apptest.StartRoles(t, cfg, app.Roles()...)
	p.URLs = []string{s.SessionsURL()}
	p.start()
	if open := p.open(); open.Pending != 1 {
		t.Errorf("%d pending, want the one that was missed", open.Pending)
	}
	p.want("missed")
	p.stop()
	if again := s.Dial("u"); again.Hello.Pending != 0 {
		t.Errorf("%d pending after everything was acknowledged", again.Hello.Pending)
	}
}

// When the service drains, the session goes elsewhere by itself, after a pause.
func TestGoSDKGoesElsewhere(t *testing.T) {
	t.Parallel()
	services := map[string]*apptest.System{}
	var urls []string
	for range 2 { // of the same app
		s := apptest.Start(t)
		services[s.SessionsURL()] = s
		urls = append(urls, s.SessionsURL())
	}
	p := listen(t, services[urls[0]], "u", func(c *client.Session) { c.URLs = urls })
	first := (<-p.states).(client.Connecting).URL
	p.open()
	services[first].Stop()
	w, ok := (<-p.states).(client.Waiting)
	var closed *client.Closed
	if !ok || !errors.As(w.Err, &closed) || closed.Code != 1001 || w.Pause < 500*time.Millisecond || w.Pause > 5*time.Second {
		t.Errorf("after the service drained: %v", w)
	}
	second := (<-p.states).(client.Connecting).URL
	p.open()
	if second == first {
		t.Error("the session came back to where it was sent away")
	}
	services[second].Push(apptest.Text("hello", 0, nil))
	p.want("hello")
	p.stop()
}

// Every refusal is final and says why; a signature that has expired is replaced.
func TestGoSDKRefusals(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	sign := func(account string, issued time.Time) string {
		sig, err := usersig.Sign(apptest.Key, apptest.AppID, account, issued, time.Hour, nil)
		if err != nil {
			t.Error(err)
		}
		return sig
	}
	old := time.Now().Add(-2 * time.Hour)
	for code, change := range map[int]func(*client.Session){
		70001: func(c *client.Session) { c.UserSig = sign("u", old) },
		70003: func(c *client.Session) { c.UserSig = "garbage" },
		70013: func(c *client.Session) { c.Account = "v" },
		60006: func(c *client.Session) { c.App = 7 },
		70402: func(c *client.Session) { c.Platform = "Fax" },
	} {
		var refused *client.Refused
		if err := <-listen(t, s, "u", change).ended; !errors.As(err, &refused) || refused.Code != code || refused.Status == 0 || refused.Info == "" {
			t.Errorf("%d: %v", code, err)
		}
	}
	asked := 0
	heals := listen(t, s, "u", func(c *client.Session) {
		c.Sig = func(context.Context) (string, error) {
			if asked++; asked == 1 {
				return sign("u", old), nil
			}
			return sign("u", time.Now()), nil
		}
	})
	heals.open()
	s.Call("im_open_login_svc/kick", map[string]any{"UserID": "u"}, nil)
	var refused *client.Refused
	if err := <-heals.ended; !errors.As(err, &refused) || refused.Code != 4001 {
		t.Errorf("kicked: %v", err)
	}
}

// A logout ends the session at the service, and Listen without an error.
func TestGoSDKLogsOut(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	p := listen(t, s, "u", func(c *client.Session) { c.Device = "phone-1" })
	p.open()
	if err := p.RegisterDevice("apns", "a1b2c3"); err != nil {
		t.Fatal(err)
	}
	p.Opened(1)
	p.Logout()
	if err := <-p.ended; err != nil {
		t.Errorf("Listen: %v", err)
	}
	var online struct {
		QueryResult []struct{ To_Account, Status string } //nolint:revive // the contract's spelling
	}
	s.Call("openim/query_online_status", map[string]any{"To_Account": []string{"u"}}, &online)
	if len(online.QueryResult) != 1 || online.QueryResult[0].Status != "Offline" {
		t.Errorf("status: %+v", online)
	}
}

// A Message of the SDK is what the service takes, with each of its fields.
func TestGoSDKMessages(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, narrow)
	s.Import("a", "b")
	s.Tag("a", "news")
	a, b := listen(t, s, "a", nil), listen(t, s, "b", nil)
	a.open()
	b.open()
	m := client.NewMessage(client.Text("tagged"), client.Element{MsgType: "TIMFaceElem", MsgContent: map[string]any{"Index": 1, "Data": "x"}})
	m.From, m.LifeTime, m.Condition = "a", 60, &client.Condition{TagsAnd: []string{"news"}}
	var ids []push.TaskID
	for range 2 { // a repeat within a second is the same push
		id, err := s.REST.Push(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if ids[0] == "" || ids[0] != ids[1] {
		t.Errorf("the tasks are %q", ids)
	}
	if _, err := s.REST.Push(t.Context(), client.NewMessage(client.Text("all"))); err != nil {
		t.Fatal(err)
	}
	b.want("all")
	if got := <-a.texts; got != "tagged" {
		t.Errorf("a got %q first", got)
	}
	a.stop()
	b.stop()
}
