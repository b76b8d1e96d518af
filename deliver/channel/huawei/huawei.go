// Package huawei shows notices through Huawei's Push Kit (REST, v1 by client ID): phones with EMUI, and with HarmonyOS up to
// 4. Of a notice it shows
//
//	Title, Text                        notification.title and .body; cut until the message has 4,096 bytes
//	Ext                                android.data as {"ext": …}
//	Expire                             android.ttl, at most 15 days
//	Task, Seq                          android.notification.tag and .notify_id, so that a repeat takes the place of
//	                                   the first; android.bi_tag
//	Android.HuaWeiChannelID            android.notification.channel_id
//	Android.HuaWeiImportance           android.notification.importance
//	Android.HuaWeiCategory             android.category
//	Android.Sound                      android.notification.sound as /raw/name, and default_sound false
//	Android.ExtAsHuaweiIntentParam 1   Ext as the intent's extra "ext" too, where Config names an activity
//
// A send takes at most 1,000 tokens. The message's own limit of 4,096 bytes does not count the tokens.
package huawei

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"path"
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
)

// Config is an app's access to Push Kit. In AppGallery Connect: My projects, the project, Project settings, General
// information, App information.
type Config struct {
	// ClientID is "OAuth 2.0 client ID": Client ID, there. It is the App ID's number.
	ClientID string
	// ClientSecret is "OAuth 2.0 client ID": Client Secret, there.
	ClientSecret string
	// Activity is the app's page that a tap opens, as package/class, as in com.example.app/com.example.app.NewsActivity.
	// Empty: a tap opens the app.
	Activity string
	// BadgeClass is the app's entry activity, as in com.example.app.MainActivity: each notification then adds one to the
	// icon's badge. Empty: the badge is left alone.
	BadgeClass string
	// AppName stands as the title of pushes that have none. Empty: their text does.
	AppName string
	// URL and AuthURL are the addresses of Push Kit and of Huawei's OAuth service, without a path.
	URL, AuthURL string
	// Timeout bounds each request.
	Timeout time.Duration
}

// Default is all but the credentials.
func Default() Config {
	return Config{
		URL: "https://push-api.cloud.huawei.com", AuthURL: "https://oauth-login.cloud.huawei.com",
		Timeout: vendorhttp.DefaultTimeout,
	}
}

// String names the app, so that a configuration that is printed tells no credential.
func (c Config) String() string { return "Huawei's app " + c.ClientID }

// LogValue is String.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Validate says what is wrong with a configuration, without repeating a credential.
func (c Config) Validate() error {
	const where = "in AppGallery Connect under Project settings, General information, App information, OAuth 2.0 client ID"
	if err := vendorhttp.ValidSecret("Huawei's client ID", c.ClientID, where); err != nil {
		return err
	}
	if strings.Trim(c.ClientID, "0123456789") != "" {
		return fmt.Errorf("the client ID of Huawei is a number; it is found %s", where)
	}
	if err := vendorhttp.ValidSecret("Huawei's client secret", c.ClientSecret, where); err != nil {
		return err
	}
	if p, class, ok := strings.Cut(c.Activity, "/"); c.Activity != "" && (!ok || p == "" || class == "" ||
		strings.ContainsAny(c.Activity, " ;#\"\n")) {
		return fmt.Errorf("the activity of Huawei must be package/class, as in com.example.app/com.example.app.NewsActivity")
	}
	if strings.ContainsAny(c.BadgeClass, " /;\"\n") {
		return fmt.Errorf("the badge class of Huawei must be a class, as in com.example.app.MainActivity")
	}
	if err := vendorhttp.ValidURL("Huawei's address", c.URL); err != nil {
		return err
	}
	if err := vendorhttp.ValidURL("Huawei's address for access tokens", c.AuthURL); err != nil {
		return err
	}
	return vendorhttp.ValidTimeout("Huawei's timeout", c.Timeout)
}

// Huawei is the channel of one app.
type Huawei struct {
	config Config
	client *vendorhttp.Client
	access *vendorhttp.Access
	url    string
}

var _ channel.Channel = (*Huawei)(nil)

// New makes the channel, or says what is wrong with the configuration. It asks Huawei nothing.
func New(c Config) (*Huawei, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	h := &Huawei{config: c, client: vendorhttp.NewClient(c.Timeout), url: c.URL + "/v1/" + c.ClientID + "/messages:send"}
	h.access = vendorhttp.NewAccess(func(ctx context.Context) (vendorhttp.Grant, channel.Result) {
		return h.client.ClientCredentials(ctx, c.AuthURL+"/oauth2/v3/token", c.ClientID, c.ClientSecret)
	})
	return h, nil
}

// Batch is 1,000.
func (h *Huawei) Batch() int { return batch }

// Send makes one request, and one more with a new access token where Huawei no longer takes the old.
func (h *Huawei) Send(ctx context.Context, n *channel.Notice, tokens []string) []channel.Result {
	b := vendorhttp.NewBatch(tokens)
	if len(b.Tokens) == 0 {
		return b.All(channel.Result{})
	}
	life, ok := vendorhttp.Life(n, time.Now(), maxLife)
	if !ok {
		return b.All(channel.Result{Outcome: channel.Refused, Reason: channel.ReasonExpired})
	}
	m := h.message(n, life)
	if !vendorhttp.Fit(m, maxMessage, &m.Notification.Title, &m.Notification.Body) {
		return b.All(channel.Result{Outcome: channel.Refused, Reason: channel.ReasonTooLong})
	}
	m.Token = b.Tokens
	return h.access.Do(ctx, b, func(token string) ([]channel.Result, bool) {
		a, err := h.client.PostJSON(ctx, h.url, http.Header{"Authorization": {"Bearer " + token}}, request{Message: m})
		if err != nil {
			return b.All(vendorhttp.Unreachable()), false
		}
		return parse(a, b)
	})
}

// The message, as the reference of "Sending Downlink Messages" has it.
type request struct {
	ValidateOnly bool     `json:"validate_only"`
	Message      *message `json:"message"`
}

type message struct {
	Notification notification `json:"notification"`
	Android      android      `json:"android"`
	Token        []string     `json:"token,omitempty"`
}

type notification struct {
	Title string `json:"title"`
	Body  string `json:"body"`
}

type android struct {
	TTL          string              `json:"ttl"`
	Category     string              `json:"category,omitempty"`
	BITag        string              `json:"bi_tag"`
	Data         string              `json:"data,omitempty"`
	Notification androidNotification `json:"notification"`
}

type androidNotification struct {
	Tag          string      `json:"tag"`
	NotifyID     int32       `json:"notify_id"`
	ChannelID    string      `json:"channel_id,omitempty"`
	Importance   string      `json:"importance,omitempty"`
	Sound        string      `json:"sound,omitempty"`
	DefaultSound bool        `json:"default_sound"`
	ClickAction  clickAction `json:"click_action"`
	Badge        *badge      `json:"badge,omitempty"`
}

type clickAction struct {
	Type   int    `json:"type"`
	Intent string `json:"intent,omitempty"`
}

type badge struct {
	AddNum int    `json:"add_num"`
	Class  string `json:"class"`
}

// What a tap does.
const (
	openPage = 1
	openApp  = 3
)

func (h *Huawei) message(n *channel.Notice, life time.Duration) *message {
	a := androidNotification{
		Tag: string(n.Task), NotifyID: vendorhttp.NotifyID(n), ChannelID: n.Android.HuaWeiChannelID,
		Importance: n.Android.HuaWeiImportance, DefaultSound: n.Android.Sound == "", ClickAction: clickAction{Type: openApp},
	}
	if s := n.Android.Sound; s != "" {
		// The vendor wants the resource's name, which has no extension.
		a.Sound = "/raw/" + strings.TrimSuffix(path.Base(s), path.Ext(s))
	}
	if h.config.Activity != "" {
		a.ClickAction = clickAction{Type: openPage, Intent: h.intent(n)}
	}
	if h.config.BadgeClass != "" {
		a.Badge = &badge{AddNum: 1, Class: h.config.BadgeClass}
	}
	return &message{
		Notification: notification{Title: vendorhttp.Title(n, h.config.AppName), Body: n.Text},
		Android: android{
			TTL: strconv.Itoa(int(life/time.Second)) + "s", Category: n.Android.HuaWeiCategory, BITag: string(n.Task),
			Data: vendorhttp.Ext(n.Ext), Notification: a,
		},
	}
}

// intent is Android's own form of an intent as an address. It opens the page in a task of its own, or brings it to the front.
func (h *Huawei) intent(n *channel.Notice) string {
	extra := ""
	if n.Android.ExtAsHuaweiIntentParam == 1 && n.Ext != "" {
		extra = "S.ext=" + url.PathEscape(n.Ext) + ";"
	}
	return "intent:#Intent;launchFlags=0x14000000;component=" + h.config.Activity + ";" + extra + "end"
}
