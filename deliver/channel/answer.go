package channel

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"
)

// maxRetryAfter bounds what a vendor can ask for, so that a header with a mistake in it does not silence a channel for years.
const maxRetryAfter = 24 * time.Hour

// RetryAfter is how long an HTTP answer asks to be left alone: seconds, or a date, in Retry-After. It is zero when there is
// no such header, or none that can be read.
func RetryAfter(h http.Header) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	if date, err := http.ParseTime(value); err == nil {
		return min(max(time.Until(date), 0), maxRetryAfter)
	}
	return 0
}

// maxAnswer is how much of a vendor's answer is read; all that are documented are far shorter.
const maxAnswer = 1 << 20

// Answer reads the JSON of an answer's body into v, a megabyte of it at most. What follows the value is read too, so that the
// connection can be used again.
func Answer(body io.Reader, v any) error {
	body = io.LimitReader(body, maxAnswer)
	err := json.NewDecoder(body).Decode(v)
	_, _ = io.Copy(io.Discard, body)
	return err
}

// NewTransport is a transport to a vendor: no redirects are followed by clients of it that NewClient makes, and connections
// are kept. caFile, unless empty, is a PEM file of the authorities to trust in place of the system's.
func NewTransport(caFile string) (*http.Transport, error) {
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    10 * time.Second,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    64,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		// A connection that died silently is noticed, and replaced, before many attempts have timed out on it.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second},
	}
	if caFile == "" {
		return t, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("read the authorities to trust: %w", err)
	}
	t.TLSClientConfig.RootCAs = x509.NewCertPool()
	if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read the authorities to trust: %s has no certificate in PEM", caFile)
	}
	return t, nil
}

// NewClient is an HTTP client that follows no redirect: no vendor documents one, and it would take tokens elsewhere.
func NewClient(t http.RoundTripper) *http.Client {
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// BaseURL checks a URL that takes the place of a vendor's own: https, unless it is this machine's, with no query.
func BaseURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return errors.New("it is no address such as https://host:port")
	case u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return fmt.Errorf("%q is no address such as https://host:port", u.Redacted())
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && (u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback()):
		return nil
	}
	return fmt.Errorf("%q is not https: tokens and credentials would be sent in the clear", u.Redacted())
}
