package app_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/carillon-push/carillon/cmd/internal/app"
	"github.com/carillon-push/carillon/cmd/internal/app/apptest"
	"github.com/carillon-push/carillon/cmd/internal/config"
)

// secured puts sessions behind TLS, with a certificate of its own.
func secured(t *testing.T) func(*config.Config) {
	t.Helper()
	of := httptest.NewUnstartedServer(nil) // for its certificate
	of.StartTLS()
	pair := of.TLS.Certificates[0]
	of.Close()
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return func(c *config.Config) {
		c.Sessions.TLSCert, c.Sessions.TLSKey = filepath.Join(c.Data, "sessions.pem"), filepath.Join(c.Data, "sessions.key")
		for path, b := range map[string]pem.Block{
			c.Sessions.TLSCert: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, c.Sessions.TLSKey: {Type: "PRIVATE KEY", Bytes: key},
		} {
			if err := os.WriteFile(path, pem.EncodeToMemory(&b), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A session over TLS is a session: it logs in, gets pushes live and kept, and is told when the process stops.
func TestSessionsOverTLS(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, secured(t))
	if !strings.HasPrefix(s.SessionsURL(), "wss://") || !strings.HasPrefix(s.URL(), "http://") {
		t.Errorf("sessions are at %s, REST at %s", s.SessionsURL(), s.URL())
	}
	hc := s.Client()
	t.Cleanup(hc.CloseIdleConnections)
	s.REST.HTTP = hc
	s.Import("u")
	s.Push(apptest.Text("kept", 3600, nil))
	ctx, cancel := context.WithTimeout(t.Context(), apptest.Wait)
	defer cancel()
	q := url.Values{"sdkappid": {apptest.AppID.String()}, "identifier": {"u"}, "usersig": {apptest.Sig(t, "u")}}
	c, _, err := websocket.Dial(ctx, s.SessionsURL()+"/v1/session?"+q.Encode(), &websocket.DialOptions{HTTPClient: hc})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.CloseNow() }()
	expect := func(what string) {
		t.Helper()
		if _, b, err := c.Read(ctx); err != nil || !strings.Contains(string(b), what) {
			t.Fatalf("got %q, %v; want %q", b, err, what)
		}
	}
	expect(`"t":"hello"`)
	expect("kept")
	s.Push(apptest.Text("live", 0, nil))
	expect("live")
	told := make(chan error, 1)
	go func() {
		_, _, err := c.Read(ctx)
		told <- err
	}()
	s.Stop()
	if err := <-told; websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the session ended with %v", err)
	}
}

// Whoever does not trust the certificate is no worse off than elsewhere, and old versions are not spoken.
func TestSessionsOverTLSAreRefused(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, secured(t))
	base := strings.Replace(s.SessionsURL(), "wss", "https", 1)
	if res, err := http.Get(base); err == nil {
		_ = res.Body.Close()
		t.Error("a client without trust called")
	}
	hc := s.Client()
	t.Cleanup(hc.CloseIdleConnections)
	res, err := hc.Get(base + "/v1/session")
	if err != nil {
		t.Fatal(err)
	}
	if _ = res.Body.Close(); res.StatusCode != http.StatusForbidden || res.TLS == nil || res.TLS.NegotiatedProtocol == "h2" {
		t.Errorf("answered with %v", res)
	}
	old := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	if c, err := tls.Dial("tcp", strings.TrimPrefix(base, "https://"), old); err == nil {
		_ = c.Close()
		t.Error("TLS 1.1 was spoken")
	}
}

// A client that does not finish its handshake is cut after the time that it has for its request, like one that says nothing.
func TestHalfAHandshakeIsCut(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, secured(t), func(c *config.Config) { c.Sessions.HandshakeTimeout = 200 * time.Millisecond })
	hello := clientHello(t)
	for name, sent := range map[string][]byte{"nothing": nil, "half a ClientHello": hello[:len(hello)/2], "a whole one": hello} {
		c, err := net.Dial("tcp", strings.TrimPrefix(s.SessionsURL(), "wss://"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		if _, err := c.Write(sent); err != nil {
			t.Fatal(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(apptest.Wait))
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: it is still open", name)
		}
	}
}

// clientHello is the first record of a handshake.
func clientHello(t *testing.T) []byte {
	t.Helper()
	near, far := net.Pipe()
	defer func() { _ = far.Close() }()
	go func() {
		_ = tls.Client(near, &tls.Config{ServerName: "x"}).HandshakeContext(t.Context()) // ends with the pipe
		_ = near.Close()
	}()
	b := make([]byte, 16<<10)
	n, err := far.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

// A sessions' certificate that cannot be used is an error at the start, which names its keys.
func TestSessionsCertificateMustBeGood(t *testing.T) {
	t.Parallel()
	cfg := apptest.Config(t)
	cfg.Sessions.TLSCert, cfg.Sessions.TLSKey = filepath.Join(cfg.Data, "no.pem"), filepath.Join(cfg.Data, "no.key")
	_, err := app.New(t.Context(), cfg, app.Roles(), slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "sessions.tls_cert") || !strings.Contains(err.Error(), "no.key") {
		t.Errorf("it started with %v", err)
	}
}
