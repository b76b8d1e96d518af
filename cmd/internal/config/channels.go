package config

import (
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/go-viper/mapstructure/v2"

	"github.com/carillon-push/carillon/deliver/channel"
	"github.com/carillon-push/carillon/deliver/channel/apns"
	"github.com/carillon-push/carillon/deliver/channel/fcm"
	"github.com/carillon-push/carillon/deliver/channel/honor"
	"github.com/carillon-push/carillon/deliver/channel/huawei"
	"github.com/carillon-push/carillon/deliver/channel/oppo"
	"github.com/carillon-push/carillon/deliver/channel/vivo"
	"github.com/carillon-push/carillon/deliver/channel/webhook"
	"github.com/carillon-push/carillon/deliver/channel/webpush"
	"github.com/carillon-push/carillon/deliver/channel/xiaomi"
)

// Channel is one of an app's channels to vendors.
type Channel struct {
	Name   string
	Limits channel.Limits
	// Files are those that its credentials are in.
	Files []string
	// Open makes it of what the files and variables hold now.
	Open func() (channel.Channel, error)
}

// ChannelKind is one kind of channel: the keys of its section are the fields of its configuration.
type ChannelKind struct {
	Name string
	// secrets are the fields that may be given as a file (key_file) or as an environment variable (key_env) too.
	secrets []string
	// config is a pointer to the defaults; checked says what is wrong with one, and open makes the channel.
	config  func() any
	checked func(any) error
	files   func(any) []string
	open    func(any) (channel.Channel, error)
}

// kindOf makes a kind of the functions that every channel has.
func kindOf[C interface{ Validate() error }, T channel.Channel](name string, d func() C, files func(C) []string, open func(C) (T, error), secrets ...string) ChannelKind {
	return ChannelKind{
		Name: name, secrets: secrets,
		config:  func() any { c := d(); return &c },
		checked: func(c any) error { return (*c.(*C)).Validate() },
		files: func(c any) []string {
			if files == nil {
				return nil
			}
			return files(*c.(*C))
		},
		open: func(c any) (channel.Channel, error) { return open(*c.(*C)) },
	}
}

func zero[C any]() (c C) { return c }

// ChannelKinds are all of them.
func ChannelKinds() []ChannelKind {
	return []ChannelKind{
		kindOf("apns", apns.Default, apns.Config.Files, apns.New, "Password"),
		kindOf("fcm", zero[fcm.Config], fcm.Config.Files, fcm.New),
		kindOf("webpush", zero[webpush.Config], webpush.Config.Files, webpush.New),
		kindOf("huawei", huawei.Default, nil, huawei.New, "ClientSecret"),
		kindOf("honor", honor.Default, nil, honor.New, "ClientSecret"),
		kindOf("xiaomi", xiaomi.Default, nil, xiaomi.New, "AppSecret"),
		kindOf("oppo", oppo.Default, nil, oppo.New, "MasterSecret"),
		kindOf("vivo", vivo.Default, nil, vivo.New, "AppSecret"),
		kindOf("webhook", webhook.Default, webhook.Config.Files, webhook.New),
	}
}

// ChannelKey is one key of a channel's section.
type ChannelKey struct {
	Name string
	// Field is what it sets, of the channel's Config or of channel.Limits.
	Field string
	// Default as it is shown; empty for none.
	Default string
}

// Keys are those of the kind's configuration, in its order, and behind them those of its limits.
func (k ChannelKind) Keys() (own, limits []ChannelKey) {
	fields := func(v reflect.Value) (keys []ChannelKey) {
		for i := range v.NumField() {
			key := ChannelKey{Name: keyOf(v.Type().Field(i).Name), Field: v.Type().Field(i).Name}
			if f := v.Field(i); !f.IsZero() {
				key.Default = fmt.Sprint(f.Interface())
			}
			keys = append(keys, key)
		}
		return keys
	}
	own, limits = fields(reflect.ValueOf(k.config()).Elem()), fields(reflect.ValueOf(channel.DefaultLimits()))
	return own, slices.DeleteFunc(limits, func(l ChannelKey) bool {
		return slices.ContainsFunc(own, func(o ChannelKey) bool { return o.Name == l.Name })
	})
}

// Secret says whether a key may be given as a file or a variable.
func (k ChannelKind) Secret(key ChannelKey) bool { return slices.Contains(k.secrets, key.Field) }

// keyOf is a field's name as a key: KeyFile is key_file, and URL url.
func keyOf(field string) string {
	var b strings.Builder
	runes := []rune(field)
	for i, r := range runes {
		if unicode.IsUpper(r) && i > 0 && (unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// VendorChannels gives an app's channels as they are configured, by name; the faults' keys are within the app's section. Files
// and variables are read when a channel is opened.
func (a App) VendorChannels() (all []Channel, faults Faults) {
	kinds := ChannelKinds()
	for _, name := range slices.Sorted(maps.Keys(a.Channels)) {
		i := slices.IndexFunc(kinds, func(k ChannelKind) bool { return k.Name == name })
		at := "channels." + name
		if i < 0 {
			var names []string
			for _, k := range kinds {
				names = append(names, k.Name)
			}
			faults.add(at, "there is no such channel; there are %s", strings.Join(names, ", "))
			continue
		}
		c, wrong := kinds[i].channel(a.Channels[name], at)
		if faults = append(faults, wrong...); len(wrong) == 0 {
			all = append(all, c)
		}
	}
	return all, faults
}

// channel makes a channel of its section.
func (k ChannelKind) channel(section map[string]any, at string) (c Channel, faults Faults) {
	c = Channel{Name: k.Name, Limits: channel.DefaultLimits()}
	own, limits := k.Keys()
	mine, ofLimits, from := map[string]any{}, map[string]any{}, map[string]string{}
	for key, v := range section {
		is := func(l ChannelKey) bool { return l.Name == key }
		switch field, how := k.secretOf(key); {
		case slices.ContainsFunc(own, is):
			mine[key] = v
			if key == keyOf("Timeout") {
				ofLimits[key] = v
			}
		case slices.ContainsFunc(limits, is):
			ofLimits[key] = v
		case field != "":
			text, ok := v.(string)
			if !ok || text == "" {
				faults.add(join(at, key), "it is not the %s", how)
				continue
			}
			if _, twice := from[field]; twice || section[keyOf(field)] != nil {
				faults.add(join(at, key), "%s is given in more than one way", keyOf(field))
			}
			from[field] = key
			if how == secretFile {
				c.Files = append(c.Files, text)
			}
		default:
			faults.add(join(at, key), "there is no such key")
		}
	}
	config := k.config()
	faults = append(faults, fillChannel(config, mine, at)...)
	faults = append(faults, fillChannel(&c.Limits, ofLimits, at)...)
	if len(faults) > 0 {
		return c, faults
	}
	if err := c.Limits.Validate(); err != nil {
		faults.add(at, "%v", err)
	}
	whole := func(secret func(key string) (string, error)) (any, error) {
		with := reflect.New(reflect.TypeOf(config).Elem())
		with.Elem().Set(reflect.ValueOf(config).Elem())
		for field, key := range from {
			text, err := secret(key)
			if err != nil {
				return nil, err
			}
			with.Elem().FieldByName(field).SetString(text)
		}
		return with.Interface(), nil
	}
	// Files and variables are those of the processes that notify; others have the same apps, and not them.
	if like, err := whole(func(string) (string, error) { return "secret", nil }); err != nil {
		faults.add(at, "%v", err)
	} else if err := k.checked(like); err != nil {
		faults.add(at, "%v", err)
	}
	c.Files = append(c.Files, k.files(config)...)
	c.Open = func() (channel.Channel, error) {
		with, err := whole(func(key string) (string, error) { return readSecret(key, section[key].(string)) })
		if err != nil {
			return nil, err
		}
		return k.open(with)
	}
	return c, faults
}

// How a secret may be given that does not stand in the configuration itself.
const (
	secretFile = "path of a file"
	secretEnv  = "name of a variable"
)

// secretOf gives the secret field that a key is another way of giving.
func (k ChannelKind) secretOf(key string) (field, how string) {
	for _, s := range k.secrets {
		switch key {
		case keyOf(s) + "_file":
			return s, secretFile
		case keyOf(s) + "_env":
			return s, secretEnv
		}
	}
	return "", ""
}

// maxSecret bounds what is read of a secret's file, in bytes.
const maxSecret = 64 << 10

func readSecret(key, from string) (string, error) {
	if strings.HasSuffix(key, "_env") {
		if v := os.Getenv(from); v != "" {
			return v, nil
		}
		return "", fmt.Errorf("%s: the environment variable %s is not set", key, from)
	}
	raw, err := os.ReadFile(from)
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	if text := strings.TrimSpace(string(raw)); text != "" && len(text) <= maxSecret {
		return text, nil
	}
	return "", fmt.Errorf("%s: %s is empty, or too long to be a secret", key, from)
}

// fillChannel decodes a section into a struct whose fields are named as keyOf says.
func fillChannel(into any, from map[string]any, name string) (faults Faults) {
	d, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		DecodeHook: convert, Result: into, MatchName: func(key, field string) bool { return key == keyOf(field) },
	})
	if err == nil {
		err = d.Decode(from)
	}
	collect(err, func(key string, err error) { faults.add(join(name, keyOf(key)), "%v", err) })
	return faults
}

// Notifications is how they go to phones.
type Notifications struct {
	Standby     int           `mapstructure:"standby"`
	Grace       time.Duration `mapstructure:"grace"`
	Concurrency int           `mapstructure:"concurrency"`
	DeviceIdle  time.Duration `mapstructure:"device_idle"`
}
