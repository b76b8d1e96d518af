// Package honor shows notices through Honor's push service (REST, v1), on Honor's phones. Of a notice it shows
//
//	Title, Text                android.notification.title and .body; cut until the message has 4,096 bytes
//	Ext                        android.data as {"ext": …}
//	Expire                     android.ttl, at most 15 days
//	Task, Seq                  android.notification.tag and .notifyId, so that a repeat takes the place of the first;
//	                           android.biTag
//	Android.HuaWeiImportance   android.notification.importance: LOW is LOW, and all else NORMAL, as Honor knows no other
//
// Honor has no channels, categories or sounds to choose, so that those fields are not sent. A send takes at most 1,000
// tokens.
package honor

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/carillon-push/carillon/deliver/channel"
	"github.com/carillon-push/carillon/deliver/channel/internal/vendorhttp"
)

const (
	batch      = 1000
	maxMessage = 4096
	maxLife    = 15 * 24 * time.Hour
	tokenPath  = "/auth/realms/developer/protocol/openid-connect/token"
)

// Config is an app's access to Honor's push service. On the Honor developers' site: Management Center, Push service, the
// app, and there "App information".
type Config struct {
	// AppID is "APP ID", there.
	AppID string
	// ClientID is "Client ID", there.
	ClientID string
	// ClientSecret is "Client secret", there.
	ClientSecret string
	// Intent is the app's page that a tap opens, as an intent address. Empty: a tap opens the app.
	Intent string
	// BadgeClass is the app's entry activity, as in com.example.app.MainActivity: each notification then adds one to the
	// icon's badge. Empty: the badge is left alone.
	BadgeClass string
	// AppName stands as the title of pushes that have none. Empty: their text does.
	AppName string
	// URL is the address of the push service, without a path.
	URL string
	// AuthURL is the address for access tokens with its path, of which Honor has more than one in use.
	AuthURL string
	// Timeout bounds each request.
	Timeout time.Duration
}

// Default is all but the credentials.
func Default() Config {
	return Config{
		URL: "https://push-api.cloud.hihonor.com", AuthURL: "https://iam.developer.hihonor.com" + tokenPath,
		Timeout: vendorhttp.DefaultTimeout,
	}
}

// String names the app, so that a configuration that is printed tells no credential.
func (c Config) String() string { return "Honor's app " + c.AppID }

// LogValue is String.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Validate says what is wrong with a configuration, without repeating a credential.
func (c Config) Validate() error {
	const where = "on the Honor developers' site under Management Center, Push service, the app, App information"
	if err := vendorhttp.ValidSecret("Honor's app ID", c.AppID, where); err != nil {
		return err
	}
	if strings.Trim(c.AppID, "0123456789") != "" {
		return fmt.Errorf("the app ID of Honor is a number; it is found %s", where)
	}
	if err := vendorhttp.ValidSecret("Honor's client ID", c.ClientID, where); err != nil {
		return err
	}
	if err := vendorhttp.ValidSecret("Honor's client secret", c.ClientSecret, where); err != nil {
		return err
	}
	if strings.ContainsAny(c.BadgeClass, " /;\"\n") {
		return fmt.Errorf("the badge class of Honor must be a class, as in com.example.app.MainActivity")
	}
	if err := vendorhttp.ValidURL("Honor's address", c.URL); err != nil {
		return err
	}
	if err := vendorhttp.ValidURL("Honor's address for access tokens", c.AuthURL); err != nil {
		return err
	}
	return vendorhttp.ValidTimeout("Honor's timeout", c.Timeout)
}

// Honor is the channel of one app.
type Honor struct {
	config Config
	client *vendorhttp.Client
	access *vendorhttp.Access
	url    string
}

var _ channel.Channel = (*Honor)(nil)

// New makes the channel, or says what is wrong with the configuration. It asks Honor nothing.
func New(c Config) (*Honor, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	h := &Honor{config: c, client: vendorhttp.NewClient(c.Timeout), url: c.URL + "/api/v1/" + c.AppID + "/sendMessage"}
	h.access = vendorhttp.NewAccess(func(ctx context.Context) (vendorhttp.Grant, channel.Result) {
		return h.client.ClientCredentials(ctx, c.AuthURL, c.ClientID, c.ClientSecret)
	})
	return h, nil
}

// Batch is 1,000.
func (h *Honor) Batch() int { return batch }

// Send makes one request, and one more with a new access token where Honor no longer takes the old.
func (h *Honor) Send(ctx context.Context, n *channel.Notice, tokens []string) []channel.Result {
	b := vendorhttp.NewBatch(tokens)
	if len(b.Tokens) == 0 {
		return b.All(channel.Result{})
	}
	now := time.Now()
	life, ok := vendorhttp.Life(n, now, maxLife)
	if !ok {
		return b.All(channel.Result{Outcome: channel.Refused, Reason: channel.ReasonExpired})
	}
	m := h.message(n, life)
	if !vendorhttp.Fit(m, maxMessage, &m.Android.Notification.Title, &m.Android.Notification.Body) {
		return b.All(channel.Result{Outcome: channel.Refused, Reason: channel.ReasonTooLong})
	}
	m.Token = b.Tokens
	return h.access.Do(ctx, b, func(token string) ([]channel.Result, bool) {
		a, err := h.client.PostJSON(ctx, h.url, http.Header{
			"Authorization": {"Bearer " + token},
			"timestamp":     {strconv.FormatInt(now.UnixMilli(), 10)},
		}, m)
		if err != nil {
			return b.All(vendorhttp.Unreachable()), false
		}
		return parse(a, b)
	})
}

// The message, as the reference of the downlink message has it.
type message struct {
	Android android  `json:"android"`
	Token   []string `json:"token,omitempty"`
}

type android struct {
	TTL          string       `json:"ttl"`
	BITag        string       `json:"biTag"`
	Data         string       `json:"data,omitempty"`
	Notification notification `json:"notification"`
}

type notification struct {
	Title       string      `json:"title"`
	Body        string      `json:"body"`
	Tag         string      `json:"tag"`
	NotifyID    int32       `json:"notifyId"`
	Importance  string      `json:"importance,omitempty"`
	ClickAction clickAction `json:"clickAction"`
	Badge       *badge      `json:"badge,omitempty"`
}

type clickAction struct {
	Type   int    `json:"type"`
	Intent string `json:"intent,omitempty"`
}

type badge struct {
	AddNum int    `json:"addNum"`
	Class  string `json:"badgeClass"`
}

// What a tap does.
const (
	openPage = 1
	openApp  = 3
)

func (h *Honor) message(n *channel.Notice, life time.Duration) *message {
	m := &message{Android: android{
		TTL: strconv.Itoa(int(life/time.Second)) + "s", BITag: string(n.Task), Data: vendorhttp.Ext(n.Ext),
		Notification: notification{
			Title: vendorhttp.Title(n, h.config.AppName), Body: n.Text, Tag: string(n.Task), NotifyID: vendorhttp.NotifyID(n),
			ClickAction: clickAction{Type: openApp},
		},
	}}
	switch n.Android.HuaWeiImportance {
	case "":
	case "LOW":
		m.Android.Notification.Importance = "LOW"
	default:
		m.Android.Notification.Importance = "NORMAL"
	}
	if h.config.Intent != "" {
		m.Android.Notification.ClickAction = clickAction{Type: openPage, Intent: h.config.Intent}
	}
	if h.config.BadgeClass != "" {
		m.Android.Notification.Badge = &badge{AddNum: 1, Class: h.config.BadgeClass}
	}
	return m
}
