package apns

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/carillon-push/carillon/deliver/channel"
	"github.com/carillon-push/carillon/deliver/channel/apns/apnstest"
	"github.com/carillon-push/carillon/deliver/channel/channeltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func device(i int) string { return fmt.Sprintf("%064x", i) }

func notice() *channel.Notice {
	return &channel.Notice{Task: "7-42", Seq: 42, Title: "news", Text: "your order", Ext: `{"order":9}`, Expire: time.Now().Add(time.Hour)}
}

func configOf(s *apnstest.Server) Config {
	return Config{Topic: apnstest.Topic, KeyFile: s.KeyFile, KeyID: apnstest.KeyID, TeamID: apnstest.TeamID, Badge: 1, URL: s.URL, CAFile: s.CAFile}
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
	s := apnstest.Start(t)
	c := open(t, configOf(s))
	n := notice()
	n.APNs = channel.APNs{Sound: "bell.caf", Title: "apple", SubTitle: "sub", Image: "https://example.org/i.png"}
	got := c.Send(t.Context(), n, []string{device(1)})
	taken := s.Taken()
	if len(taken) != 1 || got[0] != (channel.Result{Outcome: channel.Sent, ID: taken[0].ID}) {
		t.Fatalf("%+v with %+v", got, taken)
	}
	for name, want := range map[string]string{
		"apns-topic": apnstest.Topic, "apns-push-type": "alert", "apns-priority": "10", "apns-collapse-id": "7-42",
		"apns-expiration": fmt.Sprint(n.Expire.Unix()),
	} {
		if got := taken[0].Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	want := `{"aps":{"alert":{"title":"apple","subtitle":"sub","body":"your order"},"badge":1,"sound":"bell.caf","thread-id":"7-42","mutable-content":1},
		"ext":"{\"order\":9}","task":"7-42","seq":42,"image":"https://example.org/i.png"}`
	if !equal(t, taken[0].Payload, []byte(want)) {
		t.Errorf("the payload is %s", taken[0].Payload)
	}
}

func equal(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal(a, &x); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &y); err != nil {
		t.Fatal(err)
	}
	return reflect.DeepEqual(x, y)
}

func TestPayload(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		change func(*channel.Notice)
		badge  int
		want   string // aps
	}{
		{func(*channel.Notice) {}, 1, `{"alert":{"title":"news","body":"your order"},"badge":1,"sound":"default","thread-id":"7-42"}`},
		{func(*channel.Notice) {}, 0, `{"alert":{"title":"news","body":"your order"},"sound":"default","thread-id":"7-42"}`},
		{func(n *channel.Notice) { n.APNs.BadgeMode, n.Title = 1, "" }, 1, `{"alert":{"body":"your order"},"sound":"default","thread-id":"7-42"}`},
		{func(n *channel.Notice) { n.APNs.MutableContent = 1 }, 0, `{"alert":{"title":"news","body":"your order"},"sound":"default","thread-id":"7-42","mutable-content":1}`},
	} {
		n := notice()
		c.change(n)
		b, ok := encode(n, c.badge)
		var got struct{ APS json.RawMessage }
		if err := json.Unmarshal(b, &got); err != nil || !ok || !equal(t, got.APS, []byte(c.want)) {
			t.Errorf("%s, want %s", got.APS, c.want)
		}
	}
}

func TestWhatIsTooLongIsCut(t *testing.T) {
	t.Parallel()
	s := apnstest.Start(t)
	c := open(t, configOf(s))
	n := notice()
	n.Text, n.Ext = strings.Repeat("<你好>", 2000), strings.Repeat("&", 500)
	if got := c.Send(t.Context(), n, []string{device(1)}); got[0].Outcome != channel.Sent {
		t.Fatalf("%+v", got)
	}
	b := s.Taken()[0].Payload
	var p payload
	if err := json.Unmarshal(b, &p); err != nil || p.Ext != n.Ext || !strings.HasSuffix(p.APS.Alert.Body, "…") || len(b) < maxPayload-20 {
		t.Errorf("%d bytes: %v, %s", len(b), err, b)
	}
	long := notice()
	long.Ext = strings.Repeat("x", maxPayload)
	if got := c.Send(t.Context(), long, []string{device(1)}); got[0] != (channel.Result{Outcome: channel.Refused, Reason: channel.ReasonTooLong}) {
		t.Errorf("%+v", got)
	}
}

// documented is Apple's table of reasons, with their statuses.
var documented = map[string]int{
	"BadCollapseId": 400, "BadDeviceToken": 400, "BadExpirationDate": 400, "BadMessageId": 400, "BadPriority": 400, "BadTopic": 400,
	"DeviceTokenNotForTopic": 400, "DuplicateHeaders": 400, "IdleTimeout": 400, "InvalidPushType": 400, "MissingDeviceToken": 400,
	"MissingTopic": 400, "PayloadEmpty": 400, "TopicDisallowed": 400, "BadCertificate": 403, "BadCertificateEnvironment": 403,
	"ExpiredProviderToken": 403, "Forbidden": 403, "InvalidProviderToken": 403, "MissingProviderToken": 403,
	"UnrelatedKeyIdInToken": 403, "BadEnvironmentKeyIdInToken": 403, "BadPath": 404, "MethodNotAllowed": 405, "ExpiredToken": 410,
	"Unregistered": 410, "PayloadTooLarge": 413, "TooManyProviderTokenUpdates": 429, "TooManyRequests": 429,
	"InternalServerError": 500, "ServiceUnavailable": 503, "Shutdown": 503,
}

func TestEveryReasonHasAnOutcome(t *testing.T) {
	t.Parallel()
	s := apnstest.Start(t)
	c := open(t, configOf(s))
	if len(outcomes) != len(documented) {
		t.Errorf("%d reasons are known, %d documented", len(outcomes), len(documented))
	}
	for reason, status := range documented {
		f := apnstest.Reason(status, reason)
		f.Header = http.Header{"Retry-After": {"7"}}
		s.Fault(device(1), f)
		want := channel.Result{Outcome: outcomes[reason], Reason: reason}
		if want.Outcome == channel.Later {
			want.After = 7 * time.Second
		}
		if got := c.Send(t.Context(), notice(), []string{device(1)}); got[0] != want {
			t.Errorf("%s became %+v", reason, got[0])
		}
	}
	for status, want := range map[int]channel.Outcome{
		400: channel.Refused, 401: channel.Denied, 403: channel.Denied, 410: channel.Gone, 429: channel.Later, 500: channel.Later, 502: channel.Later,
	} {
		s.Fault(device(1), apnstest.Reason(status, "secret of "+device(1)))
		if got := c.Send(t.Context(), notice(), []string{device(1)}); got[0] != (channel.Result{Outcome: want, Reason: channel.ReasonOther}) {
			t.Errorf("%d became %+v", status, got[0])
		}
	}
	unreachable := channel.Result{Outcome: channel.Later, Reason: channel.ReasonUnreachable}
	for name, f := range map[string]channeltest.Fault{
		"HTML":     {Status: 502, Body: "<html>Bad Gateway"},
		"hang up":  {HangUp: true},
		"redirect": {Status: 302, Header: http.Header{"Location": {"https://example.org/"}}, Body: "<a>"},
		"endless":  {Status: 400, Body: `{"reason":"` + strings.Repeat("x", 1<<20)},
	} {
		s.Fault(device(1), f)
		if got := c.Send(t.Context(), notice(), []string{device(1)}); got[0] != unreachable {
			t.Errorf("%s became %+v", name, got[0])
		}
	}
}

func TestAStallEndsWithTheContext(t *testing.T) {
	t.Parallel()
	s := apnstest.Start(t)
	c := open(t, configOf(s))
	s.Fault(device(2), channeltest.Fault{Stall: true})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan []channel.Result)
	go func() { done <- c.Send(ctx, notice(), []string{device(1), device(2), device(3)}) }()
	<-s.Stalled
	// The stall of one stream is not one of the connection.
	if got := c.Send(t.Context(), notice(), []string{device(4)}); got[0].Outcome != channel.Sent {
		t.Errorf("%+v", got)
	}
	cancel()
	got := <-done
	if got[0].Outcome != channel.Sent || got[1] != (channel.Result{Outcome: channel.Later, Reason: channel.ReasonUnreachable}) || got[2] != got[1] {
		t.Errorf("%+v", got)
	}
}

func TestBadTokensNeverLeave(t *testing.T) {
	t.Parallel()
	s := apnstest.Start(t)
	c := open(t, configOf(s))
	for _, token := range []string{"", "../../x", "abc", "zz", device(1) + "?x=1", "ab/cd", strings.Repeat("ab", 200), "ab\n"} {
		if got := c.Send(t.Context(), notice(), []string{token}); got[0] != (channel.Result{Outcome: channel.Gone, Reason: "BadDeviceToken"}) {
			t.Errorf("%q became %+v", token, got[0])
		}
	}
	if s.Requests() != 0 {
		t.Errorf("%d requests came", s.Requests())
	}
}

func TestAnExpiredProviderTokenIsRenewedOnce(t *testing.T) {
	t.Parallel()
	s := apnstest.Start(t)
	c := open(t, configOf(s))
	send := func(i int) channel.Result { return c.Send(t.Context(), notice(), []string{device(i)})[0] }
	if r := send(1); r.Outcome != channel.Sent {
		t.Fatalf("%+v", r)
	}
	s.Expire()
	// One that is young is not renewed: the clock must be wrong, and Apple refuses to be asked so often.
	if r := send(2); r != (channel.Result{Outcome: channel.Denied, Reason: "ExpiredProviderToken"}) || s.Bearers() != 1 {
		t.Errorf("%+v with %d tokens", r, s.Bearers())
	}
	c.client.Token.IssuedAt -= int64(renewal.Seconds())
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if r := send(i); r.Outcome != channel.Sent {
				t.Errorf("%+v", r)
			}
		})
	}
	all.Wait()
	if s.Bearers() != 2 {
		t.Errorf("%d provider tokens were made", s.Bearers())
	}
}

func TestAWrongKeyIsDenied(t *testing.T) {
	t.Parallel()
	s := apnstest.Start(t)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	config := configOf(s)
	config.KeyFile = channeltest.File(t, "other.p8", apnstest.P8(t, other))
	if got := open(t, config).Send(t.Context(), notice(), []string{device(1)}); got[0] != (channel.Result{Outcome: channel.Denied, Reason: "InvalidProviderToken"}) {
		t.Errorf("%+v", got)
	}
	config = configOf(s)
	config.Topic = "org.example.other"
	if got := open(t, config).Send(t.Context(), notice(), []string{device(1)}); got[0] != (channel.Result{Outcome: channel.Denied, Reason: "TopicDisallowed"}) {
		t.Errorf("%+v", got)
	}
}

// pair is a certificate with its key in one PEM file.
func pair(t *testing.T, until time.Time) (file string, cert *x509.Certificate) {
	t.Helper()
	key, cert := made(t, until)
	content := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
	return channeltest.File(t, "push.pem", append(content, apnstest.P8(t, key)...)), cert
}

// Old exports have ciphers that new ones do not, and the other way round.
func TestACertificateIsReadFromP12(t *testing.T) {
	t.Parallel()
	s := apnstest.Start(t)
	key, cert := made(t, time.Now().Add(time.Hour))
	for name, encoder := range map[string]*pkcs12.Encoder{"old": pkcs12.LegacyRC2, "new": pkcs12.Modern2023} {
		content, err := encoder.Encode(key, cert, []*x509.Certificate{cert}, "password")
		if err != nil {
			t.Fatal(err)
		}
		config := configOf(s)
		config.KeyFile, config.CertificateFile, config.Password = "", channeltest.File(t, "push.P12", content), "password"
		if c, err := New(config); err != nil || len(c.client.HTTPClient.Transport.(answers).TLSClientConfig.Certificates) != 1 {
			t.Errorf("%s: %v", name, err)
		}
		config.Password = "another"
		if _, err := New(config); err == nil || !strings.Contains(err.Error(), "password incorrect") {
			t.Errorf("%s with another password: %v", name, err)
		}
	}
}

func made(t *testing.T, until time.Time) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: apnstest.Topic}, NotAfter: until,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return key, cert
}

func TestACertificateAuthenticates(t *testing.T) {
	t.Parallel()
	s := apnstest.Start(t)
	s.Anonymous = true
	good, cert := pair(t, time.Now().Add(time.Hour))
	bad, _ := pair(t, time.Now().Add(time.Hour))
	trusted := x509.NewCertPool()
	trusted.AddCert(cert)
	s.TLS.ClientCAs, s.TLS.ClientAuth = trusted, tls.RequireAndVerifyClientCert
	config := configOf(s)
	config.KeyFile, config.CertificateFile = "", good
	if got := open(t, config).Send(t.Context(), notice(), []string{device(1)}); got[0].Outcome != channel.Sent {
		t.Errorf("%+v", got)
	}
	if bearer := s.Taken()[0].Bearer; bearer != "" {
		t.Error("a provider token came with the certificate")
	}
	config.CertificateFile = bad
	c, r := open(t, config), channel.Result{Outcome: channel.Later}
	for tries := 0; r.Outcome == channel.Later && tries < 100; tries++ {
		r = c.Send(t.Context(), notice(), []string{device(1)})[0]
	}
	if r != (channel.Result{Outcome: channel.Denied, Reason: "BadCertificate"}) {
		t.Errorf("%+v", r)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	s := apnstest.Start(t)
	over, _ := pair(t, time.Now().Add(-time.Hour))
	for want, change := range map[string]func(*Config){
		"APNs needs the app's topic, which is its bundle ID":             func(c *Config) { c.Topic = "" },
		"APNs needs a key file or a certificate file":                    func(c *Config) { c.KeyFile = "" },
		"APNs takes a key file or a certificate file, not both":          func(c *Config) { c.CertificateFile = "x" },
		"an APNs key file needs its key ID and its team ID":              func(c *Config) { c.KeyID = "" },
		"the APNs badge must not be negative; it is -1":                  func(c *Config) { c.Badge = -1 },
		`"http://example.org" is not https`:                              func(c *Config) { c.URL = "http://example.org" },
		`is no address such as https://host:port`:                        func(c *Config) { c.URL = "https://h/?x" },
		"read the APNs key: open /nowhere":                               func(c *Config) { c.KeyFile = "/nowhere" },
		"it is not the .p8 file of an elliptic curve key":                func(c *Config) { c.KeyFile = c.CAFile },
		"read the APNs certificate: open /nowhere":                       func(c *Config) { c.KeyFile, c.CertificateFile = "", "/nowhere" },
		"read the APNs certificate in " + s.KeyFile + ": no certificate": func(c *Config) { c.KeyFile, c.CertificateFile = "", s.KeyFile },
		"the APNs certificate in " + over + " ended at ":                 func(c *Config) { c.KeyFile, c.CertificateFile = "", over },
		"has no certificate in PEM":                                      func(c *Config) { c.CAFile = s.KeyFile },
	} {
		config := configOf(s)
		change(&config)
		if _, err := New(config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	config := configOf(s)
	config.Password = "secret"
	for _, text := range []string{fmt.Sprint(config), fmt.Sprintf("%+v", config), slog.AnyValue(config).Resolve().String()} {
		if strings.Contains(text, "secret") {
			t.Errorf("a configuration tells its password: %s", text)
		}
	}
	if got := config.Files(); !slices.Equal(got, []string{s.KeyFile, s.CAFile}) {
		t.Errorf("its files are %q", got)
	}
	config.URL = ""
	if c := open(t, config); c.client.Host != "https://api.push.apple.com" {
		t.Error(c.client.Host)
	}
	config.Sandbox = true
	if c := open(t, config); c.client.Host != "https://api.sandbox.push.apple.com" {
		t.Error(c.client.Host)
	}
}

// Behind a Sender what is throttled is tried again, what is gone is not, and a key that is denied is asked about once.
func TestBehindASender(t *testing.T) {
	t.Parallel()
	s := apnstest.Start(t)
	m, err := channel.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	limits := channel.DefaultLimits()
	limits.BackoffMin, limits.BackoffMax = time.Millisecond, 10*time.Millisecond
	var log strings.Builder
	sender := func(config Config) *channel.Sender {
		sender, err := channel.NewSender(channel.SenderConfig{App: 7, Channel: "apns", Limits: limits, Files: config.Files()},
			func() (channel.Channel, error) { return New(config) }, m, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(sender.Close)
		return sender
	}
	busy := apnstest.Reason(429, "TooManyRequests")
	busy.Times = 2
	s.Fault(device(17), busy)
	s.Fault(device(3), apnstest.Reason(410, "Unregistered"))
	s.Fault(device(5), channeltest.Fault{HangUp: true, Times: 1})
	var devices []string
	for i := range 100 {
		devices = append(devices, device(i))
	}
	for i, r := range sender(configOf(s)).Send(t.Context(), notice(), devices) {
		if want := map[bool]channel.Outcome{true: channel.Gone, false: channel.Sent}[i == 3]; r.Outcome != want {
			t.Errorf("%d: %+v", i, r)
		}
	}
	if n := len(s.Taken()); n != 99 {
		t.Errorf("%d notifications were taken", n)
	}
	config := configOf(s)
	config.TeamID = "ANOTHERONE"
	limits.Concurrency = 1
	before := s.Requests()
	for i, r := range sender(config).Send(t.Context(), notice(), devices) {
		if r.Outcome != channel.Denied || r.Reason != "InvalidProviderToken" {
			t.Errorf("%d: %+v", i, r)
		}
	}
	if n := s.Requests() - before; n != 1 {
		t.Errorf("a key that is denied was tried %d times", n)
	}
	if strings.Contains(log.String(), device(0)[:32]) {
		t.Errorf("a token is in the log: %s", log.String())
	}
}

func BenchmarkSend(b *testing.B) {
	s := apnstest.Start(b)
	c := open(b, configOf(s))
	n := notice()
	c.Send(b.Context(), n, []string{device(1)})
	b.ReportAllocs()
	b.ResetTimer()
	b.SetParallelism(32)
	b.RunParallel(func(p *testing.PB) {
		devices := []string{device(1)}
		for p.Next() {
			if r := c.Send(b.Context(), n, devices); r[0].Outcome != channel.Sent {
				b.Errorf("%+v", r)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "notices/s")
}
