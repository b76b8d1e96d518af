package fcm

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/carillon-push/carillon/deliver/channel"
	"github.com/carillon-push/carillon/deliver/channel/channeltest"
	"github.com/carillon-push/carillon/deliver/channel/fcm/fcmtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func notice() *channel.Notice {
	return &channel.Notice{Task: "7-42", Seq: 42, Title: "news", Text: "your order", Ext: `{"order":9}`, Expire: time.Now().Add(time.Hour)}
}

func configOf(s *fcmtest.Server) Config {
	return Config{CredentialsFile: s.AccountFile, URL: s.URL, CAFile: s.CAFile}
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
	s := fcmtest.Start(t)
	c := open(t, configOf(s))
	n := notice()
	n.Android = channel.Android{Sound: "bell.mp3", GoogleChannelID: "orders"}
	got := c.Send(t.Context(), n, []string{`a "token"`, "b"})
	if want := []channel.Result{{Outcome: channel.Sent, ID: "projects/carillon-test/messages/1"}, {Outcome: channel.Sent, ID: "projects/carillon-test/messages/2"}}; !slices.Equal(got, want) {
		t.Fatalf("%+v", got)
	}
	m := s.Taken()[0]
	if m.Token != `a "token"` || m.Notification.Title != "news" || m.Notification.Body != "your order" || m.Android.Priority != "HIGH" ||
		m.Android.Notification.ChannelID != "orders" || m.Android.Notification.Sound != "bell.mp3" || m.Android.Notification.Tag != "7-42" ||
		!maps.Equal(m.Data, map[string]string{"task": "7-42", "seq": "42", "ext": `{"order":9}`}) {
		t.Errorf("%+v", m)
	}
	if ttl, err := time.ParseDuration(m.Android.TTL); err != nil || ttl > time.Hour || ttl < 55*time.Minute {
		t.Errorf("its lifetime is %s", m.Android.TTL)
	}
	if s.Grants() != 1 {
		t.Errorf("%d access tokens were given", s.Grants())
	}
	plain := notice()
	plain.Ext, plain.Expire = "", time.Time{}
	c.Send(t.Context(), plain, []string{"c"})
	if m := s.Taken()[2]; m.Android.TTL != "" || m.Android.Notification.Sound != "default" || m.Android.Notification.ChannelID != "" || len(m.Data) != 2 {
		t.Errorf("%+v", m)
	}
}

func TestWhatIsTooLongIsCut(t *testing.T) {
	t.Parallel()
	s := fcmtest.Start(t)
	c := open(t, configOf(s))
	n := notice()
	n.Text, n.Ext = strings.Repeat("你好", 2000), strings.Repeat("x", 3000)
	if got := c.Send(t.Context(), n, []string{"a"}); got[0].Outcome != channel.Sent {
		t.Fatalf("%+v", got)
	}
	if m := s.Taken()[0]; m.Data["ext"] != n.Ext || !strings.HasSuffix(m.Notification.Body, "…") || len(m.Notification.Body) < 700 {
		t.Errorf("%+v", m)
	}
	long := notice()
	long.Ext = strings.Repeat("x", maxMessage)
	if got := c.Send(t.Context(), long, []string{"a"}); got[0] != (channel.Result{Outcome: channel.Refused, Reason: channel.ReasonTooLong}) {
		t.Errorf("%+v", got)
	}
}

func TestEveryErrorHasAnOutcome(t *testing.T) {
	t.Parallel()
	s := fcmtest.Start(t)
	c := open(t, configOf(s))
	const notAToken = "The registration token is not a valid FCM registration token"
	wait := http.Header{"Retry-After": {"7"}}
	for name, e := range map[string]struct {
		fault  channeltest.Fault
		header http.Header
		want   channel.Result
	}{
		"unregistered": {fault: fcmtest.Error(404, "NOT_FOUND", "Requested entity was not found.", fcmtest.Detail("UNREGISTERED")),
			want: channel.Result{Outcome: channel.Gone, Reason: "UNREGISTERED"}},
		"no token, by message": {fault: fcmtest.Error(400, "INVALID_ARGUMENT", notAToken, fcmtest.Detail("INVALID_ARGUMENT")),
			want: channel.Result{Outcome: channel.Gone, Reason: "INVALID_ARGUMENT"}},
		"no token, by field": {fault: fcmtest.Error(400, "INVALID_ARGUMENT", "x", fcmtest.Detail("INVALID_ARGUMENT"), fcmtest.Violation("message.token")),
			want: channel.Result{Outcome: channel.Gone, Reason: "INVALID_ARGUMENT"}},
		"another field": {fault: fcmtest.Error(400, "INVALID_ARGUMENT", notAToken, fcmtest.Violation("message.data[0].value")),
			want: channel.Result{Outcome: channel.Refused, Reason: "INVALID_ARGUMENT"}},
		"invalid": {fault: fcmtest.Error(400, "INVALID_ARGUMENT", "Request contains an invalid argument.", fcmtest.Detail("INVALID_ARGUMENT")),
			want: channel.Result{Outcome: channel.Refused, Reason: "INVALID_ARGUMENT"}},
		"sender": {fault: fcmtest.Error(403, "PERMISSION_DENIED", "SenderId mismatch", fcmtest.Detail("SENDER_ID_MISMATCH")),
			want: channel.Result{Outcome: channel.Refused, Reason: "SENDER_ID_MISMATCH"}},
		"quota": {fault: fcmtest.Error(429, "RESOURCE_EXHAUSTED", "Quota exceeded", fcmtest.Detail("QUOTA_EXCEEDED")),
			want: channel.Result{Outcome: channel.Later, Reason: "QUOTA_EXCEEDED", After: time.Minute}},
		"quota, until": {fault: fcmtest.Error(429, "RESOURCE_EXHAUSTED", "Quota exceeded", fcmtest.Detail("QUOTA_EXCEEDED")), header: wait,
			want: channel.Result{Outcome: channel.Later, Reason: "QUOTA_EXCEEDED", After: 7 * time.Second}},
		"exhausted": {fault: fcmtest.Error(429, "RESOURCE_EXHAUSTED", "Too many"),
			want: channel.Result{Outcome: channel.Later, Reason: "RESOURCE_EXHAUSTED", After: time.Minute}},
		"unavailable": {fault: fcmtest.Error(503, "UNAVAILABLE", "busy", fcmtest.Detail("UNAVAILABLE")), header: wait,
			want: channel.Result{Outcome: channel.Later, Reason: "UNAVAILABLE", After: 7 * time.Second}},
		"internal": {fault: fcmtest.Error(500, "INTERNAL", "oops", fcmtest.Detail("INTERNAL")),
			want: channel.Result{Outcome: channel.Later, Reason: "INTERNAL"}},
		"unspecified": {fault: fcmtest.Error(500, "INTERNAL", "oops", fcmtest.Detail("UNSPECIFIED_ERROR")),
			want: channel.Result{Outcome: channel.Later, Reason: "INTERNAL"}},
		"third party": {fault: fcmtest.Error(401, "UNAUTHENTICATED", "Auth error from APNS or Web Push Service", fcmtest.Detail("THIRD_PARTY_AUTH_ERROR")),
			want: channel.Result{Outcome: channel.Refused, Reason: "THIRD_PARTY_AUTH_ERROR"}},
		"unauthenticated": {fault: fcmtest.Error(401, "UNAUTHENTICATED", "invalid authentication credentials"),
			want: channel.Result{Outcome: channel.Denied, Reason: "UNAUTHENTICATED"}},
		"permission": {fault: fcmtest.Error(403, "PERMISSION_DENIED", "Permission denied on resource project"),
			want: channel.Result{Outcome: channel.Denied, Reason: "PERMISSION_DENIED"}},
		"not found": {fault: fcmtest.Error(404, "NOT_FOUND", "x"),
			want: channel.Result{Outcome: channel.Refused, Reason: "NOT_FOUND"}},
		"a new code": {fault: fcmtest.Error(400, "SECRET", "x", fcmtest.Detail("SECRET")),
			want: channel.Result{Outcome: channel.Refused, Reason: channel.ReasonOther}},
		"a new code later": {fault: fcmtest.Error(504, "NEW", "x"),
			want: channel.Result{Outcome: channel.Later, Reason: channel.ReasonOther}},
		"a proxy's": {fault: channeltest.Fault{Status: 502, Body: "<html>"}, header: wait,
			want: channel.Result{Outcome: channel.Later, Reason: channel.ReasonUnreachable, After: 7 * time.Second}},
		"hang up": {fault: channeltest.Fault{HangUp: true},
			want: channel.Result{Outcome: channel.Later, Reason: channel.ReasonUnreachable}},
		"redirect": {fault: channeltest.Fault{Status: 307}, header: http.Header{"Location": {"/elsewhere"}},
			want: channel.Result{Outcome: channel.Later, Reason: channel.ReasonUnreachable}},
	} {
		e.fault.Header = e.header
		s.Fault("token", e.fault)
		if got := c.Send(t.Context(), notice(), []string{"token"}); got[0] != e.want {
			t.Errorf("%s became %+v, want %+v", name, got[0], e.want)
		}
	}
}

func TestAnAccessTokenIsRenewed(t *testing.T) {
	t.Parallel()
	s := fcmtest.Start(t)
	c := open(t, configOf(s))
	n := notice()
	var all sync.WaitGroup
	for range 20 { // who need one at a time share it
		all.Go(func() {
			if got := c.Send(t.Context(), n, []string{"a"}); got[0].Outcome != channel.Sent {
				t.Errorf("%+v", got)
			}
		})
	}
	all.Wait()
	first := s.Grants()
	if first != 1 {
		t.Errorf("%d access tokens were given to twenty at a time", first)
	}
	s.Expire()
	if got := c.Send(t.Context(), n, []string{"a"}); got[0].Outcome != channel.Sent || s.Grants() != first+1 {
		t.Errorf("%+v with %d access tokens", got, s.Grants())
	}
	// One that is about to end is not used.
	s.Lifetime = time.Second
	s.Expire()
	c.Send(t.Context(), n, []string{"a"})
	before := s.Grants()
	if got := c.Send(t.Context(), n, []string{"a"}); got[0].Outcome != channel.Sent || s.Grants() != before+1 {
		t.Errorf("%+v with %d access tokens", got, s.Grants()-before)
	}
}

func TestNoAccessToken(t *testing.T) {
	t.Parallel()
	s := fcmtest.Start(t)
	for name, e := range map[string]struct {
		fault channeltest.Fault
		want  channel.Result
	}{
		"a wrong key": {channeltest.Fault{Status: 400, Body: `{"error":"invalid_grant","error_description":"Invalid JWT Signature."}`},
			channel.Result{Outcome: channel.Denied, Reason: "invalid_grant"}},
		"a new error": {channeltest.Fault{Status: 403, Body: `{"error":"secret"}`}, channel.Result{Outcome: channel.Denied, Reason: channel.ReasonOther}},
		"busy": {channeltest.Fault{Status: 503, Header: http.Header{"Retry-After": {"7"}}, Body: `{"error":"invalid_grant"}`},
			channel.Result{Outcome: channel.Later, Reason: channel.ReasonUnreachable, After: 7 * time.Second}},
		"hang up": {channeltest.Fault{HangUp: true}, channel.Result{Outcome: channel.Later, Reason: channel.ReasonUnreachable}},
		"no JSON": {channeltest.Fault{Status: 200, Body: `<html>`}, channel.Result{Outcome: channel.Later, Reason: channel.ReasonUnreachable}},
	} {
		s.Fault(fcmtest.TokenPath, e.fault)
		c := open(t, configOf(s))
		if got := c.Send(t.Context(), notice(), []string{"a"}); got[0] != e.want {
			t.Errorf("%s became %+v, want %+v", name, got[0], e.want)
		}
		if err := c.Check(t.Context()); err == nil || !strings.HasSuffix(err.Error(), ": "+e.want.Reason) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.Clear()
	if err := open(t, configOf(s)).Check(t.Context()); err != nil {
		t.Error(err)
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	config := configOf(s)
	config.CredentialsFile = channeltest.File(t, "other.json", s.Account(t, other))
	if got := open(t, config).Send(t.Context(), notice(), []string{"a"}); got[0] != (channel.Result{Outcome: channel.Denied, Reason: "invalid_grant"}) {
		t.Errorf("%+v", got)
	}
}

func TestAStallEndsWithTheContext(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"slow", fcmtest.TokenPath} {
		s := fcmtest.Start(t)
		c := open(t, configOf(s))
		s.Fault(key, channeltest.Fault{Stall: true})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan []channel.Result)
		go func() { done <- c.Send(ctx, notice(), []string{"slow"}) }()
		<-s.Stalled
		cancel()
		if got := <-done; got[0] != (channel.Result{Outcome: channel.Later, Reason: channel.ReasonUnreachable}) {
			t.Errorf("%+v", got)
		}
		s.CloseClientConnections() // the request for an access token goes on without its caller
	}
}

// Behind a Sender what is throttled is tried again, and what is gone is not.
func TestBehindASender(t *testing.T) {
	t.Parallel()
	s := fcmtest.Start(t)
	m, err := channel.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	limits := channel.DefaultLimits()
	limits.BackoffMin, limits.BackoffMax = time.Millisecond, 10*time.Millisecond
	config := configOf(s)
	var log strings.Builder
	sender, err := channel.NewSender(channel.SenderConfig{App: 7, Channel: "fcm", Limits: limits, Files: config.Files()},
		func() (channel.Channel, error) { return New(config) }, m, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sender.Close)
	if err := sender.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	busy := fcmtest.Error(503, "UNAVAILABLE", "busy", fcmtest.Detail("UNAVAILABLE"))
	busy.Times = 2
	s.Fault("secret-17", busy)
	s.Fault("secret-3", fcmtest.Error(404, "NOT_FOUND", "x", fcmtest.Detail("UNREGISTERED")))
	var tokens []string
	for i := range 100 {
		tokens = append(tokens, fmt.Sprint("secret-", i))
	}
	for i, r := range sender.Send(t.Context(), notice(), tokens) {
		if want := map[bool]channel.Outcome{true: channel.Gone, false: channel.Sent}[i == 3]; r.Outcome != want {
			t.Errorf("%d: %+v", i, r)
		}
	}
	if n := len(s.Taken()); n != 99 {
		t.Errorf("%d messages were taken", n)
	}
	if strings.Contains(log.String(), "secret") {
		t.Errorf("a token is in the log: %s", log.String())
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	s := fcmtest.Start(t)
	account := func(change func(map[string]string)) string {
		var a map[string]string
		key, err := fcmtest.Key()
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(s.Account(t, key), &a); err != nil {
			t.Fatal(err)
		}
		change(a)
		b, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		return channeltest.File(t, "account.json", b)
	}
	for want, change := range map[string]func(*Config){
		"FCM needs the key file of a service account":                  func(c *Config) { c.CredentialsFile = "" },
		`the FCM project must be an ID such as my-app-1234, not "a/b"`: func(c *Config) { c.Project = "a/b" },
		`the FCM URL cannot be used: "ftp://x" is not https`:           func(c *Config) { c.URL = "ftp://x" },
		"read the FCM service account: open /nowhere":                  func(c *Config) { c.CredentialsFile = "/nowhere" },
		"it is not JSON": func(c *Config) { c.CredentialsFile = c.CAFile },
		`its type is "authorized_user", not service_account`: func(c *Config) {
			c.CredentialsFile = account(func(a map[string]string) { a["type"] = "authorized_user" })
		},
		"it has no client_email": func(c *Config) { c.CredentialsFile = account(func(a map[string]string) { delete(a, "client_email") }) },
		"it has no project_id":   func(c *Config) { c.CredentialsFile = account(func(a map[string]string) { a["project_id"] = "../x" }) },
		"its private_key is no RSA key in PEM": func(c *Config) {
			c.CredentialsFile = account(func(a map[string]string) { a["private_key"] = "secret" })
		},
		`its token_uri cannot be used: "http://x/token" is not https`: func(c *Config) {
			c.CredentialsFile = account(func(a map[string]string) { a["token_uri"] = "http://x/token" })
		},
	} {
		config := configOf(s)
		change(&config)
		if _, err := New(config); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v, want %q", err, want)
		}
	}
	config := configOf(s)
	if got := config.Files(); !slices.Equal(got, []string{s.AccountFile, s.CAFile}) {
		t.Errorf("its files are %q", got)
	}
	config.Project, config.URL = "another", ""
	if c := open(t, config); c.url != "https://fcm.googleapis.com/v1/projects/another/messages:send" {
		t.Error(c.url)
	}
}

func BenchmarkSend(b *testing.B) {
	s := fcmtest.Start(b)
	c := open(b, configOf(s))
	n := notice()
	c.Send(b.Context(), n, []string{"token"})
	b.ReportAllocs()
	b.ResetTimer()
	b.SetParallelism(32)
	b.RunParallel(func(p *testing.PB) {
		tokens := []string{"token"}
		for p.Next() {
			if r := c.Send(b.Context(), n, tokens); r[0].Outcome != channel.Sent {
				b.Errorf("%+v", r)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "notices/s")
}
