// Package fcm shows pushes on Android by Firebase Cloud Messaging, with the method messages:send of its HTTP v1 API.
//
// The message: notification with title and body; data with "task", "seq" and, where there is one, "ext"
// (OfflinePushInfo.Ext); android with priority HIGH, ttl, and a notification with channel_id (GoogleChannelID), sound,
// "default" when none is given, and tag, the task, so that a repeat takes the place of what is shown. There is no
// collapse_key: of messages with keys that differ Google keeps four for a device that is off, of others a hundred.
//
// The API is one POST of JSON, which is written here. Google's own library for it, firebase.google.com/go, is well kept but
// comes with gRPC, Firestore and Cloud Storage, some fifty modules for that one POST, and retries by itself, which is the
// Sender's to do. What is not simple, the exchange of a service account's signature for an access token, is golang.org/x/oauth2's.
package fcm

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/carillon-push/carillon/deliver/channel"
)

// Channel is one project at Google.
type Channel struct {
	url    string
	client *http.Client
	access *access
	// last is the message made last: all batches of a push share a notice.
	last atomic.Pointer[encoded]
}

type encoded struct {
	notice *channel.Notice
	ttl    time.Duration
	rest   []byte
	ok     bool
}

// New reads the credentials; it does not connect.
func New(config Config) (*Channel, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	a, err := config.account()
	if err != nil {
		return nil, err
	}
	transport, err := channel.NewTransport(config.CAFile)
	if err != nil {
		return nil, err
	}
	base := "https://fcm.googleapis.com"
	if config.URL != "" {
		base = strings.TrimSuffix(config.URL, "/")
	}
	return &Channel{
		url:    base + "/v1/projects/" + a.Project + "/messages:send",
		client: channel.NewClient(transport),
		access: newAccess(a, transport),
	}, nil
}

// Batch is 1: the API takes one device a request, many requests at a time.
func (c *Channel) Batch() int { return 1 }

// Close ends connections that are idle.
func (c *Channel) Close() { c.client.CloseIdleConnections() }

// Check asks Google for an access token.
func (c *Channel) Check(ctx context.Context) error {
	_, err := c.access.token(ctx)
	if err == nil {
		return nil
	}
	return &CheckError{Result: noToken(err)}
}

// CheckError is why Check could not have an access token. The answer of Google is not in it.
type CheckError struct{ channel.Result }

func (e *CheckError) Error() string {
	if e.Outcome == channel.Denied {
		return "Google gives the FCM service account no access token: " + e.Reason
	}
	return "Google could not be asked for an access token for FCM: " + e.Reason
}

// Send notifies devices, one after the other.
func (c *Channel) Send(ctx context.Context, n *channel.Notice, tokens []string) []channel.Result {
	results := make([]channel.Result, len(tokens))
	rest, ok := c.message(n)
	for i, token := range tokens {
		if ok {
			results[i] = c.send(ctx, request(token, rest))
		} else {
			results[i] = channel.Result{Outcome: channel.Refused, Reason: channel.ReasonTooLong}
		}
	}
	return results
}

func (c *Channel) message(n *channel.Notice) ([]byte, bool) {
	ttl := time.Duration(-1)
	if !n.Expire.IsZero() {
		ttl = max(time.Until(n.Expire), 0).Truncate(time.Second)
	}
	e := c.last.Load()
	if e == nil || e.notice != n || e.ttl != ttl {
		e = &encoded{notice: n, ttl: ttl}
		e.rest, e.ok = encode(n, ttl)
		c.last.Store(e)
	}
	return e.rest, e.ok
}

// send makes one attempt, and a second one with a new access token if the first one's was not accepted: it may have been
// taken back, or a clock be wrong.
func (c *Channel) send(ctx context.Context, body []byte) channel.Result {
	token, err := c.access.token(ctx)
	if err != nil {
		return noToken(err)
	}
	r := c.attempt(ctx, body, token)
	if r.Reason != unauthenticated {
		return r
	}
	c.access.drop(token)
	if token, err = c.access.token(ctx); err != nil {
		return noToken(err)
	}
	return c.attempt(ctx, body, token)
}

func (c *Channel) attempt(ctx context.Context, body []byte, token string) channel.Result {
	unreachable := channel.Result{Outcome: channel.Later, Reason: channel.ReasonUnreachable}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return unreachable
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	got, err := c.client.Do(r)
	if err != nil {
		return unreachable
	}
	defer got.Body.Close()
	var a answer
	if err := channel.Answer(got.Body, &a); err != nil {
		unreachable.After = channel.RetryAfter(got.Header)
		return unreachable
	}
	return a.result(got.StatusCode, got.Header)
}
