// Package apns shows pushes on Apple's devices, by the HTTP/2 API of the Apple Push Notification service.
//
// Payload: aps.alert with title (ApnsInfo.Title over Title), subtitle and body; aps.sound, "default" when none is given;
// aps.badge (see Config.Badge), absent for BadgeMode 1; aps.thread-id, the task; aps.mutable-content. Beside aps are "ext"
// (OfflinePushInfo.Ext), "task", "seq" and "image". Headers: apns-push-type alert, apns-priority 10, apns-collapse-id, the
// task, and apns-expiration.
//
// What is over 4096 bytes has its text cut, and then its title.
package apns

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sideshow/apns2"
	"github.com/sideshow/apns2/token"

	"github.com/carillon-push/carillon/deliver/channel"
)

// renewal is how young a provider token must not be to be renewed: Apple refuses a provider that does so more often.
const renewal = 20 * time.Minute

// maxToken is how many hexadecimal digits of a device's token are sent; Apple's have 64, and may grow.
const maxToken = 200

// maxAnswer is how many bytes of an answer are read.
const maxAnswer = 64 << 10

// Channel is one app's connection to Apple.
type Channel struct {
	config Config
	client *apns2.Client
	// last is the payload made last: all batches of a push share a notice.
	last atomic.Pointer[encoded]
}

type encoded struct {
	notice  *channel.Notice
	payload []byte
	ok      bool
}

// New reads the credentials; it does not connect.
func New(config Config) (*Channel, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	key, err := config.token()
	if err != nil {
		return nil, err
	}
	pair, err := config.certificate()
	if err != nil {
		return nil, err
	}
	transport, err := channel.NewTransport(config.CAFile)
	if err != nil {
		return nil, err
	}
	// Apple asks for few connections that are kept, and speaks nothing but HTTP/2.
	transport.IdleConnTimeout = time.Hour
	transport.Protocols = new(http.Protocols)
	transport.Protocols.SetHTTP2(true)
	client := &apns2.Client{Host: apns2.HostProduction, Token: key, HTTPClient: channel.NewClient(answers{transport})}
	if pair != nil {
		transport.TLSClientConfig.Certificates = []tls.Certificate{*pair}
	}
	if config.Sandbox {
		client.Host = apns2.HostDevelopment
	}
	if config.URL != "" {
		client.Host = strings.TrimSuffix(config.URL, "/")
	}
	return &Channel{config: config, client: client}, nil
}

// Batch is 1: Apple takes one device a request, many requests at a time.
func (c *Channel) Batch() int { return 1 }

// Close ends connections that are idle.
func (c *Channel) Close() { c.client.HTTPClient.CloseIdleConnections() }

// Send notifies devices, one after the other.
func (c *Channel) Send(ctx context.Context, n *channel.Notice, tokens []string) []channel.Result {
	results := make([]channel.Result, len(tokens))
	payload, ok := c.payload(n)
	for i, device := range tokens {
		switch {
		case !ok:
			results[i] = channel.Result{Outcome: channel.Refused, Reason: channel.ReasonTooLong}
		case !isToken(device):
			results[i] = channel.Result{Outcome: channel.Gone, Reason: apns2.ReasonBadDeviceToken}
		default:
			results[i] = c.send(ctx, &apns2.Notification{
				DeviceToken: device, Topic: c.config.Topic, CollapseID: collapse(n), Expiration: n.Expire,
				Priority: apns2.PriorityHigh, PushType: apns2.PushTypeAlert, Payload: payload,
			})
		}
	}
	return results
}

func (c *Channel) payload(n *channel.Notice) ([]byte, bool) {
	e := c.last.Load()
	if e == nil || e.notice != n {
		e = &encoded{notice: n}
		e.payload, e.ok = encode(n, c.config.Badge)
		c.last.Store(e)
	}
	return e.payload, e.ok
}

// isToken says whether a client's token may go into a path: as hexadecimal digits it can say nothing there.
func isToken(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil && s != "" && len(s) <= maxToken
}

// send makes one attempt, and a second one with a new provider token if Apple says that it is time for one.
func (c *Channel) send(ctx context.Context, n *apns2.Notification) channel.Result {
	var used string
	if c.client.Token != nil {
		used = c.client.Token.GenerateIfExpired()
	}
	r := c.attempt(ctx, n)
	if r.Reason == apns2.ReasonExpiredProviderToken && c.client.Token != nil && renew(c.client.Token, used) {
		r = c.attempt(ctx, n)
	}
	return r
}

// renew makes a new provider token in place of the one that was used, unless another attempt has done so. It is false when
// that one is too young.
func renew(t *token.Token, used string) bool {
	t.Lock()
	defer t.Unlock()
	if t.Bearer != used {
		return true
	}
	if time.Since(time.Unix(t.IssuedAt, 0)) < renewal {
		return false
	}
	ok, err := t.Generate()
	return ok && err == nil
}

func (c *Channel) attempt(ctx context.Context, n *apns2.Notification) channel.Result {
	var after time.Duration
	answer, err := c.client.PushWithContext(context.WithValue(ctx, afterKey{}, &after), n)
	// An error of net/http has the URL in it, and with it the token: it is looked at, and goes nowhere.
	if c.config.CertificateFile != "" && isRefusal(err) {
		return channel.Result{Outcome: channel.Denied, Reason: apns2.ReasonBadCertificate}
	}
	if err != nil {
		return channel.Result{Outcome: channel.Later, Reason: channel.ReasonUnreachable, After: after}
	}
	if answer.Sent() {
		return channel.Result{Outcome: channel.Sent, ID: answer.ApnsID}
	}
	r := channel.Result{Outcome: outcomes[answer.Reason], Reason: answer.Reason}
	if r.Outcome == 0 {
		r = channel.Result{Outcome: undocumented(answer.StatusCode), Reason: channel.ReasonOther}
	}
	if r.Outcome == channel.Later {
		r.After = after
	}
	return r
}

// isRefusal says whether an error is the other side's refusal of our certificate, for which package tls has no type of its own.
// It may be hidden by one of writing to the connection that ended; then a later attempt shows it.
func isRefusal(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error" && strings.Contains(op.Err.Error(), "certificate")
}

// answers notes what an answer asks for and bounds its length, neither of which the client does.
type answers struct{ *http.Transport }

type afterKey struct{}

func (t answers) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := t.Transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if after, ok := r.Context().Value(afterKey{}).(*time.Duration); ok {
		*after = channel.RetryAfter(answer.Header)
	}
	answer.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(answer.Body, maxAnswer), answer.Body}
	return answer, nil
}
