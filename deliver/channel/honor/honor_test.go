package honor

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/carillon-push/carillon/deliver/channel"
	"github.com/carillon-push/carillon/deliver/channel/internal/vendorhttp"
	"github.com/carillon-push/carillon/deliver/channel/internal/vendorhttp/vendortest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	appID    = "104000001"
	clientID = "clientid0123456789"
	secret   = "clientsecret0123456789abcdef"
)

// fake is Honor's push service with its OAuth service: it holds every message to the reference.
type fake struct {
	t      testing.TB
	server *vendortest.Server

	mu      sync.Mutex
	granted int64
	answer  any // in place of that of a message that is as it should be
	last    map[string]any
}

func newFake(t testing.TB) *fake {
	f := &fake{t: t}
	mux := http.NewServeMux()
	mux.HandleFunc(tokenPath, f.token)
	mux.HandleFunc("/api/v1/"+appID+"/sendMessage", f.send)
	f.server = vendortest.NewServer(t, tokenPath, mux)
	return f
}

func (f *fake) token(w http.ResponseWriter, r *http.Request) {
	form := vendortest.ReadForm(f.t, r)
	if form.Get("grant_type") != "client_credentials" || form.Get("client_id") != clientID || form.Get("client_secret") != secret {
		vendortest.JSON(w, 401, map[string]any{"error": "unauthorized_client", "error_description": "Invalid client " + secret})
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.granted++
	vendortest.JSON(w, 200, map[string]any{"access_token": vendortest.Token(f.granted), "expires_in": 3600, "token_type": "Bearer"})
}

func refusal(code any, msg string) map[string]any {
	return map[string]any{"code": code, "message": msg, "data": nil}
}

func (f *fake) send(w http.ResponseWriter, r *http.Request) {
	m := vendortest.ReadJSON(f.t, r)
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer "+vendortest.Token(f.granted) {
		vendortest.JSON(w, 200, refusal(80200003, "token expired "+r.Header.Get("Authorization")))
		return
	}
	if ms, err := strconv.ParseInt(r.Header.Get("timestamp"), 10, 64); err != nil || time.Since(time.UnixMilli(ms)).Abs() > time.Minute {
		vendortest.JSON(w, 200, refusal(80100001, "timestamp"))
		return
	}
	if n := len(vendortest.Strings(m["token"])); n < 1 || n > 1000 {
		vendortest.JSON(w, 200, refusal(80300010, "tokens"))
		return
	}
	delete(m, "token")
	if b, _ := vendorhttp.JSON(m); len(b) > 4096 {
		vendortest.JSON(w, 200, refusal(80300008, "too long"))
		return
	}
	for _, field := range []string{"title", "body", "clickAction"} {
		if v := vendortest.At(m, "android.notification."+field); v == nil || v == "" {
			vendortest.JSON(w, 200, refusal(80100003, field))
			return
		}
	}
	f.last = m
	if f.answer != nil {
		vendortest.JSON(w, 200, f.answer)
		return
	}
	vendortest.JSON(w, 200, map[string]any{"code": 200, "message": "success",
		"data": map[string]any{"sendResult": true, "requestId": "request-1"}})
}

// says makes the fake answer a message so.
func (f *fake) says(answer any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

// forget makes the access token that was given out one that is no longer known.
func (f *fake) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.granted++
}

func (f *fake) config() Config {
	c := Default()
	c.AppID, c.ClientID, c.ClientSecret, c.URL, c.AuthURL = appID, clientID, secret, f.server.URL, f.server.URL+tokenPath
	return c
}

func fresh(t testing.TB) (*vendortest.Subject, *fake) {
	f := newFake(t)
	h, err := New(f.config())
	if err != nil {
		t.Fatal(err)
	}
	return &vendortest.Subject{Channel: h, Server: f.server, Reasons: codes.Reasons()}, f
}

func TestConforms(t *testing.T) {
	t.Parallel()
	vendortest.Conform(t, func(t testing.TB) *vendortest.Subject { s, _ := fresh(t); return s })
}

func TestEveryFieldIsMapped(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := f.config()
	c.Intent, c.BadgeClass = "intent:#Intent;component=com.example.app/.News;end", "com.example.app.Main"
	h, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	n := vendortest.Notice()
	for i, r := range h.Send(t.Context(), n, vendortest.Tokens(3)) {
		if r != (channel.Result{Outcome: channel.Sent, ID: "request-1"}) {
			t.Errorf("token %d: %+v", i, r)
		}
	}
	for path, want := range map[string]any{
		"title": n.Title, "body": n.Text, "tag": string(n.Task), "notifyId": 4242.0, "importance": "NORMAL",
		"badge.addNum": 1.0, "badge.badgeClass": "com.example.app.Main", "clickAction.type": 1.0, "clickAction.intent": c.Intent,
	} {
		if got := vendortest.At(f.last, "android.notification."+path); got != want {
			t.Errorf("%s is %v, want %v", path, got, want)
		}
	}
	if got := vendortest.At(f.last, "android.data"); got != `{"ext":"{\"page\":\"news\",\"id\":7}"}` {
		t.Errorf("the data are %v", got)
	}
	if got := vendortest.At(f.last, "android.biTag"); got != string(n.Task) {
		t.Errorf("the tag is %v", got)
	}
	if ttl, err := time.ParseDuration(fmt.Sprint(vendortest.At(f.last, "android.ttl"))); err != nil || ttl > 3*time.Hour || ttl < 2*time.Hour {
		t.Errorf("the time to live is %s, %v", ttl, err)
	}
	for in, want := range map[string]any{"": nil, "LOW": "LOW", "HIGH": "NORMAL"} {
		n.Android = channel.Android{HuaWeiImportance: in}
		h.Send(t.Context(), n, vendortest.Tokens(1))
		if got := vendortest.At(f.last, "android.notification.importance"); got != want {
			t.Errorf("the importance %q becomes %v", in, got)
		}
	}
}

func TestEveryCodeIsMapped(t *testing.T) {
	t.Parallel()
	s, f := fresh(t)
	tokens := vendortest.Tokens(4)
	for code, want := range codes {
		if number, err := strconv.Atoi(string(code)); err == nil {
			f.says(refusal(number, "as documented"))
			results := s.Channel.Send(t.Context(), vendortest.Notice(), tokens)
			s.Check(t, tokens, results)
			for _, r := range results {
				if r.Outcome != want {
					t.Errorf("%s is %s, want %s", code, r.Outcome, want)
				}
			}
		}
	}
	f.says(refusal(80999999, "not documented"))
	if r := s.Channel.Send(t.Context(), vendortest.Notice(), tokens)[0]; r.Outcome != channel.Refused || r.Reason != channel.ReasonOther {
		t.Errorf("a code that is not documented is %+v", r)
	}
}

func TestPartialFailure(t *testing.T) {
	t.Parallel()
	s, f := fresh(t)
	tokens := vendortest.Tokens(4)
	lists := func(code int, ok bool) any {
		return map[string]any{"code": code, "message": "partial", "data": map[string]any{"sendResult": ok, "requestId": "request-2",
			"failTokens": []string{tokens[2]}, "expireTokens": []string{tokens[0]}}}
	}
	for name, c := range map[string]struct {
		answer any
		rest   channel.Result
	}{
		"with its code":  {lists(80100000, false), channel.Result{Outcome: channel.Sent, ID: "request-2"}},
		"as a success":   {lists(200, true), channel.Result{Outcome: channel.Sent, ID: "request-2"}},
		"as no success":  {lists(200, false), channel.Result{Outcome: channel.Refused, Reason: failed}},
		"among all gone": {lists(80300007, false), channel.Result{Outcome: channel.Gone, Reason: allGone}},
	} {
		f.says(c.answer)
		results := s.Channel.Send(t.Context(), vendortest.Notice(), tokens)
		s.Check(t, tokens, results)
		want := []channel.Result{{Outcome: channel.Gone, Reason: expired}, c.rest, {Outcome: channel.Refused, Reason: failed}, c.rest}
		for i, r := range results {
			if r != want[i] {
				t.Errorf("%s: token %d is %+v, want %+v", name, i, r, want[i])
			}
		}
	}
}

func TestAccessTokenIsRenewedOnce(t *testing.T) {
	t.Parallel()
	for _, code := range []string{badAccess, oldAccess} {
		s, f := fresh(t)
		s.Renews(t, f.forget, func() { f.says(refusal(code, "token")) }, code)
	}
}

func TestWrongCredentialsAreDenied(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := f.config()
	c.ClientSecret = "someoneelses"
	h, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	(&vendortest.Subject{Channel: h, Server: f.server, Reasons: codes.Reasons()}).Denies(t, vendorhttp.ReasonCredentials)
}

func TestWhatCannotBeCutIsTooLong(t *testing.T) {
	t.Parallel()
	s, _ := fresh(t)
	n := vendortest.Notice()
	n.Ext = strings.Repeat("e", 4096)
	if r := s.Channel.Send(t.Context(), n, vendortest.Tokens(1))[0]; r.Outcome != channel.Refused || r.Reason != channel.ReasonTooLong {
		t.Errorf("%+v", r)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	good := Default()
	good.AppID, good.ClientID, good.ClientSecret = appID, clientID, secret
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	vendortest.KeepsSecret(t, good, secret)
	for name, change := range map[string]func(*Config){
		"no app":    func(c *Config) { c.AppID = "" },
		"app":       func(c *Config) { c.AppID = "1/../2" },
		"no id":     func(c *Config) { c.ClientID = "" },
		"no secret": func(c *Config) { c.ClientSecret = "" },
		"secret":    func(c *Config) { c.ClientSecret = secret + " " },
		"badge":     func(c *Config) { c.BadgeClass = "com.example.app/Main" },
		"address":   func(c *Config) { c.URL = "https://push.example.com/" },
		"auth":      func(c *Config) { c.AuthURL = "" },
		"timeout":   func(c *Config) { c.Timeout = time.Hour },
	} {
		c := good
		change(&c)
		_, err := New(c)
		if err == nil {
			t.Errorf("%s is not noticed", name)
		} else if strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error tells the secret", name)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	tokens := vendortest.Tokens(3)
	f.Add(200, `{"code":200,"message":"success","data":{"sendResult":true,"requestId":"r"}}`)
	f.Add(200, `{"code":80100000,"data":{"failTokens":["`+tokens[0]+`"],"expireTokens":["`+tokens[1]+`"]}}`)
	f.Add(200, `{"code":"80300007","data":null}`)
	f.Add(503, ``)
	s := &vendortest.Subject{Reasons: codes.Reasons()}
	f.Fuzz(func(t *testing.T, status int, body string) {
		results, _ := parse(vendorhttp.Answer{Status: status, Body: []byte(body)}, vendorhttp.NewBatch(tokens))
		s.Check(t, tokens, results)
		if !json.Valid([]byte(body)) && results[0].Outcome == channel.Sent {
			t.Errorf("%q is taken for a success", body)
		}
	})
}

func BenchmarkSend(b *testing.B) {
	s, _ := fresh(b)
	vendortest.Bench(b, s)
}
