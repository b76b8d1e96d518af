// Package vendorhttp is what the channels of the vendors with an HTTP interface of their own share: posting with bounded
// answers, access tokens that are renewed before they end, batches of tokens, verdicts by documented code, and messages cut to a
// vendor's limit. It knows no vendor.
//
// Nothing here logs, and no error, reason or verdict carries a token or a secret: what comes out are codes of closed sets.
package vendorhttp

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/carillon-push/carillon/deliver/channel"
)

// DefaultTimeout bounds one request, from dialling to the answer's last byte.
const DefaultTimeout = 10 * time.Second

// maxAnswer is what is read of an answer. The longest documented one names each of a thousand tokens with an error.
const maxAnswer = 1 << 20

// Client posts to one vendor over connections that it keeps. It is safe for concurrent use.
type Client struct{ http http.Client }

// NewClient bounds each request by timeout. It honours the environment's proxy variables.
func NewClient(timeout time.Duration) *Client {
	return &Client{http: http.Client{
		Timeout: timeout,
		// A redirect would carry credentials to whoever the answer names.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			ForceAttemptHTTP2:     true,
			TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:   5 * time.Second,
			ExpectContinueTimeout: time.Second,
			MaxIdleConnsPerHost:   32,
			IdleConnTimeout:       90 * time.Second,
		},
	}}
}

// Answer is what came back, whatever its status.
type Answer struct {
	Status int
	Body   []byte
	// After is the answer's Retry-After, at most a day; zero without one.
	After time.Duration
}

// PostJSON posts v as JSON. Header may be nil.
func (c *Client) PostJSON(ctx context.Context, url string, header http.Header, v any) (Answer, error) {
	body, err := JSON(v)
	if err != nil {
		return Answer{}, err
	}
	return c.post(ctx, url, "application/json; charset=UTF-8", header, body)
}

// PostForm posts an encoded form. Header may be nil.
func (c *Client) PostForm(ctx context.Context, url string, header http.Header, form string) (Answer, error) {
	return c.post(ctx, url, "application/x-www-form-urlencoded; charset=UTF-8", header, []byte(form))
}

func (c *Client) post(ctx context.Context, url, kind string, header http.Header, body []byte) (Answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return Answer{}, fmt.Errorf("the request could not be made: %w", err)
	}
	// As they are written: the case of a name is nothing to HTTP, and something to some who read it.
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", kind)
	resp, err := c.http.Do(req)
	if err != nil {
		return Answer{}, fmt.Errorf("no answer came: %w", err)
	}
	defer resp.Body.Close()
	read, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return Answer{}, fmt.Errorf("the answer broke off: %w", err)
	}
	if len(read) > maxAnswer {
		return Answer{}, fmt.Errorf("the answer is longer than %d bytes", maxAnswer)
	}
	return Answer{Status: resp.StatusCode, Body: read, After: channel.RetryAfter(resp.Header)}, nil
}

// JSON is v's encoding without the escapes that only HTML needs, which vendors would count.
func JSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("the message could not be encoded: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Ext is how the app's own data travels where a vendor takes only JSON or pairs: under the one key ext. It is empty when
// there is nothing to carry.
func Ext(ext string) string {
	if ext == "" {
		return ""
	}
	b, err := JSON(map[string]string{"ext": ext})
	if err != nil {
		return ""
	}
	return string(b)
}

// Code is a vendor's code, which comes as a JSON number from some and as a string from others, and at times as both from one.
type Code string

// UnmarshalJSON takes a number or a string.
func (c *Code) UnmarshalJSON(b []byte) error {
	var s string
	if len(b) > 0 && b[0] == '"' {
		if err := json.Unmarshal(b, &s); err != nil {
			return fmt.Errorf("a code is neither a number nor a string: %w", err)
		}
	} else {
		var n json.Number
		if err := json.Unmarshal(b, &n); err != nil {
			return fmt.Errorf("a code is neither a number nor a string: %w", err)
		}
		s = n.String()
	}
	*c = Code(s)
	return nil
}

// ValidURL says what is wrong with a configured base address, in a sentence that names the field.
func ValidURL(field, s string) error {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil ||
		u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(s, "/") {
		return fmt.Errorf("%s must be an address such as https://push.example.com, without user, query and final slash", field)
	}
	return nil
}

// ValidTimeout says what is wrong with a configured bound on a request.
func ValidTimeout(field string, d time.Duration) error {
	if d < 100*time.Millisecond || d > time.Minute {
		return fmt.Errorf("%s must be from 100ms to 1m, and is %s", field, d)
	}
	return nil
}

// ValidSecret says what is wrong with a configured credential, without repeating it. Where says in which part of which
// console the value is found.
func ValidSecret(field, s, where string) error {
	if s == "" {
		return fmt.Errorf("%s must be set: it is found %s", field, where)
	}
	for _, r := range s {
		if r <= ' ' || r >= 0x7f {
			return fmt.Errorf("%s has a space, a line end or another character that no credential has; it is found %s", field, where)
		}
	}
	return nil
}
