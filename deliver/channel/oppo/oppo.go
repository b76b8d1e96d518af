// Package oppo shows notices through OPPO Push (server v1), on OPPO's, OnePlus's and realme's phones. Of a notice it shows
//
//	Title, Text             title, cut to 50 characters, and content, cut to 200
//	Ext                     action_parameters as {"ext": …}, at most 4,000 characters
//	Expire                  off_line_ttl, at most 10 days
//	Task                    app_message_id, together with the device: OPPO sends one of a name only once
//	Seq                     notify_id: a repeat takes the place of the first
//	Android.OPPOChannelID   channel_id
//
// OPPO rings as the user has chosen for the channel, so that Android.Sound is not sent. A send takes at most 1,000 tokens;
// each has a message of its own in the request, and so a result and an ID of its own.
package oppo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/carillon-push/carillon/deliver/channel"
	"github.com/carillon-push/carillon/deliver/channel/internal/vendorhttp"
	"github.com/carillon-push/carillon/pkg/push"
)

const (
	batch      = 1000
	maxTitle   = 50
	maxContent = 200
	maxParams  = 4000
	maxLife    = 10 * 24 * time.Hour
	authLife   = 24 * time.Hour
	authPath   = "/server/v1/auth"
	sendPath   = "/server/v1/message/notification/unicast_batch"
)

// Config is an app's access to OPPO Push. On OPPO's push platform (push.oppo.com): Configuration management, Application
// configuration, with the developer's main account.
type Config struct {
	// AppKey is "AppKey", there.
	AppKey string
	// MasterSecret is "MasterSecret", there. It is not the AppSecret, which is for the app.
	MasterSecret string
	// Activity is the app's page that a tap opens, as a class. Empty: a tap opens the app.
	Activity string
	// AppName stands as the title of pushes that have none. Empty: their text does.
	AppName string
	// URL is the address of OPPO Push, without a path. Phones sold outside China have https://api-intl.push.oppomobile.com.
	URL string
	// Timeout bounds each request.
	Timeout time.Duration
}

// Default is all but the credentials.
func Default() Config {
	return Config{URL: "https://api.push.oppomobile.com", Timeout: vendorhttp.DefaultTimeout}
}

// String names the app, so that a configuration that is printed tells no credential.
func (c Config) String() string { return "OPPO's app at " + c.URL }

// LogValue is String.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Validate says what is wrong with a configuration, without repeating a credential.
func (c Config) Validate() error {
	const where = "on push.oppo.com under Configuration management, Application configuration"
	if err := vendorhttp.ValidSecret("OPPO's app key", c.AppKey, where); err != nil {
		return err
	}
	if err := vendorhttp.ValidSecret("OPPO's master secret", c.MasterSecret, where); err != nil {
		return err
	}
	if strings.ContainsAny(c.Activity, " /;\"\n") {
		return fmt.Errorf("OPPO's activity must be a class, as in com.example.app.NewsActivity")
	}
	if err := vendorhttp.ValidURL("OPPO's address", c.URL); err != nil {
		return err
	}
	return vendorhttp.ValidTimeout("OPPO's timeout", c.Timeout)
}

// OPPO is the channel of one app.
type OPPO struct {
	config Config
	client *vendorhttp.Client
	access *vendorhttp.Access
}

var _ channel.Channel = (*OPPO)(nil)

// New makes the channel, or says what is wrong with the configuration. It asks OPPO nothing.
func New(c Config) (*OPPO, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	o := &OPPO{config: c, client: vendorhttp.NewClient(c.Timeout)}
	o.access = vendorhttp.NewAccess(o.authenticate)
	return o, nil
}

// Batch is 1,000.
func (o *OPPO) Batch() int { return batch }

// Send makes one request, and one more with a new access token where OPPO no longer takes the old.
func (o *OPPO) Send(ctx context.Context, n *channel.Notice, tokens []string) []channel.Result {
	b := vendorhttp.NewBatch(tokens)
	if len(b.Tokens) == 0 {
		return b.All(channel.Result{})
	}
	life, ok := vendorhttp.Life(n, time.Now(), maxLife)
	if !ok {
		return b.All(channel.Result{Outcome: channel.Refused, Reason: channel.ReasonExpired})
	}
	note := o.notification(n, life)
	body, err := vendorhttp.JSON(note)
	if err != nil || channel.UTF16.Of(note.Params) > maxParams {
		return b.All(channel.Result{Outcome: channel.Refused, Reason: channel.ReasonTooLong})
	}
	messages := encode(n.Task, body, b.Tokens)
	return o.access.Do(ctx, b, func(token string) ([]channel.Result, bool) {
		a, err := o.client.PostForm(ctx, o.config.URL+sendPath, nil, "auth_token="+url.QueryEscape(token)+"&messages="+messages)
		if err != nil {
			return b.All(vendorhttp.Unreachable()), false
		}
		return parse(a, b, time.Now())
	})
}

// authenticate asks for an access token: the secret signs the time and is not sent.
func (o *OPPO) authenticate(ctx context.Context) (vendorhttp.Grant, channel.Result) {
	at := strconv.FormatInt(time.Now().UnixMilli(), 10)
	sign := sha256.Sum256([]byte(o.config.AppKey + at + o.config.MasterSecret))
	form := url.Values{"app_key": {o.config.AppKey}, "timestamp": {at}, "sign": {hex.EncodeToString(sign[:])}}
	a, err := o.client.PostForm(ctx, o.config.URL+authPath, nil, form.Encode())
	if err != nil {
		return vendorhttp.Grant{}, vendorhttp.Unreachable()
	}
	return parseGrant(a)
}

// notification is the message's, as the reference of the notification's fields has it, but for the name.
type notification struct {
	Style       int    `json:"style"`
	Title       string `json:"title"`
	Content     string `json:"content"`
	ClickAction int    `json:"click_action_type"`
	Activity    string `json:"click_action_activity,omitempty"`
	Params      string `json:"action_parameters,omitempty"`
	Offline     bool   `json:"off_line"`
	OfflineTTL  int    `json:"off_line_ttl"`
	ChannelID   string `json:"channel_id,omitempty"`
	NotifyID    int32  `json:"notify_id"`
}

const (
	standard = 1 // the style in which a content may have 200 characters

	openApp      = 0
	openActivity = 4
)

func (o *OPPO) notification(n *channel.Notice, life time.Duration) notification {
	note := notification{
		Style: standard, Title: channel.Cut(vendorhttp.Title(n, o.config.AppName), maxTitle, channel.UTF16), Content: channel.Cut(n.Text, maxContent, channel.UTF16),
		ClickAction: openApp, Params: vendorhttp.Ext(n.Ext), Offline: true, OfflineTTL: int(life / time.Second),
		ChannelID: n.Android.OPPOChannelID, NotifyID: vendorhttp.NotifyID(n),
	}
	if o.config.Activity != "" {
		note.ClickAction, note.Activity = openActivity, o.config.Activity
	}
	return note
}

// encode is the JSON array of messages, escaped for a form. A thousand messages differ in two values, so that the rest is
// escaped once. Tokens are well formed: they need no escapes in JSON.
func encode(task push.TaskID, note []byte, tokens []string) string {
	head := url.QueryEscape(`{"target_type":2,"target_value":"`)
	middle := url.QueryEscape(`","notification":{"app_message_id":"`)
	tail := url.QueryEscape(`",` + string(note[1:]) + `}`)
	comma, open, shut := url.QueryEscape(","), url.QueryEscape("["), url.QueryEscape("]")

	var s strings.Builder
	s.Grow(len(tokens) * (len(head) + len(middle) + len(tail) + len(comma) + 128))
	s.WriteString(open)
	for i, t := range tokens {
		if i > 0 {
			s.WriteString(comma)
		}
		s.WriteString(head)
		s.WriteString(url.QueryEscape(t))
		s.WriteString(middle)
		s.WriteString(name(task, t))
		s.WriteString(tail)
	}
	s.WriteString(shut)
	return s.String()
}

// name is what OPPO is to call the message, so that one that is tried again after an answer was lost is shown once. It does
// not show the token that it is made of.
func name(task push.TaskID, token string) string {
	sum := sha256.Sum256([]byte(string(task) + "\x00" + token))
	return hex.EncodeToString(sum[:16])
}
