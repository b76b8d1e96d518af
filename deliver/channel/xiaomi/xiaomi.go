// Package xiaomi shows notices through Mi Push (v3), on Xiaomi's and Redmi's phones. Of a notice it shows
//
//	Title, Text               title, cut below 50 characters, and description, below 128
//	Ext                       payload, at most 4,096 characters
//	Expire                    time_to_live, at most 14 days
//	Task                      extra.jobkey, by which the vendor counts, and phones leave out what they have had
//	Seq                       notify_id: a repeat takes the place of the first
//	Android.XiaoMiChannelID   extra.channel_id
//	Android.Sound             extra.sound_uri, as the app's resource of that name
//
// A send takes at most 1,000 tokens. Revoke takes a notification back from the devices that it was sent to, whether it
// waits for them or is shown.
package xiaomi

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
	"unicode/utf8"

	"github.com/carillon-push/carillon/deliver/channel"
	"github.com/carillon-push/carillon/deliver/channel/internal/vendorhttp"
)

const (
	batch          = 1000
	maxTitle       = 49
	maxDescription = 127
	maxPayload     = 4096
	maxLife        = 14 * 24 * time.Hour
	sendPath       = "/v3/message/regid"
	revokePath     = "/v3/message/regid/revoke"
)

// Config is an app's access to Mi Push. On the Xiaomi developers' site: Push operations console, the app, App information.
type Config struct {
	// AppSecret is "AppSecret", there. It does not end.
	AppSecret string
	// Package is "Main package name", there, as in com.example.app.
	Package string
	// Intent is the app's page that a tap opens, as an intent address. Empty: a tap opens the app.
	Intent string
	// AppName stands as the title of pushes that have none. Empty: their text does.
	AppName string
	// URL is the address of Mi Push, without a path. Phones sold outside China have addresses of their own, as in
	// https://sgp-api.xmpush.global.xiaomi.com.
	URL string
	// Timeout bounds each request.
	Timeout time.Duration
}

// Default is all but the credentials.
func Default() Config {
	return Config{URL: "https://api.xmpush.xiaomi.com", Timeout: vendorhttp.DefaultTimeout}
}

// String names the app, so that a configuration that is printed tells no credential.
func (c Config) String() string { return "Xiaomi's app " + c.Package }

// LogValue is String.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Validate says what is wrong with a configuration, without repeating a credential.
func (c Config) Validate() error {
	const where = "on the Xiaomi developers' site under Push operations console, the app, App information"
	if err := vendorhttp.ValidSecret("Xiaomi's app secret", c.AppSecret, where); err != nil {
		return err
	}
	if c.Package == "" || strings.ContainsAny(c.Package, " ,/;\"\n") {
		return fmt.Errorf("the package of Xiaomi must be the app's, as in com.example.app; it is found %s", where)
	}
	if err := vendorhttp.ValidURL("Xiaomi's address", c.URL); err != nil {
		return err
	}
	return vendorhttp.ValidTimeout("Xiaomi's timeout", c.Timeout)
}

// Xiaomi is the channel of one app.
type Xiaomi struct {
	config Config
	client *vendorhttp.Client
	header http.Header
}

var (
	_ channel.Channel = (*Xiaomi)(nil)
	_ channel.Revoker = (*Xiaomi)(nil)
)

// New makes the channel, or says what is wrong with the configuration. It asks Xiaomi nothing.
func New(c Config) (*Xiaomi, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &Xiaomi{
		config: c, client: vendorhttp.NewClient(c.Timeout), header: http.Header{"Authorization": {"key=" + c.AppSecret}},
	}, nil
}

// Batch is 1,000.
func (x *Xiaomi) Batch() int { return batch }

// Send makes one request.
func (x *Xiaomi) Send(ctx context.Context, n *channel.Notice, tokens []string) []channel.Result {
	b := vendorhttp.NewBatch(tokens)
	if len(b.Tokens) == 0 {
		return b.All(channel.Result{})
	}
	life, ok := vendorhttp.Life(n, time.Now(), maxLife)
	if !ok {
		return b.All(channel.Result{Outcome: channel.Refused, Reason: channel.ReasonExpired})
	}
	if utf8.RuneCountInString(n.Ext) > maxPayload {
		return b.All(channel.Result{Outcome: channel.Refused, Reason: channel.ReasonTooLong})
	}
	form := x.message(n, life)
	form.Set("registration_id", strings.Join(b.Tokens, ","))
	return x.post(ctx, b, sendPath, form)
}

// Revoke makes one request. Xiaomi knows what is to be taken back by the device and the notice's number, so that ids may be
// empty; a token that Xiaomi does not know is Gone here too.
func (x *Xiaomi) Revoke(ctx context.Context, n *channel.Notice, tokens, _ []string) []channel.Result {
	b := vendorhttp.NewBatch(tokens)
	if len(b.Tokens) == 0 {
		return b.All(channel.Result{})
	}
	return x.post(ctx, b, revokePath, url.Values{
		"registration_ids":        {strings.Join(b.Tokens, ",")},
		"restricted_package_name": {x.config.Package},
		"notify_id":               {notifyID(n)},
	})
}

func (x *Xiaomi) post(ctx context.Context, b *vendorhttp.Batch, path string, form url.Values) []channel.Result {
	a, err := x.client.PostForm(ctx, x.config.URL+path, x.header, form.Encode())
	if err != nil {
		return b.All(vendorhttp.Unreachable())
	}
	return parse(a, b, time.Now())
}

// message is all of the form but the devices.
func (x *Xiaomi) message(n *channel.Notice, life time.Duration) url.Values {
	form := url.Values{
		"restricted_package_name": {x.config.Package},
		"pass_through":            {"0"},  // a notification, and not data for the app alone
		"notify_type":             {"-1"}, // sound, vibration and light
		"notify_id":               {notifyID(n)},
		"title":                   {channel.Cut(vendorhttp.Title(n, x.config.AppName), maxTitle, channel.UTF16)},
		"description":             {channel.Cut(n.Text, maxDescription, channel.UTF16)},
		"time_to_live":            {strconv.FormatInt(life.Milliseconds(), 10)},
		"extra.jobkey":            {string(n.Task)},
		"extra.notify_effect":     {"1"}, // a tap opens the app
	}
	if x.config.Intent != "" {
		form.Set("extra.notify_effect", "2")
		form.Set("extra.intent_uri", x.config.Intent)
	}
	if n.Ext != "" {
		form.Set("payload", n.Ext)
	}
	if id := n.Android.XiaoMiChannelID; id != "" {
		form.Set("extra.channel_id", id)
	}
	if s := n.Android.Sound; s != "" {
		// A resource's name has no extension.
		form.Set("extra.sound_uri", "android.resource://"+x.config.Package+"/raw/"+strings.TrimSuffix(path.Base(s), path.Ext(s)))
	}
	return form
}

func notifyID(n *channel.Notice) string { return strconv.Itoa(int(vendorhttp.NotifyID(n))) }
