// Package webpush shows pushes in browsers, through the push service that each browser names: RFC 8030, encrypted by RFC 8291
// and signed by RFC 8292. A device's token is the JSON of its PushSubscription.
//
// The message that the app's service worker gets is a JSON object with "title" where there is one, "text", "ext"
// (OfflinePushInfo.Ext) where there is one, "task" and "seq". Headers: TTL; Urgency high; Topic, the task, so that a repeat
// takes the place of a message that waits.
//
// Endpoints come from clients. Only https is spoken, to public addresses (see Config), redirects are not followed, and little
// of an answer is read. What one endpoint answers is about its subscription only: 401 and 403 too, which come when it was
// made with another VAPID key, are Refused and not Denied, and each host is a part of its own (channel.Parted), so that no
// client can have others left alone.
//
// The encryption is github.com/SherClockHolmes/webpush-go's. It writes into the spare capacity of the message that it is
// given, so that it gets none, and takes a subject without its mailto:.
package webpush

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/SherClockHolmes/webpush-go"

	"github.com/carillon-push/carillon/deliver/channel"
)

const (
	// maxMessage is how many bytes a message may have: a push service takes 4096, of which encryption needs 103.
	maxMessage = 3993
	// maxTTL is how long a message without an end is kept, in seconds: what push services cut longer times to.
	maxTTL = 28 * 24 * 3600
	// maxAnswer is how many bytes of an answer are read, so that the connection can be used again.
	maxAnswer = 64 << 10
)

// Reasons of this package's own. Others are the HTTP statuses that push services document.
const (
	// ReasonSubscription: the token is no subscription.
	ReasonSubscription = "subscription"
	// ReasonEndpoint: the subscription leads to where the configuration does not allow.
	ReasonEndpoint = "endpoint"
)

// Channel is an application server.
type Channel struct {
	config  Config
	client  *http.Client
	subject string
	public  string
	private string
	// last is the message made last: all batches of a push share a notice.
	last atomic.Pointer[encoded]
}

type encoded struct {
	notice  *channel.Notice
	message []byte
	ok      bool
}

// New reads the key; it does not connect.
func New(config Config) (*Channel, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	key, err := config.key()
	if err != nil {
		return nil, err
	}
	transport, err := channel.NewTransport(config.CAFile)
	if err != nil {
		return nil, err
	}
	// A proxy would resolve names itself.
	transport.Proxy = nil
	if !config.Private {
		transport.DialContext = (&net.Dialer{Timeout: 10 * time.Second, Control: onlyPublic}).DialContext
	}
	return &Channel{
		config:  config,
		client:  channel.NewClient(transport),
		subject: strings.TrimPrefix(config.Subject, "mailto:"),
		public:  encode(key.PublicKey().Bytes()),
		private: encode(key.Bytes()),
	}, nil
}

// PublicKey is what the app's clients subscribe with, as applicationServerKey.
func (c *Channel) PublicKey() string { return c.public }

// Batch is 1: each device has a request of its own.
func (c *Channel) Batch() int { return 1 }

// Close ends connections that are idle.
func (c *Channel) Close() { c.client.CloseIdleConnections() }

// Part is the host of a subscription's endpoint.
func (c *Channel) Part(token string) string {
	_, u, ok := subscription(token)
	if !ok {
		return ""
	}
	return strings.ToLower(u.Host)
}

// Send notifies devices, one after the other.
func (c *Channel) Send(ctx context.Context, n *channel.Notice, tokens []string) []channel.Result {
	results := make([]channel.Result, len(tokens))
	message, ok := c.message(n)
	for i, token := range tokens {
		if ok {
			results[i] = c.send(ctx, n, message, token)
		} else {
			results[i] = channel.Result{Outcome: channel.Refused, Reason: channel.ReasonTooLong}
		}
	}
	return results
}

func (c *Channel) message(n *channel.Notice) ([]byte, bool) {
	e := c.last.Load()
	if e == nil || e.notice != n {
		e = &encoded{notice: n}
		e.message, e.ok = channel.Fit(maxMessage, n.Title, n.Text, func(title, text string) ([]byte, error) {
			return json.Marshal(struct {
				Title string `json:"title,omitempty"`
				Text  string `json:"text"`
				Ext   string `json:"ext,omitempty"`
				Task  string `json:"task"`
				Seq   uint64 `json:"seq"`
			}{title, text, n.Ext, string(n.Task), uint64(n.Seq)})
		})
		c.last.Store(e)
	}
	return e.message, e.ok
}

func (c *Channel) send(ctx context.Context, n *channel.Notice, message []byte, token string) channel.Result {
	s, u, ok := subscription(token)
	if !ok {
		return channel.Result{Outcome: channel.Gone, Reason: ReasonSubscription}
	}
	if !c.config.allows(u.Hostname()) {
		return channel.Result{Outcome: channel.Refused, Reason: ReasonEndpoint}
	}
	ttl := maxTTL
	if !n.Expire.IsZero() {
		ttl = max(int(time.Until(n.Expire)/time.Second), 0)
	}
	answer, err := webpush.SendNotificationWithContext(ctx, slices.Clip(message), s, &webpush.Options{
		HTTPClient: c.client, Subscriber: c.subject, VAPIDPublicKey: c.public, VAPIDPrivateKey: c.private,
		TTL: ttl, Urgency: webpush.UrgencyHigh, Topic: topic(n),
	})
	// An error of net/http has the endpoint in it, which is a secret: it is looked at, and goes nowhere.
	switch {
	case errors.Is(err, errAddress):
		return channel.Result{Outcome: channel.Refused, Reason: ReasonEndpoint}
	case err != nil:
		return channel.Result{Outcome: channel.Later, Reason: channel.ReasonUnreachable}
	}
	defer answer.Body.Close()
	_, _ = io.CopyN(io.Discard, answer.Body, maxAnswer)
	return result(answer.StatusCode, answer.Header)
}

// topic is at most 32 characters of URL-safe base64 (RFC 8030, 5.4).
func topic(n *channel.Notice) string {
	task := string(n.Task)
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	if len(task) <= 32 && strings.Trim(task, alphabet) == "" {
		return task
	}
	sum := sha256.Sum256([]byte(task))
	return encode(sum[:24])
}

// documented are the statuses that RFC 8030, or a browser's maker, says what they mean of.
var documented = map[int]channel.Outcome{
	200: channel.Sent, 201: channel.Sent, 202: channel.Sent,
	404: channel.Gone, 410: channel.Gone,
	400: channel.Refused, 401: channel.Refused, 403: channel.Refused, 405: channel.Refused, 406: channel.Refused, 413: channel.Refused,
	429: channel.Later, 500: channel.Later, 502: channel.Later, 503: channel.Later, 504: channel.Later,
}

func result(status int, header http.Header) channel.Result {
	r := channel.Result{Outcome: documented[status], Reason: strconv.Itoa(status)}
	switch {
	case r.Outcome == channel.Sent:
		return channel.Result{Outcome: channel.Sent}
	case r.Outcome == 0 && status >= 500:
		r = channel.Result{Outcome: channel.Later, Reason: channel.ReasonOther}
	case r.Outcome == 0:
		r = channel.Result{Outcome: channel.Refused, Reason: channel.ReasonOther}
	}
	if r.Outcome == channel.Later {
		r.After = channel.RetryAfter(header)
	}
	return r
}
