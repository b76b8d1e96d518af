package oppo

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
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
	appKey = "appkey0123456789abcdef"
	secret = "mastersecret0123456789abcdef"
)

// fake is OPPO Push: it holds every message to the reference.
type fake struct {
	t      testing.TB
	server *vendortest.Server

	mu      sync.Mutex
	granted int64
	errors  map[string]int // of single tokens
	answer  any            // in place of that of a batch that is as it should be
	last    []any
}

func newFake(t testing.TB) *fake {
	f := &fake{t: t}
	mux := http.NewServeMux()
	mux.HandleFunc(authPath, f.auth)
	mux.HandleFunc(sendPath, f.send)
	f.server = vendortest.NewServer(t, authPath, mux)
	return f
}

func refusal(code int, message string) map[string]any {
	return map[string]any{"code": code, "message": message, "data": map[string]any{}}
}

func (f *fake) auth(w http.ResponseWriter, r *http.Request) {
	form := vendortest.ReadForm(f.t, r)
	sum := sha256.Sum256([]byte(appKey + form.Get("timestamp") + secret))
	ms, err := strconv.ParseInt(form.Get("timestamp"), 10, 64)
	switch {
	case form.Get("app_key") != appKey:
		vendortest.JSON(w, 200, refusal(14, "Invalid App Key"))
	case form.Get("sign") != hex.EncodeToString(sum[:]):
		vendortest.JSON(w, 200, refusal(16, "Invalid Signature "+form.Get("sign")))
	case err != nil || time.Since(time.UnixMilli(ms)).Abs() > 10*time.Minute:
		vendortest.JSON(w, 200, refusal(19, "Invalid Timestamp"))
	default:
		f.mu.Lock()
		defer f.mu.Unlock()
		f.granted++
		vendortest.JSON(w, 200, map[string]any{"code": 0, "message": "Success",
			"data": map[string]any{"auth_token": vendortest.Token(f.granted), "create_time": ms}})
	}
}

func (f *fake) send(w http.ResponseWriter, r *http.Request) {
	form := vendortest.ReadForm(f.t, r)
	f.mu.Lock()
	defer f.mu.Unlock()
	if form.Get("auth_token") != vendortest.Token(f.granted) {
		vendortest.JSON(w, 200, refusal(11, "Invalid AuthToken "+form.Get("auth_token")))
		return
	}
	var messages []any
	if err := json.Unmarshal([]byte(form.Get("messages")), &messages); err != nil || len(messages) < 1 || len(messages) > 1000 {
		vendortest.JSON(w, 200, refusal(41, "messages"))
		return
	}
	names, data := make(map[any]bool), []any{}
	for _, m := range messages {
		title, _ := vendortest.At(m, "notification.title").(string)
		content, _ := vendortest.At(m, "notification.content").(string)
		params, _ := vendortest.At(m, "notification.action_parameters").(string)
		ttl, _ := vendortest.At(m, "notification.off_line_ttl").(float64)
		token, _ := vendortest.At(m, "target_value").(string)
		name := vendortest.At(m, "notification.app_message_id")
		if title == "" || utf8.RuneCountInString(title) > 50 || content == "" || utf8.RuneCountInString(content) > 200 ||
			utf8.RuneCountInString(params) > 4000 || ttl < 1 || ttl > 10*24*3600 || vendortest.At(m, "target_type") != 2.0 ||
			token == "" || name == nil || names[name] {
			vendortest.JSON(w, 200, refusal(41, "Invalid Arguments"))
			return
		}
		names[name] = true
		if code := f.errors[token]; code != 0 {
			data = append(data, map[string]any{"messageId": nil, "registrationId": token, "errorCode": code, "errorMessage": "of " + token})
		} else {
			data = append(data, map[string]any{"messageId": "m-" + token[len(token)-1:], "registrationId": token})
		}
	}
	f.last = messages
	if f.answer != nil {
		vendortest.JSON(w, 200, f.answer)
		return
	}
	vendortest.JSON(w, 200, map[string]any{"code": 0, "message": "Success", "data": data})
}

// says makes the fake answer a batch so.
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
	c.AppKey, c.MasterSecret, c.URL = appKey, secret, f.server.URL
	return c
}

func fresh(t testing.TB) (*vendortest.Subject, *fake) {
	f := newFake(t)
	o, err := New(f.config())
	if err != nil {
		t.Fatal(err)
	}
	return &vendortest.Subject{Channel: o, Server: f.server, Reasons: codes.Reasons()}, f
}

func TestConforms(t *testing.T) {
	t.Parallel()
	vendortest.Conform(t, func(t testing.TB) *vendortest.Subject { s, _ := fresh(t); return s })
}

func TestEveryFieldIsMapped(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := f.config()
	c.Activity = "com.example.app.News"
	o, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	n, tokens := vendortest.Notice(), vendortest.Tokens(3)
	tokens[2] += "+/=%&"
	results := o.Send(t.Context(), n, tokens)
	if results[1] != (channel.Result{Outcome: channel.Sent, ID: "m-1"}) {
		t.Errorf("%+v", results)
	}
	for i, m := range f.last {
		if got := vendortest.At(m, "target_value"); got != tokens[i] {
			t.Errorf("message %d is for another device", i)
		}
		for field, want := range map[string]any{
			"title": n.Title, "content": n.Text, "action_parameters": `{"ext":"{\"page\":\"news\",\"id\":7}"}`, "off_line": true,
			"channel_id": "oppo-news", "notify_id": 4242.0, "click_action_type": 4.0, "click_action_activity": c.Activity, "style": 1.0,
			"app_message_id": name(n.Task, tokens[i]),
		} {
			if got := vendortest.At(m, "notification."+field); got != want {
				t.Errorf("%s is %v, want %v", field, got, want)
			}
		}
		ttl, _ := vendortest.At(m, "notification.off_line_ttl").(float64)
		if ttl > 3*3600 || ttl < 2*3600 {
			t.Errorf("the time to live is %v", ttl)
		}
	}
	n.Android, n.Ext = channel.Android{}, ""
	o.Send(t.Context(), n, tokens)
	for _, field := range []string{"channel_id", "action_parameters"} {
		if got := vendortest.At(f.last[0], "notification."+field); got != nil {
			t.Errorf("what a notice does not have is sent: %s is %v", field, got)
		}
	}
}

func TestEveryCodeIsMapped(t *testing.T) {
	t.Parallel()
	s, f := fresh(t)
	check := func(tokens []string, code vendorhttp.Code, want channel.Outcome) {
		t.Helper()
		results := s.Channel.Send(t.Context(), vendortest.Notice(), tokens)
		s.Check(t, tokens, results)
		for _, r := range results {
			if r.Outcome != want {
				t.Errorf("%s is %s, want %s", code, r.Outcome, want)
			}
			if (code == today) != (r.After > 0) {
				t.Errorf("%s is to be tried again after %s", code, r.After)
			}
		}
	}
	one, two := vendortest.Tokens(1), vendortest.Tokens(2)
	for code, want := range codes {
		number, err := strconv.Atoi(string(code))
		if err != nil {
			t.Fatal(err)
		}
		f.says(refusal(number, "as documented"))
		check(one, code, want)
		if code == badToken {
			check(two, code, channel.Refused)
		} else {
			check(two, code, want)
		}
	}
	f.says(refusal(9999, "not documented"))
	if r := s.Channel.Send(t.Context(), vendortest.Notice(), two)[0]; r.Outcome != channel.Refused || r.Reason != channel.ReasonOther {
		t.Errorf("a code that is not documented is %+v", r)
	}
}

func TestPartialFailure(t *testing.T) {
	t.Parallel()
	s, f := fresh(t)
	tokens := vendortest.Tokens(5)
	f.errors = map[string]int{tokens[1]: 10000, tokens[3]: 33, tokens[4]: 12345}
	results := s.Channel.Send(t.Context(), vendortest.Notice(), tokens)
	s.Check(t, tokens, results)
	results[3].After = 0
	for i, want := range []channel.Result{
		{Outcome: channel.Sent, ID: "m-0"}, {Outcome: channel.Gone, Reason: badToken}, {Outcome: channel.Sent, ID: "m-2"},
		{Outcome: channel.Later, Reason: today}, {Outcome: channel.Refused, Reason: channel.ReasonOther},
	} {
		if results[i] != want {
			t.Errorf("token %d is %+v, want %+v", i, results[i], want)
		}
	}
}

func TestAccessTokenIsRenewedOnce(t *testing.T) {
	t.Parallel()
	for code, reason := range map[int]string{11: badAccess, 29: noAccess} {
		s, f := fresh(t)
		s.Renews(t, f.forget, func() { f.says(refusal(code, "auth_token")) }, reason)
	}
}

func TestWrongCredentialsAreDenied(t *testing.T) {
	t.Parallel()
	for reason, change := range map[string]func(*Config){
		"14": func(c *Config) { c.AppKey = "someoneelses" },
		"16": func(c *Config) { c.MasterSecret = "someoneelses" },
	} {
		f := newFake(t)
		c := f.config()
		change(&c)
		o, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		(&vendortest.Subject{Channel: o, Server: f.server, Reasons: codes.Reasons()}).Denies(t, reason)
	}
}

func TestWhatCannotBeCutIsTooLong(t *testing.T) {
	t.Parallel()
	s, _ := fresh(t)
	n := vendortest.Notice()
	n.Ext = strings.Repeat("e", 4000)
	if r := s.Channel.Send(t.Context(), n, vendortest.Tokens(1))[0]; r.Outcome != channel.Refused || r.Reason != channel.ReasonTooLong {
		t.Errorf("%+v", r)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	good := Default()
	good.AppKey, good.MasterSecret = appKey, secret
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	vendortest.KeepsSecret(t, good, secret)
	for name, change := range map[string]func(*Config){
		"no key":    func(c *Config) { c.AppKey = "" },
		"no secret": func(c *Config) { c.MasterSecret = "" },
		"secret":    func(c *Config) { c.MasterSecret = secret + "\t" },
		"activity":  func(c *Config) { c.Activity = "com.example.app/News" },
		"address":   func(c *Config) { c.URL = "https://push.example.com?x=1" },
		"timeout":   func(c *Config) { c.Timeout = time.Millisecond },
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
	f.Add(200, `{"code":0,"message":"","data":[{"messageId":"m","registrationId":"`+tokens[0]+`","errorCode":10000}]}`)
	f.Add(200, `{"code":0,"data":{"auth_token":"t","create_time":1}}`)
	f.Add(200, `{"code":33,"data":null}`)
	f.Add(503, ``)
	s, now := &vendortest.Subject{Reasons: codes.Reasons()}, time.Now()
	f.Fuzz(func(t *testing.T, status int, body string) {
		a := vendorhttp.Answer{Status: status, Body: []byte(body)}
		results, _ := parse(a, vendorhttp.NewBatch(tokens), now)
		s.Check(t, tokens, results)
		g, r := parseGrant(a)
		s.Check(t, []string{""}, []channel.Result{r})
		if (r.Outcome == channel.Sent) != (g.Token != "") {
			t.Errorf("%q grants %q and is %s", body, g.Token, r.Outcome)
		}
		if !json.Valid([]byte(body)) && results[0].Outcome == channel.Sent {
			t.Errorf("%q is taken for a success", body)
		}
	})
}

func BenchmarkSend(b *testing.B) {
	s, _ := fresh(b)
	vendortest.Bench(b, s)
}

// The body of a batch is most of what a Send costs here: the notification's part of it is escaped once.
func BenchmarkEncode(b *testing.B) {
	o := &OPPO{}
	n, tokens := vendortest.Notice(), vendortest.Tokens(1000)
	note, err := vendorhttp.JSON(o.notification(n, time.Hour))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	size := 0
	for b.Loop() {
		size = len(encode(n.Task, note, tokens))
	}
	b.ReportMetric(float64(size)/float64(len(tokens)), "bytes/token")
}
