package xiaomi

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"

	"github.com/carillon-push/carillon/deliver/channel"
	"github.com/carillon-push/carillon/deliver/channel/internal/vendorhttp"
	"github.com/carillon-push/carillon/deliver/channel/internal/vendorhttp/vendortest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	pkg    = "com.example.app"
	secret = "appsecret0123456789+/=="
)

// fake is Mi Push: it holds every message to the reference.
type fake struct {
	t      testing.TB
	server *vendortest.Server

	mu     sync.Mutex
	answer any // in place of that of a message that is as it should be
	last   url.Values
	path   string
}

func newFake(t testing.TB) *fake {
	f := &fake{t: t}
	mux := http.NewServeMux()
	mux.HandleFunc(sendPath, f.send)
	mux.HandleFunc(revokePath, f.revoke)
	f.server = vendortest.NewServer(t, "", mux)
	return f
}

func refusal(code int, reason string) map[string]any {
	return map[string]any{"result": "error", "reason": reason, "trace_id": "t", "code": code, "description": "as documented"}
}

func (f *fake) send(w http.ResponseWriter, r *http.Request) {
	form := vendortest.ReadForm(f.t, r)
	title, description := form.Get("title"), form.Get("description")
	ttl, _ := strconv.ParseInt(form.Get("time_to_live"), 10, 64)
	switch {
	case strings.TrimSpace(title) == "" || utf8.RuneCountInString(title) >= 50,
		strings.TrimSpace(description) == "" || utf8.RuneCountInString(description) >= 128,
		utf8.RuneCountInString(form.Get("payload")) > 4096, form.Get("pass_through") != "0", ttl < 1000 || ttl > 14*24*3600*1000:
		vendortest.JSON(w, 200, refusal(10017, "a value is not legal"))
	default:
		f.respond(w, r, form, form.Get("registration_id"))
	}
}

func (f *fake) revoke(w http.ResponseWriter, r *http.Request) {
	form := vendortest.ReadForm(f.t, r)
	f.respond(w, r, form, form.Get("registration_ids"))
}

func (f *fake) respond(w http.ResponseWriter, r *http.Request, form url.Values, ids string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(strings.Split(ids, ","))
	_, err := strconv.ParseInt(form.Get("notify_id"), 10, 32)
	switch {
	case r.Header.Get("Authorization") != "key="+secret:
		vendortest.JSON(w, 401, refusal(21301, "Invalid application credential "+secret))
	case ids == "" || n > 1000 || err != nil:
		vendortest.JSON(w, 200, refusal(10016, "registration_id"))
	case form.Get("restricted_package_name") != pkg:
		vendortest.JSON(w, 200, refusal(22022, "package"))
	default:
		f.last, f.path = form, r.URL.Path
		if f.answer != nil {
			vendortest.JSON(w, 200, f.answer)
			return
		}
		vendortest.JSON(w, 200, map[string]any{"result": "ok", "trace_id": "t", "code": 0, "description": "成功",
			"data": map[string]any{"id": "scm1"}, "info": "Received push messages for REGID"})
	}
}

// says makes the fake answer a message so.
func (f *fake) says(answer any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

func (f *fake) config() Config {
	c := Default()
	c.AppSecret, c.Package, c.URL = secret, pkg, f.server.URL
	return c
}

func fresh(t testing.TB) (*vendortest.Subject, *fake) {
	f := newFake(t)
	x, err := New(f.config())
	if err != nil {
		t.Fatal(err)
	}
	return &vendortest.Subject{Channel: x, Server: f.server, Reasons: codes.Reasons()}, f
}

func TestConforms(t *testing.T) {
	t.Parallel()
	vendortest.Conform(t, func(t testing.TB) *vendortest.Subject { s, _ := fresh(t); return s })
}

func TestEveryFieldIsMapped(t *testing.T) {
	t.Parallel()
	s, f := fresh(t)
	n, tokens := vendortest.Notice(), vendortest.Tokens(3)
	for i, r := range s.Channel.Send(t.Context(), n, tokens) {
		if r != (channel.Result{Outcome: channel.Sent, ID: "scm1"}) {
			t.Errorf("token %d: %+v", i, r)
		}
	}
	for field, want := range map[string]string{
		"registration_id": strings.Join(tokens, ","), "restricted_package_name": pkg, "title": n.Title, "description": n.Text,
		"payload": n.Ext, "notify_id": "4242", "notify_type": "-1", "extra.jobkey": string(n.Task), "extra.channel_id": "mi-news",
		"extra.sound_uri": "android.resource://com.example.app/raw/shake", "extra.notify_effect": "1",
	} {
		if got := f.last.Get(field); got != want {
			t.Errorf("%s is %q, want %q", field, got, want)
		}
	}
	ms, err := strconv.Atoi(f.last.Get("time_to_live"))
	if ttl := time.Duration(ms) * time.Millisecond; err != nil || ttl > 3*time.Hour || ttl < 2*time.Hour {
		t.Errorf("the time to live is %s", ttl)
	}

	c := f.config()
	c.Intent = "intent:#Intent;component=com.example.app/.News;end"
	x, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	n.Android, n.Ext = channel.Android{}, ""
	x.Send(t.Context(), n, tokens)
	if f.last.Get("extra.notify_effect") != "2" || f.last.Get("extra.intent_uri") != c.Intent {
		t.Errorf("a tap opens %q", f.last.Get("extra.intent_uri"))
	}
	for _, field := range []string{"payload", "extra.channel_id", "extra.sound_uri"} {
		if f.last.Has(field) {
			t.Errorf("what a notice does not have is sent: %s", field)
		}
	}
}

func TestEveryCodeIsMapped(t *testing.T) {
	t.Parallel()
	s, f := fresh(t)
	tokens := vendortest.Tokens(2)
	for code, want := range codes {
		if number, err := strconv.Atoi(string(code)); err == nil {
			f.says(refusal(number, "as documented"))
			results := s.Channel.Send(t.Context(), vendortest.Notice(), tokens)
			s.Check(t, tokens, results)
			for _, r := range results {
				if r.Outcome != want {
					t.Errorf("%s is %s, want %s", code, r.Outcome, want)
				}
				if daily := code == tooManyToday || code == overQuota; daily != (r.After > 0) {
					t.Errorf("%s is to be tried again after %s", code, r.After)
				}
			}
		}
	}
	f.says(refusal(99999, "not documented"))
	if r := s.Channel.Send(t.Context(), vendortest.Notice(), tokens)[0]; r.Outcome != channel.Refused || r.Reason != channel.ReasonOther {
		t.Errorf("a code that is not documented is %+v", r)
	}
}

func TestPartialFailure(t *testing.T) {
	t.Parallel()
	s, f := fresh(t)
	tokens := vendortest.Tokens(4)
	f.says(map[string]any{"result": "ok", "code": 0, "data": map[string]any{"id": "scm2", "bad_regids": tokens[0] + "," + tokens[3]}})
	results := s.Channel.Send(t.Context(), vendortest.Notice(), tokens)
	s.Check(t, tokens, results)
	good, bad := channel.Result{Outcome: channel.Sent, ID: "scm2"}, channel.Result{Outcome: channel.Gone, Reason: badRegIDs}
	for i, want := range []channel.Result{bad, good, good, bad} {
		if results[i] != want {
			t.Errorf("token %d is %+v, want %+v", i, results[i], want)
		}
	}
	f.says(refusal(20301, "No valid targets!"))
	for _, r := range s.Channel.Send(t.Context(), vendortest.Notice(), tokens) {
		if r != (channel.Result{Outcome: channel.Gone, Reason: noTargets}) {
			t.Errorf("where no device is known, one is %+v", r)
		}
	}
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	s, f := fresh(t)
	n, tokens := vendortest.Notice(), append(vendortest.Tokens(3), "a,b")
	n.Expire = time.Now().Add(-time.Hour) // what is shown can be taken back after its lifetime
	f.says(map[string]any{"result": "ok", "code": 0, "data": map[string]any{"bad_regids": tokens[1]}})
	results := s.Channel.(channel.Revoker).Revoke(t.Context(), n, tokens, make([]string, len(tokens)))
	s.Check(t, tokens, results)
	for i, want := range []channel.Outcome{channel.Sent, channel.Gone, channel.Sent, channel.Gone} {
		if results[i].Outcome != want {
			t.Errorf("token %d is %s, want %s", i, results[i].Outcome, want)
		}
	}
	if f.path != revokePath || f.last.Get("notify_id") != "4242" || f.last.Get("registration_ids") != strings.Join(tokens[:3], ",") {
		t.Errorf("%s had %v", f.path, f.last)
	}
	f.says(refusal(65028, "no such message"))
	if r := s.Channel.(channel.Revoker).Revoke(t.Context(), n, tokens, nil)[0]; r.Outcome != channel.Refused {
		t.Errorf("what is not there is %+v", r)
	}
}

func TestWrongCredentialsAreDenied(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := f.config()
	c.AppSecret = "someoneelses"
	x, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	s, tokens := vendortest.Subject{Reasons: codes.Reasons()}, vendortest.Tokens(2)
	results := x.Send(t.Context(), vendortest.Notice(), tokens)
	s.Check(t, tokens, results)
	if results[1] != (channel.Result{Outcome: channel.Denied, Reason: "21301"}) {
		t.Errorf("%+v", results[1])
	}
}

func TestWhatCannotBeCutIsTooLong(t *testing.T) {
	t.Parallel()
	s, _ := fresh(t)
	n := vendortest.Notice()
	n.Ext = strings.Repeat("词", 4097)
	if r := s.Channel.Send(t.Context(), n, vendortest.Tokens(1))[0]; r.Outcome != channel.Refused || r.Reason != channel.ReasonTooLong {
		t.Errorf("%+v", r)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	good := Default()
	good.AppSecret, good.Package = secret, pkg
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	vendortest.KeepsSecret(t, good, secret)
	for name, change := range map[string]func(*Config){
		"no secret":  func(c *Config) { c.AppSecret = "" },
		"secret":     func(c *Config) { c.AppSecret = secret + "\r\n" },
		"no package": func(c *Config) { c.Package = "" },
		"packages":   func(c *Config) { c.Package = "a.b,c.d" },
		"address":    func(c *Config) { c.URL = "ftp://api.xmpush.xiaomi.com" },
		"timeout":    func(c *Config) { c.Timeout = -1 },
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
	f.Add(200, `{"result":"ok","code":0,"data":{"id":"scm1","bad_regids":"`+tokens[0]+`"}}`)
	f.Add(200, `{"result":"error","reason":"No valid targets!","code":20301}`)
	f.Add(200, `{"code":200001,"data":""}`)
	f.Add(503, ``)
	s, now := &vendortest.Subject{Reasons: codes.Reasons()}, time.Now()
	f.Fuzz(func(t *testing.T, status int, body string) {
		results := parse(vendorhttp.Answer{Status: status, Body: []byte(body)}, vendorhttp.NewBatch(tokens), now)
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
