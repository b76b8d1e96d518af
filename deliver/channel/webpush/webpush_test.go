package webpush

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/carillon-push/carillon/deliver/channel"
	"github.com/carillon-push/carillon/deliver/channel/channeltest"
	"github.com/carillon-push/carillon/deliver/channel/webpush/webpushtest"
	"github.com/carillon-push/carillon/pkg/push"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func notice() *channel.Notice {
	return &channel.Notice{Task: "7-42", Seq: 42, Title: "news", Text: "your order", Ext: `{"order":9}`, Expire: time.Now().Add(time.Hour)}
}

func configOf(s *webpushtest.Server) Config {
	return Config{KeyFile: s.KeyFile, Subject: "mailto:ops@example.org", Private: true, CAFile: s.CAFile}
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

func TestEveryFieldArrives(t *testing.T) {
	t.Parallel()
	s := webpushtest.Start(t)
	config := configOf(s)
	for i, subject := range []string{"mailto:ops@example.org", "https://example.org/ops"} {
		config.Subject = subject
		c := open(t, config)
		if got := c.Send(t.Context(), notice(), []string{s.Subscribe(t, "anna")}); got[0] != (channel.Result{Outcome: channel.Sent}) {
			t.Fatalf("%+v", got)
		}
		m := s.Taken()[i]
		if want := `{"title":"news","text":"your order","ext":"{\"order\":9}","task":"7-42","seq":42}`; string(m.Text) != want {
			t.Errorf("it got %s", m.Text)
		}
		ttl, err := strconv.Atoi(m.Header.Get("TTL"))
		if m.Header.Get("Topic") != "7-42" || m.Header.Get("Urgency") != "high" || err != nil || ttl > 3600 || ttl < 3300 {
			t.Errorf("%+v", m.Header)
		}
	}
	plain := &channel.Notice{Task: "7-43", Text: "x"}
	open(t, config).Send(t.Context(), plain, []string{s.Subscribe(t, "ben")})
	if m := s.Taken()[2]; string(m.Text) != `{"text":"x","task":"7-43","seq":0}` || m.Header.Get("TTL") != "2419200" {
		t.Errorf("%s with %+v", m.Text, m.Header)
	}
}

// Many at a time share the message, and the library's scratch space must not be in it.
func TestSharedMessages(t *testing.T) {
	t.Parallel()
	s := webpushtest.Start(t)
	c := open(t, configOf(s))
	n := notice()
	var all sync.WaitGroup
	for i := range 20 {
		token := s.Subscribe(t, fmt.Sprint("b", i))
		all.Go(func() {
			if got := c.Send(t.Context(), n, []string{token}); got[0].Outcome != channel.Sent {
				t.Errorf("%+v", got)
			}
		})
	}
	all.Wait()
	for _, m := range s.Taken() {
		if !json.Valid(m.Text) {
			t.Errorf("%s", m.Text)
		}
	}
}

func TestWhatIsTooLongIsCut(t *testing.T) {
	t.Parallel()
	s := webpushtest.Start(t)
	c := open(t, configOf(s))
	token := s.Subscribe(t, "anna")
	n := notice()
	n.Text = strings.Repeat("<你好>", 2000)
	if got := c.Send(t.Context(), n, []string{token}); got[0].Outcome != channel.Sent {
		t.Fatalf("%+v", got)
	}
	if text := s.Taken()[0].Text; len(text) > maxMessage || len(text) < maxMessage-20 || !json.Valid(text) {
		t.Errorf("%d bytes: %s", len(text), text)
	}
	exact := notice()
	exact.Ext = strings.Repeat("x", maxMessage-len(`{"title":"news","text":"your order","ext":"","task":"7-42","seq":42}`))
	if got := c.Send(t.Context(), exact, []string{token}); got[0].Outcome != channel.Sent || len(s.Taken()[1].Text) != maxMessage {
		t.Errorf("%+v", got)
	}
	long := notice()
	long.Ext = strings.Repeat("x", maxMessage)
	if got := c.Send(t.Context(), long, []string{token}); got[0] != (channel.Result{Outcome: channel.Refused, Reason: channel.ReasonTooLong}) {
		t.Errorf("%+v", got)
	}
}

func TestEveryStatusHasAnOutcome(t *testing.T) {
	t.Parallel()
	s := webpushtest.Start(t)
	c := open(t, configOf(s))
	token := s.Subscribe(t, "anna")
	after := http.Header{"Retry-After": {"7"}}
	for status, want := range map[int]channel.Result{
		200: {Outcome: channel.Sent}, 201: {Outcome: channel.Sent}, 202: {Outcome: channel.Sent},
		400: {Outcome: channel.Refused, Reason: "400"}, 401: {Outcome: channel.Refused, Reason: "401"},
		403: {Outcome: channel.Refused, Reason: "403"}, 404: {Outcome: channel.Gone, Reason: "404"},
		405: {Outcome: channel.Refused, Reason: "405"}, 406: {Outcome: channel.Refused, Reason: "406"},
		410: {Outcome: channel.Gone, Reason: "410"}, 413: {Outcome: channel.Refused, Reason: "413"},
		429: {Outcome: channel.Later, Reason: "429", After: 7 * time.Second}, 500: {Outcome: channel.Later, Reason: "500", After: 7 * time.Second},
		502: {Outcome: channel.Later, Reason: "502", After: 7 * time.Second}, 503: {Outcome: channel.Later, Reason: "503", After: 7 * time.Second},
		504: {Outcome: channel.Later, Reason: "504", After: 7 * time.Second}, 599: {Outcome: channel.Later, Reason: "other", After: 7 * time.Second},
		418: {Outcome: channel.Refused, Reason: "other"}, 204: {Outcome: channel.Refused, Reason: "other"},
	} {
		f := channeltest.Fault{Status: status, Header: after}
		if status != 204 {
			f.Body = strings.Repeat("x", 1<<20) // of which little is read
		}
		s.Fault("anna", f)
		if got := c.Send(t.Context(), notice(), []string{token}); got[0] != want {
			t.Errorf("%d became %+v", status, got[0])
		}
	}
	s.Fault("anna", channeltest.Fault{HangUp: true})
	if got := c.Send(t.Context(), notice(), []string{token}); got[0] != (channel.Result{Outcome: channel.Later, Reason: channel.ReasonUnreachable}) {
		t.Errorf("a hang-up became %+v", got[0])
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	s, other := webpushtest.Start(t), webpushtest.Start(t)
	c := open(t, configOf(s))
	for _, status := range []int{301, 302, 307, 308} {
		s.Fault("anna", channeltest.Fault{Status: status, Header: http.Header{"Location": {other.URL + "/push/anna"}}})
		if got := c.Send(t.Context(), notice(), []string{s.Subscribe(t, "anna")}); got[0] != (channel.Result{Outcome: channel.Refused, Reason: channel.ReasonOther}) {
			t.Errorf("%+v", got)
		}
	}
	if other.Requests() != 0 {
		t.Error("a redirect was followed")
	}
}

func TestAStallEndsWithTheContext(t *testing.T) {
	t.Parallel()
	s := webpushtest.Start(t)
	c := open(t, configOf(s))
	s.Fault("slow", channeltest.Fault{Stall: true})
	ctx, cancel := context.WithCancel(t.Context())
	token, done := s.Subscribe(t, "slow"), make(chan []channel.Result)
	go func() { done <- c.Send(ctx, notice(), []string{token}) }()
	<-s.Stalled
	cancel()
	if got := <-done; got[0] != (channel.Result{Outcome: channel.Later, Reason: channel.ReasonUnreachable}) {
		t.Errorf("%+v", got)
	}
}

func TestAnotherKeyIsRefused(t *testing.T) {
	t.Parallel()
	s, other := webpushtest.Start(t), webpushtest.Start(t)
	config := configOf(s)
	config.KeyFile = other.KeyFile
	if got := open(t, config).Send(t.Context(), notice(), []string{s.Subscribe(t, "anna")}); got[0] != (channel.Result{Outcome: channel.Refused, Reason: "403"}) {
		t.Errorf("%+v", got)
	}
}

func TestClientsCannotLeadElsewhere(t *testing.T) {
	t.Parallel()
	s := webpushtest.Start(t)
	token := s.Subscribe(t, "anna")
	port := s.URL[strings.LastIndex(s.URL, ":"):]
	config := configOf(s)
	config.Private = false
	refused := channel.Result{Outcome: channel.Refused, Reason: ReasonEndpoint}
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433"} {
		got := open(t, config).Send(t.Context(), notice(), []string{strings.Replace(token, "127.0.0.1", host, 1)})
		if got[0] != refused && host != "2130706433" { // which some resolvers take for an address, and others for no name
			t.Errorf("%s%s became %+v", host, port, got[0])
		}
	}
	config.Private, config.Hosts = true, []string{"push.example.org", "localhost"}
	if got := open(t, config).Send(t.Context(), notice(), []string{token}); got[0] != refused {
		t.Errorf("a host that is not in the list became %+v", got[0])
	}
	if s.Requests() != 0 {
		t.Errorf("%d requests came", s.Requests())
	}
	for host, want := range map[string]bool{
		"push.example.org": true, "eu.push.example.org": true, "PUSH.Example.org": true, "push.example.org.": true, "localhost": true,
		"xpush.example.org": false, "example.org": false, "push.example.org.evil.net": false, "": false,
	} {
		if config.allows(host) != want {
			t.Errorf("%q is allowed: %t", host, !want)
		}
	}
}

func TestPublicAddresses(t *testing.T) {
	t.Parallel()
	for a, want := range map[string]bool{
		"8.8.8.8": true, "2a00:1450:4001::1": true, "::ffff:8.8.8.8": true,
		"127.0.0.1": false, "10.1.2.3": false, "172.16.0.1": false, "192.168.1.1": false, "169.254.169.254": false, "100.64.0.1": false,
		"0.0.0.0": false, "224.0.0.1": false, "255.255.255.255": false, "198.18.0.1": false, "::1": false, "::": false, "fe80::1": false,
		"fe80::1%eth0": false, "fc00::1": false, "ff02::1": false, "::ffff:10.0.0.1": false, "64:ff9b::a00:1": false, "2002:a00:1::": false, "::10.0.0.1": false,
	} {
		if isPublic(netip.MustParseAddr(a)) != want {
			t.Errorf("%s is public: %t", a, !want)
		}
		if got := onlyPublic("tcp", netip.AddrPortFrom(netip.MustParseAddr(a), 443).String(), nil) == nil; got != want {
			t.Errorf("%s is dialed: %t", a, got)
		}
	}
	if onlyPublic("tcp", "example.org:443", nil) == nil {
		t.Error("a name is taken for an address")
	}
}

func TestBadSubscriptionsNeverLeave(t *testing.T) {
	t.Parallel()
	s := webpushtest.Start(t)
	c := open(t, configOf(s))
	good := s.Subscribe(t, "anna")
	for _, token := range []string{
		"", "{}", "x", `[]`, `{"endpoint":1}`,
		strings.Replace(good, "https://", "http://", 1), strings.Replace(good, "https://", "https://user:secret@", 1),
		strings.Replace(good, "https://", "file://", 1), strings.Replace(good, `"p256dh":"B`, `"p256dh":"C`, 1),
		strings.Replace(good, `"auth":"`, `"auth":"AAAA`, 1), strings.Replace(good, `"auth":"`, `"auth":"!`, 1),
	} {
		if got := c.Send(t.Context(), notice(), []string{token}); got[0] != (channel.Result{Outcome: channel.Gone, Reason: ReasonSubscription}) {
			t.Errorf("%q became %+v", token, got[0])
		}
		if part := c.Part(token); part != "" {
			t.Errorf("%q is of part %q", token, part)
		}
	}
	if s.Requests() != 0 {
		t.Errorf("%d requests came", s.Requests())
	}
	if part := c.Part(good); part != strings.TrimPrefix(s.URL, "https://") {
		t.Errorf("it is of part %q", part)
	}
	// Browsers and their libraries write base64 in all its ways.
	padded := strings.NewReplacer("-", "+", "_", "/").Replace(good[strings.Index(good, `"p256dh"`):])
	padded = good[:strings.Index(good, `"p256dh"`)] + strings.Replace(strings.Replace(padded, `","auth"`, `=","auth"`, 1), `"}}`, `=="}}`, 1)
	if got := c.Send(t.Context(), notice(), []string{padded}); got[0].Outcome != channel.Sent {
		t.Errorf("%s became %+v", padded, got)
	}
}

func FuzzSubscription(f *testing.F) {
	f.Add(`{"endpoint":"https://h/p","keys":{"p256dh":"BA","auth":"AA=="}}`)
	f.Fuzz(func(t *testing.T, token string) {
		if s, u, ok := subscription(token); ok && (u.Scheme != "https" || u.Host == "" || s.Keys.Auth == "") {
			t.Errorf("%q is %+v", token, s)
		}
	})
}

func TestTopic(t *testing.T) {
	t.Parallel()
	for _, task := range []push.TaskID{"4294967295-18446744073709551615", "", "a b", push.TaskID(strings.Repeat("x", 33)), "é"} {
		got := topic(&channel.Notice{Task: task})
		if len(got) > 32 || strings.ContainsAny(got, " é=+/") {
			t.Errorf("%q has the topic %q", task, got)
		}
	}
	if topic(&channel.Notice{Task: "a b"}) == topic(&channel.Notice{Task: "a c"}) {
		t.Error("two tasks share a topic")
	}
}

// A browser's maker whose service is down holds back none of the others.
func TestBehindASender(t *testing.T) {
	t.Parallel()
	s, down := webpushtest.Start(t), webpushtest.Start(t)
	m, err := channel.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	limits := channel.DefaultLimits()
	limits.BackoffMin, limits.BackoffMax, limits.Attempts, limits.Failures = time.Millisecond, time.Millisecond, 3, 2
	limits.Open, limits.Patience = 10*time.Minute, time.Minute
	config := configOf(s)
	var log strings.Builder
	sender, err := channel.NewSender(channel.SenderConfig{App: 7, Channel: "webpush", Limits: limits, Files: config.Files()},
		func() (channel.Channel, error) { return New(config) }, m, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sender.Close)
	down.Fault("", channeltest.Fault{Status: 503})
	var tokens []string
	for i := range 30 {
		from := s
		if i%3 == 0 {
			from = down
		}
		tokens = append(tokens, from.Subscribe(t, fmt.Sprint("secret", i)))
	}
	for i, r := range sender.Send(t.Context(), notice(), tokens) {
		if want := map[bool]channel.Outcome{true: channel.Later, false: channel.Sent}[i%3 == 0]; r.Outcome != want {
			t.Errorf("%d: %+v", i, r)
		}
	}
	if strings.Contains(log.String(), "secret") {
		t.Errorf("a token is in the log: %s", log.String())
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	s := webpushtest.Start(t)
	for want, change := range map[string]func(*Config){
		"a VAPID key file is needed for Web Push":                                                        func(c *Config) { c.KeyFile = "" },
		`the subject of Web Push must be mailto: and an address, or an https URL, not "ops@example.org"`: func(c *Config) { c.Subject = "ops@example.org" },
		`a host of Web Push must be a name such as push.example.org, not "*.example.org"`:                func(c *Config) { c.Hosts = []string{"*.example.org"} },
		"read the VAPID key: open /nowhere":                                                              func(c *Config) { c.KeyFile = "/nowhere" },
		"it is no private key of P-256, in PEM or as 32 bytes in base64":                                 func(c *Config) { c.KeyFile = c.CAFile },
		"read the VAPID key in ":                                                                         func(c *Config) { c.KeyFile = channeltest.File(t, "k", []byte("c2VjcmV0")) },
		"read the authorities to trust: " + s.KeyFile + " has no certificate in":                         func(c *Config) { c.CAFile = c.KeyFile },
	} {
		config := configOf(s)
		change(&config)
		if _, err := New(config); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "c2VjcmV0") {
			t.Errorf("%v, want %q", err, want)
		}
	}
	config := configOf(s)
	if got := config.Files(); !slices.Equal(got, []string{s.KeyFile, s.CAFile}) {
		t.Errorf("its files are %q", got)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sec1, _ := x509.MarshalECPrivateKey(key)
	pkcs8, _ := x509.MarshalPKCS8PrivateKey(key)
	var publics []string
	for kind, der := range map[string][]byte{"EC PRIVATE KEY": sec1, "PRIVATE KEY": pkcs8} {
		config.KeyFile = channeltest.File(t, "key.pem", pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
		publics = append(publics, open(t, config).PublicKey())
	}
	if publics[0] != publics[1] || len(publics[0]) != 87 {
		t.Errorf("the public keys are %q", publics)
	}
}

func BenchmarkSend(b *testing.B) {
	s := webpushtest.Start(b)
	c := open(b, configOf(s))
	n, tokens := notice(), []string{s.Subscribe(b, "anna")}
	c.Send(b.Context(), n, tokens)
	b.ReportAllocs()
	b.ResetTimer()
	b.SetParallelism(32)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if r := c.Send(b.Context(), n, tokens); r[0].Outcome != channel.Sent {
				b.Errorf("%+v", r)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "notices/s")
}
