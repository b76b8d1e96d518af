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
}

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
