package config

import (
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/carillon-push/carillon/pkg/push"
)

// App is one app of the service, with the quotas of its operators. What its keys mean is said once, in AppKeys.
type App struct {
	SDKAppID push.AppID `mapstructure:"sdkappid"`
	Key      string     `mapstructure:"key" json:"-"`
	Keys     []string   `mapstructure:"keys" json:"-"`
	Admins   []string   `mapstructure:"admins"`
	// PushInterval is zero for no limit.
	PushInterval time.Duration `mapstructure:"push_interval"`
	// PushPerDay is zero for no limit.
	PushPerDay int `mapstructure:"push_per_day"`
	// CallsPerSecond is zero for the contract's own limits.
	CallsPerSecond int `mapstructure:"calls_per_second"`
	// Disabled refuses every call and login, and ends the sessions that there are.
	Disabled bool `mapstructure:"disabled"`
	// PushDisabled refuses pushes alone.
	PushDisabled bool     `mapstructure:"push_disabled"`
	APIKeys      []APIKey `mapstructure:"api_keys" json:"-"`
	// Channels are the sections of the app's channels to vendors, by name: VendorChannels reads them.
	Channels map[string]map[string]any `mapstructure:"channels" json:"-"`
	// Callback is empty for none.
	Callback Callback `mapstructure:"callback"`
}

// APIKey lets a program call the native interface.
type APIKey struct {
	Name  string   `mapstructure:"name"`
	Key   string   `mapstructure:"key" json:"-"`
	Roles []string `mapstructure:"roles"`
}

// String leaves out the key, and so does everything that package fmt makes of an APIKey.
func (k APIKey) String() string { return fmt.Sprintf("{name: %s, roles: %q}", k.Name, k.Roles) }

// GoString is String.
func (k APIKey) GoString() string { return k.String() }

// Roles of an API key.
const (
	RoleRead  = "read"  // every GET
	RolePush  = "push"  // push, and what read may
	RoleAdmin = "admin" // everything
)

// minAPIKey is how long an API key is at least, in bytes: it is all that a caller proves itself with.
const minAPIKey = 16

// VerifyKeys are all keys with which a UserSig of the app may be signed, the current one first.
func (a App) VerifyKeys() []string { return append([]string{a.Key}, a.Keys...) }

// String leaves out the keys, and so does everything that package fmt makes of an App.
func (a App) String() string {
	return fmt.Sprintf("{sdkappid: %s, admins: %q, push_interval: %s, push_per_day: %d, calls_per_second: %d}",
		a.SDKAppID, a.Admins, a.PushInterval, a.PushPerDay, a.CallsPerSecond)
}

// GoString is String.
func (a App) GoString() string { return a.String() }

// appKeys are the keys of one element of apps. A key without a default has nil: every app must set it.
var appKeys = []Key{
	{"sdkappid", nil, "The app's number in every call, from 1 to 4294967295.", nil},
	{"key", nil, "The secret with which the app's UserSigs are signed.", nil},
	{"keys", []string{}, "Further secrets that are accepted while the key is being replaced.", nil},
	{"admins", nil, "The accounts that may call the REST interface.", nil},
	{"push_interval", time.Second, "The least time between two pushes. 0s: no limit.", durations(0, 24*time.Hour)},
	{"push_per_day", 100, "Pushes a day. 0: no limit.", atLeast(0)},
	{"calls_per_second", 0, "Calls a second of each command. 0: the limits of the contract, 100 for most commands.", atLeast(0)},
	{"disabled", false, "Refuse every call and login of the app, and end its sessions.", nil},
	{"push_disabled", false, "Refuse the app's pushes alone.", nil},
	{"api_keys", []APIKey{}, "Bearer keys of the native interface, each with a name, a key of at least 16 bytes (or sha256: and its hash), and roles out of read, push and admin.", nil},
	{"channels", map[string]map[string]any{}, "The app's channels to vendors, each a section by its name (apns, fcm, webpush, huawei, honor, xiaomi, oppo, vivo, webhook), whose keys are below.", nil},
	{"callback", Callback{}, "The operator's server that is told what becomes of pushes and sessions: its url, a secret_file with the secrets that requests are signed with, and which events out of sent, received, opened, login, logout and disconnect; all, when none is named. {}: none is told.", nil},
}

// AppKeys describes the keys of one element of apps, for the documentation.
func AppKeys() []Key { return append([]Key(nil), appKeys...) }

// appDefaults are the values of an app's keys that are not set.
func appDefaults() map[string]any {
	app := make(map[string]any)
	for _, k := range appKeys {
		if k.Default != nil {
			app[k.Name] = k.Default
		}
	}
	return app
}

// validateApps checks each app by itself and against those before it.
func validateApps(apps []App) (faults Faults) {
	seen := make(map[push.AppID]int)
	for i, a := range apps {
		at := "apps[" + strconv.Itoa(i) + "]."
		faults.check(appKeys, a, at)
		if a.SDKAppID == 0 {
			faults.add(at+"sdkappid", "every app needs one, from 1 to 4294967295")
		} else if first, ok := seen[a.SDKAppID]; ok {
			faults.add(at+"sdkappid", "%s is the sdkappid of apps[%d] already; every app needs its own", a.SDKAppID, first)
		} else {
			seen[a.SDKAppID] = i
		}
		if a.Key == "" {
			faults.add(at+"key", "every app needs one: the secret with which its UserSigs are signed")
		}
		for j, k := range a.Keys {
			if k == "" {
				faults.add(fmt.Sprintf("%skeys[%d]", at, j), "a key must not be empty; leave it out")
			}
		}
		faults = append(faults, validateAPIKeys(at, a.APIKeys)...)
		_, wrong := a.VendorChannels()
		for _, f := range wrong {
			f.Key = at + f.Key
			faults = append(faults, f)
		}
		faults = append(faults, validateCallback(at, a.Callback)...)
		if len(a.Admins) == 0 {
			faults.add(at+"admins", "every app needs at least one account that may call the REST interface")
		}
		for j, admin := range a.Admins {
			name := fmt.Sprintf("%sadmins[%d]", at, j)
			if err := push.ValidAccount(admin); err != nil {
				faults.add(name, "%q is no account: %v", admin, err)
			} else if !utf8.ValidString(admin) {
				faults.add(name, "%q is not UTF-8, so that no UserSig can be for it", admin)
			}
		}
	}
	return faults
}

func validateAPIKeys(at string, keys []APIKey) (faults Faults) {
	for i, k := range keys {
		name := fmt.Sprintf("%sapi_keys[%d].", at, i)
		if k.Name == "" {
			faults.add(name+"name", "every API key needs one, to be told from others in the log")
		}
		if len(k.Key) < minAPIKey {
			faults.add(name+"key", "an API key has at least %d bytes", minAPIKey)
		}
		if len(k.Roles) == 0 {
			faults.add(name+"roles", "every API key needs one of %s, %s and %s", RoleRead, RolePush, RoleAdmin)
		}
		for j, r := range k.Roles {
			if r != RoleRead && r != RolePush && r != RoleAdmin {
				faults.add(fmt.Sprintf("%sroles[%d]", name, j), "%q is none of %s, %s and %s", r, RoleRead, RolePush, RoleAdmin)
			}
		}
	}
	return faults
}
