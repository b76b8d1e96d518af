package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/carillon-push/carillon/deliver/channel"
	"github.com/carillon-push/carillon/deliver/channel/channeltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// receiver is an operator's service that verifies as the specification says, and takes all.
type receiver struct {
	*channeltest.Server
	secret string // in base64

	mu     sync.Mutex
	bodies [][]byte
	ids    []string
}

func start(t testing.TB) *receiver {
	t.Helper()
	r := &receiver{secret: secret}
	r.Server = channeltest.Start(t, r)
	return r
}

func (s *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	content, _ := io.ReadAll(r.Body)
	if s.Meets("", w, r) {
		return
	}
	id, at := r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(at, 10, 64)
	key, _ := base64.StdEncoding.DecodeString(s.secret)
	h := hmac.New(sha256.New, key)
	_, _ = io.WriteString(h, id+"."+at+"."+string(content))
	want := "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil))
	var body request
	switch {
	case r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" || r.URL.Path != "/hook":
		w.WriteHeader(http.StatusBadRequest)
	case err != nil || time.Since(time.Unix(seconds, 0)).Abs() > 5*time.Minute || !slices.Contains(strings.Fields(r.Header.Get("webhook-signature")), want):
		w.WriteHeader(http.StatusUnauthorized)
	case json.Unmarshal(content, &body) != nil || body.Notice.Text == "":
		w.WriteHeader(http.StatusUnprocessableEntity)
	default:
		s.mu.Lock()
		s.bodies, s.ids = append(s.bodies, content), append(s.ids, id)
		s.mu.Unlock()
		var results []string
		for _, token := range body.Tokens {
			results = append(results, fmt.Sprintf(`{"outcome":"sent","id":"id of %s"}`, token))
		}
		_, _ = fmt.Fprintf(w, `{"results":[%s]}`, strings.Join(results, ","))
	}
}

func configOf(t testing.TB, s *receiver) Config {
	t.Helper()
	return Config{URL: s.URL + "/hook", SecretFile: channeltest.File(t, "secret", []byte("whsec_"+secret+"\n")), Batch: 3, CAFile: s.CAFile}
}

func open(t testing.TB, config Config) *Channel {
	t.Helper()
	c, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func plain() *channel.Notice { return &channel.Notice{Task: "7-42", Seq: 42, Text: "your order"} }

func TestEveryFieldArrives(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := open(t, configOf(t, s))
	n := &channel.Notice{
		Task: "7-42", Seq: 42, Title: "news", Text: "your order", Ext: `{"order":9}`, Expire: time.Unix(1700003600, 0),
		Android: channel.Android{Sound: "a.mp3", HuaWeiChannelID: "hw", XiaoMiChannelID: "xm", OPPOChannelID: "op", GoogleChannelID: "go",
			VIVOClassification: 1, HuaWeiImportance: "NORMAL", HuaWeiCategory: "IM", ExtAsHuaweiIntentParam: 1},
		APNs: channel.APNs{Sound: "i.caf", BadgeMode: 1, Title: "apple", SubTitle: "sub", Image: "https://x/y.png", MutableContent: 1},
	}
	got := c.Send(t.Context(), n, []string{"a", "b"})
	if want := []channel.Result{{Outcome: channel.Sent, ID: "id of a"}, {Outcome: channel.Sent, ID: "id of b"}}; !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
	const want = `{"notice":{"task":"7-42","seq":42,"title":"news","text":"your order","ext":"{\"order\":9}","expire":1700003600,
		"android":{"Sound":"a.mp3","HuaWeiChannelID":"hw","XiaoMiChannelID":"xm","OPPOChannelID":"op","GoogleChannelID":"go",
			"VIVOClassification":1,"HuaWeiImportance":"NORMAL","HuaWeiCategory":"IM","ExtAsHuaweiIntentParam":1},
		"apns":{"Sound":"i.caf","BadgeMode":1,"Title":"apple","SubTitle":"sub","Image":"https://x/y.png","MutableContent":1}},
		"tokens":["a","b"]}`
	if len(s.bodies) != 1 || !equal(t, string(s.bodies[0]), want) {
		t.Errorf("it got %s", s.bodies)
	}
	c.Send(t.Context(), plain(), []string{"a"})
	if !equal(t, string(s.bodies[1]), `{"notice":{"task":"7-42","seq":42,"text":"your order"},"tokens":["a"]}`) {
		t.Errorf("it got %s", s.bodies[1])
	}
	c.Send(t.Context(), plain(), []string{"a"})
	c.Send(t.Context(), plain(), []string{"a", ""})
	if s.ids[1] != s.ids[2] || s.ids[2] == s.ids[3] || s.ids[0] == s.ids[1] {
		t.Errorf("the names are %q", s.ids)
	}
}

func equal(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal([]byte(a), &x); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(b), &y); err != nil {
		t.Fatal(err)
	}
	return reflect.DeepEqual(x, y)
}

// The example that the libraries of Standard Webhooks are tested with.
func TestSignatureIsThatOfTheSpecification(t *testing.T) {
	t.Parallel()
	key, err := base64.StdEncoding.DecodeString(secret)
	if err != nil {
		t.Fatal(err)
	}
	header := http.Header{}
	Sign(header, [][]byte{key}, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if got := header.Get("webhook-signature"); got != "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" {
		t.Error(header)
	}
}

func TestEveryAnswerHasAnOutcome(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := open(t, configOf(t, s))
	ask := func(f channeltest.Fault) []channel.Result {
		s.Fault("", f)
		return c.Send(t.Context(), plain(), []string{"a", "b", "c"})
	}
	after := http.Header{"Retry-After": {"7"}}
	for status, want := range map[int]channel.Result{
		202: {Outcome: channel.Sent}, 204: {Outcome: channel.Sent},
		400: {Outcome: channel.Refused, Reason: "400"}, 413: {Outcome: channel.Refused, Reason: "413"}, 422: {Outcome: channel.Refused, Reason: "422"},
		401: {Outcome: channel.Denied, Reason: "401"}, 403: {Outcome: channel.Denied, Reason: "403"},
		404: {Outcome: channel.Later, Reason: "404", After: 7 * time.Second}, 429: {Outcome: channel.Later, Reason: "429", After: 7 * time.Second},
		500: {Outcome: channel.Later, Reason: "500", After: 7 * time.Second}, 502: {Outcome: channel.Later, Reason: "502", After: 7 * time.Second},
		503: {Outcome: channel.Later, Reason: "503", After: 7 * time.Second}, 504: {Outcome: channel.Later, Reason: "504", After: 7 * time.Second},
		302: {Outcome: channel.Later, Reason: "other", After: 7 * time.Second}, 418: {Outcome: channel.Later, Reason: "other", After: 7 * time.Second},
	} {
		if got := ask(channeltest.Fault{Status: status, Header: after}); !slices.Equal(got, []channel.Result{want, want, want}) {
			t.Errorf("%d became %+v", status, got)
		}
	}
	got := ask(channeltest.Fault{Status: 200, Body: `{"results":[{"outcome":"gone","reason":"unregistered"},{"outcome":"later","after":4000000000},{"outcome":"refused","reason":"a secret"}]}`})
	if want := []channel.Result{{Outcome: channel.Gone, Reason: "unregistered"}, {Outcome: channel.Later, Reason: "other", After: 24 * time.Hour},
		{Outcome: channel.Refused, Reason: "other"}}; !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
	got = ask(channeltest.Fault{Status: 200, Body: `{"results":[{"outcome":"denied","reason":"x"},{},{"outcome":"sent","reason":"x"}]}`})
	if want := []channel.Result{{Outcome: channel.Later, Reason: "other"}, {Outcome: channel.Later, Reason: "other"}, {Outcome: channel.Sent}}; !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
	other, unreachable := channel.Result{Outcome: channel.Later, Reason: "other"}, channel.Result{Outcome: channel.Later, Reason: "unreachable"}
	for _, c := range []struct {
		fault channeltest.Fault
		want  channel.Result
	}{
		{channeltest.Fault{Status: 200}, other},
		{channeltest.Fault{Status: 200, Body: "<html>"}, other},
		{channeltest.Fault{Status: 200, Body: `{"results":[{"outcome":"sent"}]}`}, other},
		{channeltest.Fault{Status: 200, Body: `{"results":[` + strings.Repeat(" ", 2<<20)}, other},
		{channeltest.Fault{HangUp: true}, unreachable},
	} {
		if got := ask(c.fault); !slices.Equal(got, []channel.Result{c.want, c.want, c.want}) {
			t.Errorf("%.20q became %+v", c.fault.Body, got)
		}
	}
}

func TestAStallEndsWithTheContext(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := open(t, configOf(t, s))
	s.Fault("", channeltest.Fault{Stall: true})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan []channel.Result)
	go func() { done <- c.Send(ctx, plain(), []string{"a"}) }()
	<-s.Stalled
	cancel()
	if got := <-done; got[0] != (channel.Result{Outcome: channel.Later, Reason: channel.ReasonUnreachable}) {
		t.Errorf("%+v", got)
	}
}

func TestSecretsChangeOver(t *testing.T) {
	t.Parallel()
	s := start(t)
	old := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("o", 24)))
	s.secret = old
	config := configOf(t, s)
	if got := open(t, config).Send(t.Context(), plain(), []string{"a"}); got[0] != (channel.Result{Outcome: channel.Denied, Reason: "401"}) {
		t.Errorf("another secret became %+v", got)
	}
	config.SecretFile = channeltest.File(t, "two", []byte("whsec_"+secret+"\r\n\nwhsec_"+old))
	c := open(t, config)
	for _, one := range []string{old, secret} {
		s.secret = one
		if got := c.Send(t.Context(), plain(), []string{"a"}); got[0].Outcome != channel.Sent {
			t.Errorf("%+v", got)
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	s := start(t)
	file := func(text string) func(*Config) {
		return func(c *Config) { c.SecretFile = channeltest.File(t, "secret", []byte(text)) }
	}
	for want, change := range map[string]func(*Config){
		`the URL of the webhook cannot be used: "" is no address such as https://host:port`: func(c *Config) { c.URL = "" },
		`"http://example.org/hook" is not https`:                                            func(c *Config) { c.URL = "http://example.org/hook" },
		"the webhook needs a file with the secret that requests are signed with":            func(c *Config) { c.SecretFile = "" },
		"a batch of the webhook must have 1 to 1000 devices, not 0":                         func(c *Config) { c.Batch = 0 },
		"a batch of the webhook must have 1 to 1000 devices, not 1001":                      func(c *Config) { c.Batch = 1001 },
		"read the webhook's secrets: open /nowhere":                                         func(c *Config) { c.SecretFile = "/nowhere" },
		"each line must be whsec_ and 24 to 64 bytes in base64":                             file("whsec_c2VjcmV0"),
		"there is none": file("\n\n"),
	} {
		config := configOf(t, s)
		change(&config)
		if _, err := New(config); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "c2VjcmV0") {
			t.Errorf("%v, want %q", err, want)
		}
	}
	config := configOf(t, s)
	if got := config.Files(); !slices.Equal(got, []string{config.SecretFile, s.CAFile}) {
		t.Errorf("its files are %q", got)
	}
	if d := Default(); d.Batch != 100 {
		t.Errorf("%+v", d)
	}
}

func BenchmarkSend(b *testing.B) {
	s := start(b)
	config := configOf(b, s)
	config.Batch = 100
	c := open(b, config)
	n := plain()
	var tokens []string
	for i := range config.Batch {
		tokens = append(tokens, fmt.Sprintf("%064x", i))
	}
	c.Send(b.Context(), n, tokens)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if r := c.Send(b.Context(), n, tokens); r[0].Outcome != channel.Sent {
				b.Errorf("%+v", r)
			}
		}
	})
	b.ReportMetric(float64(b.N*len(tokens))/b.Elapsed().Seconds(), "notices/s")
}
