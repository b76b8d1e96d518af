package app_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillon-push/carillon/cmd/internal/app"
	"github.com/carillon-push/carillon/cmd/internal/app/apptest"
	"github.com/carillon-push/carillon/cmd/internal/config"
	"github.com/carillon-push/carillon/pkg/client"
)

// journal is the log of a process, at the level that says most.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// lines are those of the access log.
func (j *journal) lines() []string {
	return regexp.MustCompile(`(?m)^.*level=INFO msg=request .*$`).FindAllString(j.String(), -1)
}

// startLogged runs every role until the test ends, or stop.
func startLogged(t *testing.T, change ...func(*config.Config)) (a *app.App, log *journal, stop func()) {
	t.Helper()
	cfg := apptest.Config(t)
	for _, c := range change {
		c(cfg)
	}
	log = &journal{}
	a, err := app.New(t.Context(), cfg, app.Roles(), slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	wait, end := context.WithTimeout(t.Context(), apptest.Wait)
	defer end()
	if err := a.AwaitReady(wait); err != nil {
		t.Fatal(err)
	}
	return a, log, stop
}

// request sends one request and reads its answer.
func request(t *testing.T, method, address string, body io.Reader, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusSwitchingProtocols { // the body is the session
		return res, ""
	}
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(raw)
}

// command is the path and query of a call of an admin.
func command(t *testing.T, name string) string {
	return "/v4/" + name + "?" + url.Values{
		"sdkappid": {apptest.AppID.String()}, "identifier": {apptest.Admin}, "usersig": {apptest.Sig(t, apptest.Admin)}, "random": {"1"}, "contenttype": {"json"},
	}.Encode()
}

// Whatever a caller sends, and wherever it puts a secret, none is in any line of the log.
func TestNoSecretIsLogged(t *testing.T) {
	t.Parallel()
	a, log, stop := startLogged(t, func(c *config.Config) { c.Log.Access = "all" })
	const secret = "eJwtzM0-S3cr3tS3cr3tS3cr3tS3cr3tS3cr3tS3cr3t_"
	sig := apptest.Sig(t, apptest.Admin)
	user := apptest.Sig(t, "u")
	good := command(t, "im_open_login_svc/account_import")
	for _, c := range []struct{ method, path, body string }{
		{"POST", good, `{"UserID":"` + secret[:30] + `"}`},
		{"POST", good, `{"UserID":{"` + secret + `":1}}`},
		{"POST", good, secret},
		{"POST", good + "&Signature=" + secret, `{}`},
		{"GET", good, ``},
		{"POST", strings.Replace(good, "?", "%3F", 1), `{}`},
		{"POST", strings.Replace(good, "?", "&", 1), `{}`},
		{"POST", "/v4/all_member_push/im_push?usersig=" + secret, `{}`},
		{"POST", "/v4/all_member_push/im_push?sdkappid=" + secret + "&identifier=" + secret + "&usersig=" + secret, `{}`},
		{"POST", "/v4/all_member_push/im_push?sdkappid=1400000001&identifier=" + apptest.Admin + "&usersig=" + secret, `{}`},
		{"POST", "/v4/all_member_push/im_push?sdkappid=1400000001;usersig=" + secret, `{}`},
		{"POST", "/v4/all_member_push/im_push?usersig=%zz" + secret, `{}`},
		{"POST", "/v4/all_member_push/im_push?random=" + secret, `{}`},
		{"GET", "/metrics?usersig=" + secret, ``},
		{"GET", "/nowhere?usersig=" + secret, ``},
	} {
		request(t, c.method, a.URL()+c.path, strings.NewReader(c.body), "Authorization", "Bearer "+secret, "X-Request-Id", "usersig="+secret, "Cookie", "s="+secret, "Origin", "https://"+secret)
	}
	for _, path := range []string{"/v1/session?sdkappid=1400000001&identifier=u&usersig=" + secret, "/v1/session?sdkappid=1400000001&identifier=u&usersig=" + user} {
		request(t, "GET", "http"+strings.TrimPrefix(a.SessionsURL(), "ws")+path, nil, "Authorization", secret,
			"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "c2VjcmV0c2VjcmV0c2VjMA==")
	}
	for _, raw := range []string{"POST " + secret + " HTTP/1.1\r\n\r\n", secret + " / HTTP/1.1\r\nHost: x\r\n\r\n", "GET / HTTP/1.1\r\n" + secret + "\r\n\r\n", "\x16\x03\x01" + secret + "\r\n\r\n"} {
		for _, address := range []string{a.URL(), "http" + strings.TrimPrefix(a.SessionsURL(), "ws")} {
			c := dial(t, address)
			_, _ = io.WriteString(c, raw)
			_ = c.(*net.TCPConn).CloseWrite() // so that the other side ends too
			_, _ = io.ReadAll(c)
		}
	}
	stop()
	all := log.String()
	for _, s := range []string{secret, secret[:30], sig, user, url.QueryEscape(sig), apptest.Key} {
		if i := strings.Index(all, s); i >= 0 {
			t.Errorf("%q is in the log: …%s…", s, all[max(0, i-200):min(len(all), i+200)])
		}
	}
	if n := len(log.lines()); n < 15 {
		t.Errorf("the log has %d lines of requests:\n%s", n, all)
	}
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(address, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(apptest.Wait)); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAccessLog(t *testing.T) {
	t.Parallel()
	for access, want := range map[string]int{"all": 4, "failures": 3, "off": 0} {
		t.Run(access, func(t *testing.T) {
			t.Parallel()
			a, log, stop := startLogged(t, func(c *config.Config) { c.Log.Access = access })
			path := command(t, "im_open_login_svc/account_import")
			request(t, "POST", a.URL()+path, strings.NewReader(`{"UserID":"u"}`), "X-Request-Id", "good")
			request(t, "POST", a.URL()+path, strings.NewReader(`[]`), "X-Request-Id", "bad")
			request(t, "POST", a.URL()+"/v4/a/b\"c", nil, "X-Request-Id", "odd")
			request(t, "GET", a.URL()+"/nowhere", nil, "X-Request-Id", "lost")
			stop()
			lines := log.lines()
			if len(lines) != want {
				t.Fatalf("%d lines, want %d:\n%s", len(lines), want, strings.Join(lines, "\n"))
			}
			all := strings.Join(lines, "\n")
			for _, l := range map[string][]string{
				"off":      {},
				"failures": {`path=/v4/im_open_login_svc/account_import status=200 code=[67]\d{4} bytes=\d+ took=\S+ remote=127.0.0.1:\d+ sdkappid=1400000001 identifier=administrator request_id=bad`, `path=/v4/a/b… status=200 code=60009 .* request_id=odd`, `method=GET path=/nowhere status=404 code=0 .* request_id=lost`},
				"all":      {`method=POST path=/v4/im_open_login_svc/account_import status=200 code=0 .* request_id=good`},
			}[access] {
				if !regexp.MustCompile(l).MatchString(all) {
					t.Errorf("no line is like %s:\n%s", l, all)
				}
			}
		})
	}
}

// A body is read up to the limit, whether or not its length was said before.
func TestBodiesAreBounded(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	path := command(t, "im_open_login_svc/account_import")
	limit := int(config.Default().HTTP.BodyLimit)
	full := `{"UserID":"u"}` + strings.Repeat(" ", limit-len(`{"UserID":"u"}`))
	for _, c := range []struct {
		body   io.Reader
		status int
		code   string
	}{
		{strings.NewReader(full), http.StatusOK, `"ErrorCode":0`},
		{strings.NewReader(full + " "), http.StatusRequestEntityTooLarge, `"ErrorCode":93000`},
		{io.MultiReader(strings.NewReader(full)), http.StatusOK, `"ErrorCode":0`}, // of a length that is not known: chunked
		{io.MultiReader(strings.NewReader(full + " ")), http.StatusRequestEntityTooLarge, `"ErrorCode":93000`},
	} {
		if res, body := request(t, "POST", s.URL()+path, c.body); res.StatusCode != c.status || !strings.Contains(body, c.code) {
			t.Errorf("HTTP %d %s, want %d and %s", res.StatusCode, body, c.status, c.code)
		}
	}

	// A body without an end is answered, and its connection closed.
	c := dial(t, s.URL())
	go func() {
		_, err := fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", path)
		for chunk := "2000\r\n" + strings.Repeat(" ", 0x2000) + "\r\n"; err == nil; {
			_, err = io.WriteString(c, chunk)
		}
	}()
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || res.StatusCode != http.StatusRequestEntityTooLarge || !res.Close {
		t.Errorf("an endless body: %+v, %v", res, err)
	}
}

// A body that does not come is not waited for.
func TestSlowBodiesAreCutOff(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, func(c *config.Config) { c.HTTP.ReadTimeout = 200 * time.Millisecond })
	c := dial(t, s.URL())
	if _, err := fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", command(t, "im_open_login_svc/account_import")); err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(c)
	if err != nil || !strings.Contains(string(raw), "broke off") {
		t.Errorf("%q, %v", raw, err)
	}
}

func TestCORSIsOffUnlessOriginsAreNamed(t *testing.T) {
	t.Parallel()
	const ours, theirs = "https://console.example", "https://elsewhere.example"
	off := apptest.Start(t)
	on := apptest.Start(t, func(c *config.Config) { c.HTTP.CORSOrigins = "http://localhost:3000, " + ours })
	all := apptest.Start(t, func(c *config.Config) { c.HTTP.CORSOrigins = "*" })
	for _, c := range []struct {
		s            *apptest.System
		origin, want string
	}{{off, ours, ""}, {on, ours, ours}, {on, theirs, ""}, {on, "null", ""}, {all, theirs, "*"}} {
		for _, method := range []string{"OPTIONS", "POST"} {
			res, _ := request(t, method, c.s.URL()+command(t, "im_open_login_svc/account_check"), strings.NewReader("{}"),
				"Origin", c.origin, "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "content-type")
			if got := res.Header.Get("Access-Control-Allow-Origin"); got != c.want {
				t.Errorf("%s from %s: allowed is %q, want %q", method, c.origin, got, c.want)
			}
			if c.want != "" && method == "OPTIONS" && (res.StatusCode != http.StatusNoContent || !strings.Contains(res.Header.Get("Access-Control-Allow-Methods"), "POST")) {
				t.Errorf("a preflight is answered with HTTP %d, %v", res.StatusCode, res.Header)
			}
			if got := res.Header.Get("Access-Control-Allow-Credentials"); got != "" {
				t.Errorf("credentials: %q", got)
			}
		}
	}
}

func TestAdminListener(t *testing.T) {
	t.Parallel()
	apart := apptest.Start(t, func(c *config.Config) { c.Admin.Listen = "127.0.0.1:0" })
	together := apptest.Start(t)
	nats := apptest.StartNATS(t)
	cfg := apptest.Config(t)
	cfg.NATS.URL, cfg.Admin.Listen = nats, "127.0.0.1:0"
	alone := apptest.StartRoles(t, cfg, app.Matcher)
	if alone.URL() != "" || alone.SessionsURL() != "" {
		t.Errorf("a matcher listens at %q and %q", alone.URL(), alone.SessionsURL())
	}
	status := func(base, path string) int {
		res, _ := request(t, "GET", base+path, nil)
		return res.StatusCode
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		for base, want := range map[string]int{apart.URL(): 404, apart.AdminURL(): 200, alone.AdminURL(): 200, together.URL(): 200} {
			if got := status(base, path); got != want {
				t.Errorf("%s%s: HTTP %d, want %d", base, path, got, want)
			}
		}
	}
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/goroutine", "/debug/pprof/profile?seconds=1"} {
		for base, want := range map[string]int{apart.URL(): 404, apart.AdminURL(): 200, together.URL(): 404} {
			if got := status(base, path); got != want {
				t.Errorf("%s%s: HTTP %d, want %d", base, path, got, want)
			}
		}
	}
	if got := status(apart.AdminURL(), "/debug/pprof/cmdline"); got != 404 {
		t.Errorf("the command line, in which a flag may be a secret, is shown: HTTP %d", got)
	}
	if got := status(apart.AdminURL(), "/v4/a/b"); got != 404 {
		t.Errorf("the admin listener answers for REST: HTTP %d", got)
	}
	if _, body := request(t, "GET", apart.AdminURL()+"/metrics", nil); !strings.Contains(body, `carillon_http_connections{listener="rest"}`) {
		t.Error("the listeners have no metrics")
	}
}

// Files that are no certificate stop the start; a session's path and its probes go on as they are.
func TestHTTPSNeedsGoodFiles(t *testing.T) {
	t.Parallel()
	cfg := apptest.Config(t)
	cfg.HTTP.TLSCert, cfg.HTTP.TLSKey = cfg.Data+"/no.pem", cfg.Data+"/no.key"
	a, err := app.New(t.Context(), cfg, app.Roles(), slog.New(slog.DiscardHandler))
	if err == nil {
		a.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "http.tls_cert") || !strings.Contains(err.Error(), "no.key") {
		t.Errorf("started with %v", err)
	}
}

func TestHTTPS(t *testing.T) {
	t.Parallel()
	of := httptest.NewUnstartedServer(nil) // for its certificate
	of.StartTLS()
	pair := of.TLS.Certificates[0]
	of.Close()
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	s := apptest.Start(t, func(c *config.Config) {
		c.HTTP.TLSCert, c.HTTP.TLSKey = filepath.Join(c.Data, "cert.pem"), filepath.Join(c.Data, "key.pem")
		for path, b := range map[string]pem.Block{
			c.HTTP.TLSCert: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, c.HTTP.TLSKey: {Type: "PRIVATE KEY", Bytes: key},
		} {
			if err := os.WriteFile(path, pem.EncodeToMemory(&b), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	})
	if !strings.HasPrefix(s.URL(), "https://") || s.AdminURL() != s.URL() {
		t.Errorf("REST is at %s, the probes at %s", s.URL(), s.AdminURL())
	}
	s.REST.HTTP = s.Client()
	t.Cleanup(s.REST.HTTP.CloseIdleConnections)
	s.Import("u")
	u := s.Dial("u")
	s.Push(apptest.Text("over TLS", 0, nil))
	if text, _ := u.Push(); text != "over TLS" {
		t.Errorf("got %q", text)
	}
	// Whoever does not trust the certificate is no worse off than with any other server.
	if err := (&client.REST{URL: s.URL(), App: apptest.AppID, Admin: apptest.Admin, Key: apptest.Key}).Call(t.Context(), "x/y", nil, nil); err == nil {
		t.Error("a client without trust called")
	}
}

// Sessions have a limit of their own: that on handshakes is for who has not logged in.
func TestSessionsAreNoHandshakes(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, func(c *config.Config) { c.Sessions.MaxHandshakes = 1 })
	for i := range 3 {
		s.Dial(fmt.Sprint("u", i))
	}
	idle := dial(t, "http://"+strings.TrimPrefix(s.SessionsURL(), "ws://"))
	refused := dial(t, "http://"+strings.TrimPrefix(s.SessionsURL(), "ws://"))
	// The listener takes them in their order: when the second is closed, the first is counted.
	if _, err := refused.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("one handshake too many: %v", err)
	}
	if _, err := fmt.Fprint(idle, "GET /v1/session HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if raw, err := io.ReadAll(idle); err != nil || !strings.HasPrefix(string(raw), "HTTP/1.1 403 ") {
		t.Errorf("%q, %v", raw, err)
	}
}
