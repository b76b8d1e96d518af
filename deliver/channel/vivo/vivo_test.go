package vivo

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
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
	"github.com/carillon-push/carillon/pkg/push"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	appID  = "105000001"
	appKey = "appkey0123456789abcdef"
	secret = "appsecret0123456789abcdef"
)

// fake is vivo Push: it holds every message to the reference.
type fake struct {
	t      testing.TB
	server *vendortest.Server

	mu       sync.Mutex
	granted  int64
	saved    map[string]map[string]any
	requests map[string]bool
	answers  map[string]any // by path, in place of those of requests that are as they should be
	last     map[string]any
	targets  []string
}

func newFake(t testing.TB) *fake {
	f := &fake{t: t, saved: make(map[string]map[string]any), requests: make(map[string]bool), answers: make(map[string]any)}
	mux := http.NewServeMux()
	mux.HandleFunc(authPath, f.auth)
	for path, handle := range map[string]func(body map[string]any) any{sendPath: f.send, savePath: f.save, listPath: f.list} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { f.handle(w, r, handle) })
	}
	f.server = vendortest.NewServer(t, authPath, mux)
	return f
}

func refusal(result int, desc string) map[string]any {
	return map[string]any{"result": result, "desc": desc}
}

func (f *fake) auth(w http.ResponseWriter, r *http.Request) {
	body := vendortest.ReadJSON(f.t, r)
	at, _ := body["timestamp"].(float64)
	sum := md5.Sum([]byte(appID + appKey + strconv.FormatInt(int64(at), 10) + secret))
	if fmt.Sprintf("%.0f", body["appId"]) != appID || body["appKey"] != appKey || body["sign"] != hex.EncodeToString(sum[:]) ||
		time.Since(time.UnixMilli(int64(at))).Abs() > 10*time.Minute {
		vendortest.JSON(w, 200, refusal(10203, fmt.Sprint("the sign is wrong: ", body["sign"])))
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.granted++
	vendortest.JSON(w, 200, map[string]any{"result": 0, "desc": "请求成功", "authToken": vendortest.Token(f.granted)})
}

func (f *fake) handle(w http.ResponseWriter, r *http.Request, handle func(map[string]any) any) {
	body := vendortest.ReadJSON(f.t, r)
	f.mu.Lock()
	defer f.mu.Unlock()
	id, _ := body["requestId"].(string)
	switch {
	case r.Header.Get("authToken") != vendortest.Token(f.granted):
		vendortest.JSON(w, 200, refusal(10000, "权限认证失败 "+r.Header.Get("authToken")))
	case fmt.Sprintf("%.0f", body["appId"]) != appID:
		vendortest.JSON(w, 200, refusal(10094, "appId"))
	case id == "" || len(id) > 64 || f.requests[id]:
		vendortest.JSON(w, 200, refusal(10999, "requestId"))
	default:
		f.requests[id] = true
		answer := handle(body)
		if other, ok := f.answers[r.URL.Path]; ok {
			answer = other
		}
		vendortest.JSON(w, 200, answer)
	}
}

func columns(s string) (n int) {
	for _, r := range s {
		if n++; r >= utf8.RuneSelf {
			n++
		}
	}
	return n
}

// faulty is what is wrong with a message, as an answer.
func faulty(m map[string]any) any {
	title, _ := m["title"].(string)
	content, _ := m["content"].(string)
	ttl, _ := m["timeToLive"].(float64)
	kind, _ := m["notifyType"].(float64)
	ext, _ := vendortest.At(m, "clientCustomMap.ext").(string)
	switch {
	case kind < 1 || kind > 4:
		return refusal(10054, "notifyType")
	case title == "":
		return refusal(10055, "title")
	case columns(title) > 40:
		return refusal(10056, "title")
	case content == "":
		return refusal(10057, "content")
	case columns(content) > 100:
		return refusal(10058, "content")
	case ttl < 60 || ttl > 7*24*3600 || m["skipType"] == nil || len(ext) > 1024:
		return refusal(10999, "some other")
	}
	return nil
}

func (f *fake) send(m map[string]any) any {
	id, _ := m["regId"].(string)
	if id == "" {
		return refusal(10050, "regId")
	}
	if bad := faulty(m); bad != nil {
		return bad
	}
	f.last, f.targets = m, []string{id}
	return map[string]any{"result": 0, "desc": "请求成功", "taskId": "single-1"}
}

func (f *fake) save(m map[string]any) any {
	if bad := faulty(m); bad != nil {
		return bad
	}
	id := fmt.Sprintf("task-%d", len(f.saved)+1)
	f.saved[id] = m
	return map[string]any{"result": 0, "desc": "请求成功", "taskId": id}
}

func (f *fake) list(m map[string]any) any {
	ids, task := vendortest.Strings(m["regIds"]), fmt.Sprint(m["taskId"])
	if len(ids) < 2 || len(ids) > 1000 || f.saved[task] == nil {
		return refusal(10999, "regIds")
	}
	f.last, f.targets = f.saved[task], ids
	return map[string]any{"result": 0, "desc": "请求成功", "requestId": m["requestId"], "invalidUsers": []any{}}
}

// says makes the fake answer a path so.
func (f *fake) says(path string, answer any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers[path] = answer
}

// forget makes the access token that was given out one that is no longer known.
func (f *fake) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.granted++
}

func (f *fake) config() Config {
	c := Default()
	c.AppID, c.AppKey, c.AppSecret, c.URL = appID, appKey, secret, f.server.URL
	return c
}

func fresh(t testing.TB) (*vendortest.Subject, *fake) {
	f := newFake(t)
	v, err := New(f.config())
	if err != nil {
		t.Fatal(err)
	}
	return &vendortest.Subject{Channel: v, Server: f.server, Reasons: codes.Reasons()}, f
}

func TestConforms(t *testing.T) {
	t.Parallel()
	vendortest.Conform(t, func(t testing.TB) *vendortest.Subject { s, _ := fresh(t); return s })
}

func TestEveryFieldIsMapped(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := f.config()
	c.SystemCategory, c.OperationCategory, c.Intent = "IM", "NEWS", "intent:#Intent;component=com.example.app/.News;end"
	v, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	for count, id := range map[int]string{1: "single-1", 3: "task-1"} {
		n, tokens := vendortest.Notice(), vendortest.Tokens(count)
		for i, r := range v.Send(t.Context(), n, tokens) {
			if r != (channel.Result{Outcome: channel.Sent, ID: id}) {
				t.Errorf("token %d of %d: %+v", i, count, r)
			}
		}
		if !slices.Equal(f.targets, tokens) {
			t.Errorf("the devices are %v", f.targets)
		}
		for path, want := range map[string]any{
			"title": n.Title, "content": n.Text, "clientCustomMap.ext": n.Ext, "classification": 1.0, "category": "IM",
			"skipType": 4.0, "skipContent": c.Intent, "notifyType": 4.0, "networkType": -1.0,
		} {
			if got := vendortest.At(f.last, path); got != want {
				t.Errorf("%s is %v, want %v", path, got, want)
			}
		}
		if ttl, _ := f.last["timeToLive"].(float64); ttl > 3*3600 || ttl < 2*3600 {
			t.Errorf("the time to live is %v", ttl)
		}
	}
	n := vendortest.Notice()
	n.Seq, n.Android, n.Ext, n.Expire = 1, channel.Android{}, "", time.Now().Add(5*time.Second)
	v.Send(t.Context(), n, vendortest.Tokens(2))
	if f.last["classification"] != 0.0 || f.last["category"] != "NEWS" || f.last["timeToLive"] != 60.0 || f.last["clientCustomMap"] != nil {
		t.Errorf("an operational message is %v", f.last)
	}
}

func TestAPushIsSavedOnce(t *testing.T) {
	t.Parallel()
	s, f := fresh(t)
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			n := vendortest.Notice()
			n.Seq = push.Seq(i % 3)
			n.Task = push.NewTaskID(1, n.Seq)
			s.Check(t, vendortest.Tokens(50), s.Channel.Send(t.Context(), n, vendortest.Tokens(50)))
		})
	}
	wg.Wait()
	if len(f.saved) != 3 {
		t.Errorf("three pushes in 24 batches were saved %d times", len(f.saved))
	}
}

func TestEveryCodeIsMapped(t *testing.T) {
	t.Parallel()
	for _, path := range []string{sendPath, savePath, listPath} {
		s, f := fresh(t)
		tokens := vendortest.Tokens(2)
		if path == sendPath {
			tokens = tokens[:1]
		}
		seq := push.Seq(0)
		send := func() []channel.Result {
			n := vendortest.Notice()
			seq++
			n.Seq = seq // each is saved anew
			results := s.Channel.Send(t.Context(), n, tokens)
			s.Check(t, tokens, results)
			return results
		}
		for code, want := range codes {
			number, err := strconv.Atoi(string(code))
			if err != nil || code == success {
				continue
			}
			if code == "10302" && path != sendPath {
				want = channel.Refused // of a list it does not say which
			}
			f.says(path, refusal(number, "as documented"))
			for _, r := range send() {
				if r.Outcome != want || r.Reason != string(code) {
					t.Errorf("%s: %s is %s for %q, want %s", path, code, r.Outcome, r.Reason, want)
				}
				if limit := daily[code] || code == night; limit != (r.After > 0) {
					t.Errorf("%s is to be tried again after %s", code, r.After)
				}
			}
		}
		f.says(path, refusal(19999, "not documented"))
		if r := send()[0]; r.Outcome != channel.Refused || r.Reason != channel.ReasonOther {
			t.Errorf("%s: a code that is not documented is %+v", path, r)
		}
	}
}

func TestPartialFailure(t *testing.T) {
	t.Parallel()
	s, f := fresh(t)
	tokens := vendortest.Tokens(6)
	var users []any
	for i, status := range []any{1, 2, "3", 4, 9} {
		users = append(users, map[string]any{"status": status, "userid": tokens[i]})
	}
	f.says(listPath, map[string]any{"result": 0, "desc": "请求成功", "invalidUsers": users})
	results := s.Channel.Send(t.Context(), vendortest.Notice(), tokens)
	s.Check(t, tokens, results)
	for i, want := range []channel.Result{
		{Outcome: channel.Gone, Reason: "invalidUsers.1"}, {Outcome: channel.Gone, Reason: "invalidUsers.2"},
		{Outcome: channel.Refused, Reason: "invalidUsers.3"}, {Outcome: channel.Refused, Reason: "invalidUsers.4"},
		{Outcome: channel.Refused, Reason: channel.ReasonOther}, {Outcome: channel.Sent, ID: "task-1"},
	} {
		if results[i] != want {
			t.Errorf("token %d is %+v, want %+v", i, results[i], want)
		}
	}
	f.says(sendPath, map[string]any{"result": 0, "taskId": "t", "invalidUser": map[string]any{"status": 1, "userid": tokens[0]}})
	if r := s.Channel.Send(t.Context(), vendortest.Notice(), tokens[:1])[0]; r.Outcome != channel.Gone {
		t.Errorf("a single invalid user is %+v", r)
	}
}

func TestAccessTokenIsRenewedOnce(t *testing.T) {
	t.Parallel()
	for _, path := range []string{savePath, listPath} {
		s, f := fresh(t)
		s.Renews(t, f.forget, func() {
			s.Channel.(*Vivo).saved.Purge()
			f.says(path, refusal(10000, "权限认证失败"))
		}, badAccess)
	}
}

func TestWrongCredentialsAreDenied(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := f.config()
	c.AppSecret = "someoneelses"
	v, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	(&vendortest.Subject{Channel: v, Server: f.server, Reasons: codes.Reasons()}).Denies(t, vendorhttp.ReasonCredentials)
}

func TestWhatCannotBeCutIsTooLong(t *testing.T) {
	t.Parallel()
	s, _ := fresh(t)
	n := vendortest.Notice()
	n.Ext = strings.Repeat("e", 1022)
	if r := s.Channel.Send(t.Context(), n, vendortest.Tokens(2))[0]; r.Outcome != channel.Refused || r.Reason != channel.ReasonTooLong {
		t.Errorf("%+v", r)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	good := Default()
	good.AppID, good.AppKey, good.AppSecret = appID, appKey, secret
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	vendortest.KeepsSecret(t, good, secret)
	for name, change := range map[string]func(*Config){
		"no app":    func(c *Config) { c.AppID = "" },
		"app":       func(c *Config) { c.AppID = "99999999999999999999" },
		"no key":    func(c *Config) { c.AppKey = "" },
		"no secret": func(c *Config) { c.AppSecret = "" },
		"secret":    func(c *Config) { c.AppSecret = secret + "词" },
		"system":    func(c *Config) { c.SystemCategory = "NEWS" },
		"operation": func(c *Config) { c.OperationCategory = "IM" },
		"intent":    func(c *Config) { c.Intent = strings.Repeat("i", 1025) },
		"address":   func(c *Config) { c.URL = "https://" },
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
	f.Add(200, `{"result":0,"desc":"","taskId":"t","authToken":"a"}`)
	f.Add(200, `{"result":0,"invalidUsers":[{"status":1,"userid":"`+tokens[0]+`"}],"invalidUser":{"status":"2","userid":"`+tokens[1]+`"}}`)
	f.Add(200, `{"result":10302,"invalidUsers":null}`)
	f.Add(503, ``)
	s, now := &vendortest.Subject{Reasons: codes.Reasons()}, time.Now()
	f.Fuzz(func(t *testing.T, status int, body string) {
		a := vendorhttp.Answer{Status: status, Body: []byte(body)}
		results, _ := parse(a, vendorhttp.NewBatch(tokens), "", now)
		s.Check(t, tokens, results)
		auth, granted := parseGrant(a)
		saved, kept := parseSaved(a, now)
		s.Check(t, []string{"", ""}, []channel.Result{granted, kept})
		if (granted.Outcome == channel.Sent) != (auth.Token != "") || (kept.Outcome == channel.Sent) != (saved.Token != "") {
			t.Errorf("%q grants %q and saves %q", body, auth.Token, saved.Token)
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
