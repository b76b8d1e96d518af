// Package vivo shows notices through vivo Push (PUSH-UPS), on vivo's and iQOO's phones. Of a notice it shows
//
//	Title, Text                  title, cut to 40 columns, and content, cut to 100: ASCII has one, all else two
//	Ext                          clientCustomMap.ext; with its name at most 1,024 characters
//	Expire                       timeToLive, from a minute to 7 days
//	Android.VIVOClassification   classification: 1 is a system message, 0 an operational one; and category, see Config
//
// vivo has no channels or sounds to choose, and nothing by which a repeat could take the place of the first. A send takes
// at most 1,000 tokens. One token has a request of its own; several refer to a message that was saved before, of which an
// app has a limited number a day: a push's batches share one.
package vivo

import (
	"context"
	"crypto/md5"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/carillon-push/carillon/deliver/channel"
	"github.com/carillon-push/carillon/deliver/channel/internal/vendorhttp"
	"github.com/carillon-push/carillon/pkg/push"
)

const (
	batch      = 1000
	maxTitle   = 40
	maxContent = 100
	maxPairs   = 1024
	minLife    = time.Minute
	maxLife    = 7 * 24 * time.Hour
	// authLife is how long an access token is used: it holds for a day, and vivo advises to renew it within two hours.
	authLife = 2 * time.Hour
	// savedLife is how long a saved message is used: its time to live was counted when it was saved.
	savedLife = 10 * time.Minute
	// maxSaved is how many pushes' saved messages are remembered. One that is forgotten is saved again.
	maxSaved = 64

	authPath = "/message/auth"
	sendPath = "/message/send"
	savePath = "/message/saveListPayload"
	listPath = "/message/pushToList"
)

// Config is an app's access to vivo Push. On vivo's push platform (vpush.vivo.com.cn): the app, Application information.
type Config struct {
	// AppID is "APP ID", there.
	AppID string
	// AppKey is "APP key", there.
	AppKey string
	// AppSecret is "APP secret", there.
	AppSecret string
	// SystemCategory is the second class of system messages: IM, ACCOUNT, TODO, DEVICE_REMINDER, ORDER or SUBSCRIPTION.
	// Empty: none, so that vivo chooses the class by the text.
	SystemCategory string
	// OperationCategory is that of operational messages: NEWS, CONTENT, MARKETING or SOCIAL. Empty: none.
	OperationCategory string
	// Intent is the app's page that a tap opens, as an intent address. Empty: a tap opens the app.
	Intent string
	// AppName stands as the title of pushes that have none. Empty: their text does.
	AppName string
	// URL is the address of vivo Push, without a path.
	URL string
	// Timeout bounds each request.
	Timeout time.Duration
}

var (
	systemCategories    = []string{"", "IM", "ACCOUNT", "TODO", "DEVICE_REMINDER", "ORDER", "SUBSCRIPTION"}
	operationCategories = []string{"", "NEWS", "CONTENT", "MARKETING", "SOCIAL"}
)

// Default is all but the credentials.
func Default() Config {
	return Config{URL: "https://api-push.vivo.com.cn", Timeout: vendorhttp.DefaultTimeout}
}

// String names the app, so that a configuration that is printed tells no credential.
func (c Config) String() string { return "vivo's app " + c.AppID }

// LogValue is String.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Validate says what is wrong with a configuration, without repeating a credential.
func (c Config) Validate() error {
	const where = "on vpush.vivo.com.cn under the app, Application information"
	if err := vendorhttp.ValidSecret("vivo's app ID", c.AppID, where); err != nil {
		return err
	}
	if n, err := strconv.ParseInt(c.AppID, 10, 64); err != nil || n <= 0 {
		return fmt.Errorf("vivo's app ID is a number; it is found %s", where)
	}
	if err := vendorhttp.ValidSecret("vivo's app key", c.AppKey, where); err != nil {
		return err
	}
	if err := vendorhttp.ValidSecret("vivo's app secret", c.AppSecret, where); err != nil {
		return err
	}
	if !slices.Contains(systemCategories, c.SystemCategory) {
		return fmt.Errorf("vivo's category of system messages must be one of %s", strings.Join(systemCategories[1:], ", "))
	}
	if !slices.Contains(operationCategories, c.OperationCategory) {
		return fmt.Errorf("vivo's category of operational messages must be one of %s", strings.Join(operationCategories[1:], ", "))
	}
	if len(c.Intent) > maxPairs {
		return fmt.Errorf("vivo's intent has at most %d bytes, this one has %d", maxPairs, len(c.Intent))
	}
	if err := vendorhttp.ValidURL("vivo's address", c.URL); err != nil {
		return err
	}
	return vendorhttp.ValidTimeout("vivo's timeout", c.Timeout)
}

// Vivo is the channel of one app.
type Vivo struct {
	config Config
	appID  int64
	client *vendorhttp.Client
	access *vendorhttp.Access
	// saved messages, whose task IDs are kept and fetched just as access tokens are.
	saved *lru.Cache[saving, *vendorhttp.Access]
}

// saving names a push.
type saving struct {
	task push.TaskID
	seq  push.Seq
}

var _ channel.Channel = (*Vivo)(nil)

// New makes the channel, or says what is wrong with the configuration. It asks vivo nothing.
func New(c Config) (*Vivo, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	id, err := strconv.ParseInt(c.AppID, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("vivo's app ID is a number: %w", err)
	}
	saved, err := lru.New[saving, *vendorhttp.Access](maxSaved)
	if err != nil {
		return nil, fmt.Errorf("vivo's saved messages could not be kept: %w", err)
	}
	v := &Vivo{config: c, appID: id, client: vendorhttp.NewClient(c.Timeout), saved: saved}
	v.access = vendorhttp.NewAccess(v.authenticate)
	return v, nil
}

// Batch is 1,000.
func (v *Vivo) Batch() int { return batch }

// Send makes one request for one token, and for several at most two: the message is saved first, unless another batch of the
// push has done so. Where vivo no longer takes the access token it makes them once more, with a new one.
func (v *Vivo) Send(ctx context.Context, n *channel.Notice, tokens []string) []channel.Result {
	b := vendorhttp.NewBatch(tokens)
	if len(b.Tokens) == 0 {
		return b.All(channel.Result{})
	}
	life, ok := vendorhttp.Life(n, time.Now(), maxLife)
	if !ok {
		return b.All(channel.Result{Outcome: channel.Refused, Reason: channel.ReasonExpired})
	}
	if n.Ext != "" && channel.UTF16.Of("ext"+n.Ext) > maxPairs {
		return b.All(channel.Result{Outcome: channel.Refused, Reason: channel.ReasonTooLong})
	}
	return v.access.Do(ctx, b, func(token string) ([]channel.Result, bool) {
		if len(b.Tokens) == 1 {
			m := v.message(n, life)
			m.RegID = b.Tokens[0]
			return v.post(ctx, b, token, sendPath, "", m)
		}
		task, r := v.save(n).Token(ctx)
		if r.Outcome != channel.Sent {
			return b.All(r), stale(r)
		}
		return v.post(ctx, b, token, listPath, task, list{AppID: v.appID, RegIDs: b.Tokens, TaskID: task, RequestID: rand.Text()})
	})
}

func (v *Vivo) post(ctx context.Context, b *vendorhttp.Batch, token, path, task string, body any) ([]channel.Result, bool) {
	a, err := v.client.PostJSON(ctx, v.config.URL+path, http.Header{"authToken": {token}}, body)
	if err != nil {
		return b.All(vendorhttp.Unreachable()), false
	}
	return parse(a, b, task, time.Now())
}

// save is where the push's saved message is kept.
func (v *Vivo) save(n *channel.Notice) *vendorhttp.Access {
	key := saving{n.Task, n.Seq}
	fresh := vendorhttp.NewAccess(func(ctx context.Context) (vendorhttp.Grant, channel.Result) {
		token, r := v.access.Token(ctx)
		if r.Outcome != channel.Sent {
			return vendorhttp.Grant{}, r
		}
		life, ok := vendorhttp.Life(n, time.Now(), maxLife)
		if !ok {
			return vendorhttp.Grant{}, channel.Result{Outcome: channel.Refused, Reason: channel.ReasonExpired}
		}
		a, err := v.client.PostJSON(ctx, v.config.URL+savePath, http.Header{"authToken": {token}}, v.message(n, life))
		if err != nil {
			return vendorhttp.Grant{}, vendorhttp.Unreachable()
		}
		return parseSaved(a, time.Now())
	})
	if old, ok, _ := v.saved.PeekOrAdd(key, fresh); ok {
		return old
	}
	return fresh
}

// authenticate asks for an access token: the secret signs the time and is not sent. MD5 is vivo's choice.
func (v *Vivo) authenticate(ctx context.Context) (vendorhttp.Grant, channel.Result) {
	at := time.Now().UnixMilli()
	sign := md5.Sum([]byte(v.config.AppID + v.config.AppKey + strconv.FormatInt(at, 10) + v.config.AppSecret))
	a, err := v.client.PostJSON(ctx, v.config.URL+authPath, nil, authentication{
		AppID: v.appID, AppKey: v.config.AppKey, Timestamp: at, Sign: hex.EncodeToString(sign[:]),
	})
	if err != nil {
		return vendorhttp.Grant{}, vendorhttp.Unreachable()
	}
	return parseGrant(a)
}

// The requests, as the interface's reference has them.
type authentication struct {
	AppID     int64  `json:"appId"`
	AppKey    string `json:"appKey"`
	Timestamp int64  `json:"timestamp"`
	Sign      string `json:"sign"`
}

type message struct {
	AppID          int64             `json:"appId"`
	RegID          string            `json:"regId,omitempty"`
	NotifyType     int               `json:"notifyType"`
	Title          string            `json:"title"`
	Content        string            `json:"content"`
	TimeToLive     int               `json:"timeToLive"`
	SkipType       int               `json:"skipType"`
	SkipContent    string            `json:"skipContent,omitempty"`
	NetworkType    int               `json:"networkType"`
	Classification int               `json:"classification"`
	Category       string            `json:"category,omitempty"`
	Custom         map[string]string `json:"clientCustomMap,omitempty"`
	RequestID      string            `json:"requestId"`
}

type list struct {
	AppID     int64    `json:"appId"`
	RegIDs    []string `json:"regIds"`
	TaskID    string   `json:"taskId"`
	RequestID string   `json:"requestId"`
}

const (
	ringAndVibrate = 4
	anyNetwork     = -1
	system         = 1

	openApp  = 1
	openPage = 4
)

func (v *Vivo) message(n *channel.Notice, life time.Duration) message {
	m := message{
		AppID: v.appID, NotifyType: ringAndVibrate,
		Title: channel.Cut(vendorhttp.Title(n, v.config.AppName), maxTitle, channel.Columns), Content: channel.Cut(n.Text, maxContent, channel.Columns),
		TimeToLive: int(max(life, minLife) / time.Second), SkipType: openApp, NetworkType: anyNetwork,
		Category: v.config.OperationCategory, RequestID: rand.Text(),
	}
	if n.Android.VIVOClassification == system {
		m.Classification, m.Category = system, v.config.SystemCategory
	}
	if v.config.Intent != "" {
		m.SkipType, m.SkipContent = openPage, v.config.Intent
	}
	if n.Ext != "" {
		m.Custom = map[string]string{"ext": n.Ext}
	}
	return m
}
