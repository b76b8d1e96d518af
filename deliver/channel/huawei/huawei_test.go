package huawei

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
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
	clientID = "100000001"
	secret   = "appsecret0123456789abcdef"
)

// fake is Push Kit with its OAuth service: it holds every message to the reference.
type fake struct {
	t      testing.TB
	server *vendortest.Server

	mu      sync.Mutex
	granted int64
	// answer replaces that of a message that is as it should be.
	status int
	answer any
	last   map[string]any
}

func newFake(t testing.TB) *fake {
	f := &fake{t: t}
	mux := http.NewServeMux()
	mux.HandleFunc("/oauth2/v3/token", f.token)
	mux.HandleFunc("/v1/"+clientID+"/messages:send", f.send)
	f.server = vendortest.NewServer(t, "/oauth2/v3/token", mux)
	return f
}

func (f *fake) token(w http.ResponseWriter, r *http.Request) {
	form := vendortest.ReadForm(f.t, r)
	if form.Get("grant_type") != "client_credentials" || form.Get("client_id") != clientID || form.Get("client_secret") != secret {
		vendortest.JSON(w, 400, map[string]any{"error": 1101, "sub_error": 20028, "error_description": "invalid client " + secret})
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.granted++
	vendortest.JSON(w, 200, map[string]any{"access_token": vendortest.Token(f.granted), "expires_in": 3600, "token_type": "Bearer"})
}

func (f *fake) send(w http.ResponseWriter, r *http.Request) {
	body := vendortest.ReadJSON(f.t, r)
	f.mu.Lock()
	defer f.mu.Unlock()
	refuse := func(status int, code, msg string) {
		vendortest.JSON(w, status, map[string]any{"code": code, "msg": msg, "requestId": "request-1"})
	}
	if r.Header.Get("Authorization") != "Bearer "+vendortest.Token(f.granted) {
		refuse(401, oldAccess, "OAuth token expired "+r.Header.Get("Authorization"))
		return
	}
	tokens := vendortest.Strings(vendortest.At(body, "message.token"))
	if len(tokens) < 1 || len(tokens) > 1000 {
		refuse(400, "80300010", "token count should within 1 and 1000")
		return
	}
	m, _ := vendortest.At(body, "message").(map[string]any)
	delete(m, "token")
	if b, _ := vendorhttp.JSON(m); len(b) > 4096 {
		refuse(400, "80300008", "Push message size is too long")
		return
	}
	for _, field := range []string{"notification.title", "notification.body", "android.notification.click_action"} {
		if v := vendortest.At(m, field); v == nil || v == "" {
			refuse(400, "80100003", "Illegal payload, "+field+" cannot be null in body")
			return
		}
	}
	f.last = m
	if f.answer != nil {
		vendortest.JSON(w, f.status, f.answer)
		return
	}
	refuse(200, success, "Success")
}

// says makes the fake answer a message so.
func (f *fake) says(status int, code, msg string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status, f.answer = status, map[string]any{"code": code, "msg": msg, "requestId": "request-2"}
}

// forget makes the access token that was given out one that is no longer known.
func (f *fake) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.granted++
}

func (f *fake) config() Config {
	c := Default()
	c.ClientID, c.ClientSecret, c.URL, c.AuthURL = clientID, secret, f.server.URL, f.server.URL
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
	c.Activity, c.BadgeClass = "com.example.app/com.example.app.News", "com.example.app.Main"
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
		"notification.title": n.Title, "notification.body": n.Text,
		"android.data": `{"ext":"{\"page\":\"news\",\"id\":7}"}`, "android.category": "IM", "android.bi_tag": string(n.Task),
		"android.notification.tag": string(n.Task), "android.notification.notify_id": 4242.0,
		"android.notification.channel_id": "hw-news", "android.notification.importance": "NORMAL",
		"android.notification.sound": "/raw/shake", "android.notification.default_sound": false,
		"android.notification.badge.add_num": 1.0, "android.notification.badge.class": "com.example.app.Main",
		"android.notification.click_action.type": 1.0,
	} {
		if got := vendortest.At(f.last, path); got != want {
			t.Errorf("%s is %v, want %v", path, got, want)
		}
	}
	if ttl, err := time.ParseDuration(fmt.Sprint(vendortest.At(f.last, "android.ttl"))); err != nil || ttl > 3*time.Hour || ttl < 2*time.Hour {
		t.Errorf("the time to live is %s, %v", ttl, err)
	}
	intent := fmt.Sprint(vendortest.At(f.last, "android.notification.click_action.intent"))
	_, extra, _ := strings.Cut(intent, "S.ext=")
	extra, _, _ = strings.Cut(extra, ";")
	if got, err := url.PathUnescape(extra); err != nil || got != n.Ext || !strings.HasPrefix(intent, "intent:#Intent;") ||
		!strings.HasSuffix(intent, ";end") || !strings.Contains(intent, ";component="+c.Activity+";") {
		t.Errorf("the intent is %q", intent)
	}

	n.Android, n.Ext = channel.Android{}, ""
	h.Send(t.Context(), n, vendortest.Tokens(1))
	for _, path := range []string{"android.data", "android.category", "android.notification.channel_id",
		"android.notification.importance", "android.notification.sound"} {
		if got := vendortest.At(f.last, path); got != nil {
			t.Errorf("what a notice does not have is sent: %s is %v", path, got)
		}
	}
	if vendortest.At(f.last, "android.notification.default_sound") != true {
		t.Error("a notice without a sound does not have the default one")
	}
}

func TestEveryCodeIsMapped(t *testing.T) {
	t.Parallel()
	s, f := fresh(t)
	tokens := vendortest.Tokens(4)
	for code, want := range codes {
		if code == partial || strings.Trim(string(code), "0123456789") != "" {
			continue
		}
		f.says(200, string(code), "as documented")
		results := s.Channel.Send(t.Context(), vendortest.Notice(), tokens)
		s.Check(t, tokens, results)
		for _, r := range results {
			if r.Outcome != want {
				t.Errorf("%s is %s, want %s", code, r.Outcome, want)
			}
		}
	}
	f.says(200, "80999999", "not documented")
	results := s.Channel.Send(t.Context(), vendortest.Notice(), tokens)
	s.Check(t, tokens, results)
	if results[0].Outcome != channel.Refused || results[0].Reason != channel.ReasonOther {
		t.Errorf("a code that is not documented is %s for %s", results[0].Outcome, results[0].Reason)
	}
}

func TestPartialFailure(t *testing.T) {
	t.Parallel()
	s, f := fresh(t)
	tokens := vendortest.Tokens(5)
	tokens[4] = tokens[1] // the same device twice
	for name, c := range map[string]struct {
		code, msg string
		want      [5]channel.Outcome
		reason    string // of token 1
	}{
		"a list": {partial, fmt.Sprintf(`{"success":3,"failure":1,"illegal_tokens":[%q]}`, tokens[1]),
			[5]channel.Outcome{channel.Sent, channel.Gone, channel.Sent, channel.Sent, channel.Gone}, partial},
		"by reason": {partial, fmt.Sprintf(`{"success":2,"failure":2,"illegalTokens":{"tokenFormatError":[%q],"noRight":[%q],"new":[%q]}}`,
			tokens[1], tokens[2], tokens[3]),
			[5]channel.Outcome{channel.Sent, channel.Gone, channel.Refused, channel.Refused, channel.Gone}, "tokenFormatError"},
		"all, some by reason": {allGone, fmt.Sprintf(`{"failure":5,"illegalTokens":{"noRight":[%q]}}`, tokens[1]),
			[5]channel.Outcome{channel.Gone, channel.Refused, channel.Gone, channel.Gone, channel.Refused}, "noRight"},
	} {
		f.says(200, c.code, c.msg)
		results := s.Channel.Send(t.Context(), vendortest.Notice(), tokens)
		s.Check(t, tokens, results)
		for i, r := range results {
			if r.Outcome != c.want[i] {
				t.Errorf("%s: token %d is %s, want %s", name, i, r.Outcome, c.want[i])
			}
		}
		if results[1].Reason != c.reason {
			t.Errorf("%s: the reason is %q, want %q", name, results[1].Reason, c.reason)
		}
		if results[0].Outcome == channel.Sent && results[0].ID != "request-2" {
			t.Errorf("%s: the notification is called %q", name, results[0].ID)
		}
	}
}

func TestAccessTokenIsRenewedOnce(t *testing.T) {
	t.Parallel()
	for _, code := range []string{badAccess, oldAccess} {
		s, f := fresh(t)
		s.Renews(t, f.forget, func() { f.says(200, code, "OAuth authentication error") }, code)
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
	good.ClientID, good.ClientSecret = clientID, secret
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	vendortest.KeepsSecret(t, good, secret)
	for name, change := range map[string]func(*Config){
		"no id":     func(c *Config) { c.ClientID = "" },
		"id":        func(c *Config) { c.ClientID = "10a" },
		"no secret": func(c *Config) { c.ClientSecret = "" },
		"secret":    func(c *Config) { c.ClientSecret = secret + "\n" },
		"activity":  func(c *Config) { c.Activity = "com.example.app.News" },
		"injection": func(c *Config) { c.Activity = "com.example.app/a;S.x=y" },
		"badge":     func(c *Config) { c.BadgeClass = "com.example.app/Main" },
		"address":   func(c *Config) { c.URL = "push-api.cloud.huawei.com" },
		"auth":      func(c *Config) { c.AuthURL = "https://u:p@example.com" },
		"timeout":   func(c *Config) { c.Timeout = 0 },
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
	f.Add(200, `{"code":"80000000","msg":"Success","requestId":"r"}`)
	f.Add(200, fmt.Sprintf(`{"code":"80100000","msg":%q}`, `{"success":2,"failure":1,"illegal_tokens":["`+tokens[0]+`"]}`))
	f.Add(200, fmt.Sprintf(`{"code":80300007,"msg":%q}`, `{"illegalTokens":{"noRight":["`+tokens[1]+`"]}}`))
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
