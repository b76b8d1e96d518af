// Package webhook hands pushes to a service of the operator's, which shows them on phones in its own way.
//
// A request is a POST of JSON:
//
//	{"notice": {"task": "7-42", "seq": 42, "title": "…", "text": "…", "ext": "…", "expire": 1700003600,
//	            "android": {"Sound": "…", "HuaWeiChannelID": "…", …}, "apns": {"Sound": "…", "BadgeMode": 1, …}},
//	 "tokens": ["…", "…"]}
//
// title, ext and expire (unix seconds) are left out when empty; android and apns are AndroidInfo and ApnsInfo of the push, with
// their names. It is signed as the Standard Webhooks specification has it, so that its libraries verify it: the header
// webhook-signature has, for each secret, "v1," and the base64 of the HMAC-SHA256 of webhook-id, ".", webhook-timestamp (unix
// seconds), "." and the body. The receiver is to refuse a timestamp that is over five minutes off. The id is the same for the
// same devices and push: a receiver that remembers it does nothing twice.
//
// The answer is 202 or 204 when all are taken, or 200 with what became of each device, in the order of tokens:
//
//	{"results": [{"outcome": "sent", "id": "…"}, {"outcome": "gone", "reason": "unregistered"}, {"outcome": "later", "after": 30}]}
//
// outcome is sent, gone (the device is forgotten), refused, or later (it is tried again; after is in seconds). reason is a
// metric's label: up to 40 letters, digits, "_", "-" and ".", from a small set. id is optional. 400, 413 and 422 refuse the
// whole batch; 401 and 403 say that the signature is not accepted; all others, that it is to be tried again, after
// Retry-After.
package webhook

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/carillon-push/carillon/deliver/channel"
)

// maxAfter is the longest pause that an answer can ask for, in seconds: a day.
const maxAfter = 24 * 3600

// Channel is one operator's service.
type Channel struct {
	config  Config
	client  *http.Client
	secrets [][]byte
}

// New reads the secrets; it does not connect.
func New(config Config) (*Channel, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	secrets, err := ReadSecrets(config.SecretFile)
	if err != nil {
		return nil, err
	}
	transport, err := channel.NewTransport(config.CAFile)
	if err != nil {
		return nil, err
	}
	return &Channel{config: config, client: channel.NewClient(transport), secrets: secrets}, nil
}

// Batch is the configured one.
func (c *Channel) Batch() int { return c.config.Batch }

// Close ends connections that are idle.
func (c *Channel) Close() { c.client.CloseIdleConnections() }

type request struct {
	Notice notice   `json:"notice"`
	Tokens []string `json:"tokens"`
}

type notice struct {
	Task    string  `json:"task"`
	Seq     uint64  `json:"seq"`
	Title   string  `json:"title,omitempty"`
	Text    string  `json:"text"`
	Ext     string  `json:"ext,omitempty"`
	Expire  int64   `json:"expire,omitempty"`
	Android android `json:"android,omitzero"`
	APNs    apns    `json:"apns,omitzero"`
}

// android and apns are channel.Android and channel.APNs; the conversion holds them to the same fields.
type android struct {
	Sound                  string `json:",omitempty"`
	HuaWeiChannelID        string `json:",omitempty"`
	XiaoMiChannelID        string `json:",omitempty"`
	OPPOChannelID          string `json:",omitempty"`
	GoogleChannelID        string `json:",omitempty"`
	VIVOClassification     int    `json:",omitempty"`
	HuaWeiImportance       string `json:",omitempty"`
	HuaWeiCategory         string `json:",omitempty"`
	ExtAsHuaweiIntentParam int    `json:",omitempty"`
}

type apns struct {
	Sound          string `json:",omitempty"`
	BadgeMode      int    `json:",omitempty"`
	Title          string `json:",omitempty"`
	SubTitle       string `json:",omitempty"`
	Image          string `json:",omitempty"`
	MutableContent int    `json:",omitempty"`
}

func body(n *channel.Notice, tokens []string) ([]byte, error) {
	r := request{
		Notice: notice{
			Task: string(n.Task), Seq: uint64(n.Seq), Title: n.Title, Text: n.Text, Ext: n.Ext, Android: android(n.Android), APNs: apns(n.APNs),
		},
		Tokens: tokens,
	}
	if !n.Expire.IsZero() {
		r.Notice.Expire = n.Expire.Unix()
	}
	return json.Marshal(r)
}

// Send notifies the devices of one batch.
func (c *Channel) Send(ctx context.Context, n *channel.Notice, tokens []string) []channel.Result {
	all := func(r channel.Result) []channel.Result { return slices.Repeat([]channel.Result{r}, len(tokens)) }
	unreachable := channel.Result{Outcome: channel.Later, Reason: channel.ReasonUnreachable}
	content, err := body(n, tokens)
	if err != nil {
		return all(channel.Result{Outcome: channel.Refused, Reason: channel.ReasonOther})
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.config.URL, bytes.NewReader(content))
	if err != nil {
		return all(unreachable)
	}
	r.Header.Set("Content-Type", "application/json")
	Sign(r.Header, c.secrets, name(n, tokens), time.Now(), content)
	got, err := c.client.Do(r)
	if err != nil {
		return all(unreachable)
	}
	defer got.Body.Close()
	if got.StatusCode == http.StatusOK {
		var a answer
		if channel.Answer(got.Body, &a) != nil || len(a.Results) != len(tokens) {
			return all(channel.Result{Outcome: channel.Later, Reason: channel.ReasonOther, After: channel.RetryAfter(got.Header)})
		}
		return a.results()
	}
	_ = channel.Answer(got.Body, new(json.RawMessage))
	return all(ofStatus(got.StatusCode, got.Header))
}

// name is the webhook-id.
func name(n *channel.Notice, tokens []string) string {
	h := sha256.New()
	fmt.Fprintf(h, "%d:%s", len(n.Task), n.Task)
	for _, token := range tokens {
		fmt.Fprintf(h, "%d:", len(token))
		_, _ = io.WriteString(h, token)
	}
	return "msg_" + hex.EncodeToString(h.Sum(nil)[:16])
}

type answer struct {
	Results []struct {
		Outcome string `json:"outcome"`
		Reason  string `json:"reason"`
		After   uint32 `json:"after"`
		ID      string `json:"id"`
	} `json:"results"`
}

var (
	outcomes = map[string]channel.Outcome{
		"sent": channel.Sent, "gone": channel.Gone, "refused": channel.Refused, "later": channel.Later,
	}
	isReason = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,40}$`)
)

// results are an answer's; an outcome that there is not is Later.
func (a *answer) results() []channel.Result {
	results := make([]channel.Result, len(a.Results))
	for i, got := range a.Results {
		r := channel.Result{Outcome: outcomes[got.Outcome], Reason: got.Reason}
		switch {
		case r.Outcome == channel.Sent:
			r = channel.Result{Outcome: channel.Sent, ID: got.ID}
		case r.Outcome == 0:
			r = channel.Result{Outcome: channel.Later, Reason: channel.ReasonOther}
		case !isReason.MatchString(r.Reason):
			r.Reason = channel.ReasonOther
		}
		if r.Outcome == channel.Later {
			r.After = time.Duration(min(got.After, maxAfter)) * time.Second
		}
		results[i] = r
	}
	return results
}

// ofStatus is what a status other than 200 means for all devices of the batch.
func ofStatus(status int, header http.Header) channel.Result {
	reason := strconv.Itoa(status)
	switch status {
	case http.StatusAccepted, http.StatusNoContent:
		return channel.Result{Outcome: channel.Sent}
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return channel.Result{Outcome: channel.Refused, Reason: reason}
	case http.StatusUnauthorized, http.StatusForbidden:
		return channel.Result{Outcome: channel.Denied, Reason: reason}
	case http.StatusNotFound, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
	default:
		reason = channel.ReasonOther
	}
	return channel.Result{Outcome: channel.Later, Reason: reason, After: channel.RetryAfter(header)}
}
