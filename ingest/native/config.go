package native

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/tracing"
)

// Role is what an API key may be used for.
type Role string

// Roles of API keys.
const (
	// Read is every GET.
	Read Role = "read"
	// Push is creating pushes and counting whom one would reach, and what Read may.
	Push Role = "push"
	// Admin is everything.
	Admin Role = "admin"
)

// APIKey is a key that may be sent as `Authorization: Bearer <key>`.
type APIKey struct {
	// Name says whose key it is; it stands with the pushes that were made with the key.
	Name string
	// Key is the key itself, 16 bytes or more, or `sha256:` and the hexadecimal SHA-256 of it.
	Key   string
	Roles []Role
}

// hashed is the prefix of a Key that is not the key itself.
const hashed = "sha256:"

const minKeyLen = 16

// hash is what a presented key's hash is compared with.
func (k APIKey) hash() (sum [sha256.Size]byte, err error) {
	h, isHash := strings.CutPrefix(k.Key, hashed)
	if !isHash {
		if len(k.Key) < minKeyLen {
			return sum, fmt.Errorf("API key %q is shorter than %d bytes", k.Name, minKeyLen)
		}
		return sha256.Sum256([]byte(k.Key)), nil
	}
	raw, err := hex.DecodeString(h)
	if err != nil || len(raw) != len(sum) {
		return sum, fmt.Errorf("API key %q: what stands behind %s is not 64 hexadecimal digits", k.Name, hashed)
	}
	return [sha256.Size]byte(raw), nil
}

// String leaves out the key.
func (k APIKey) String() string { return fmt.Sprintf("API key %q with roles %q", k.Name, k.Roles) }

// GoString is String, so that no verb of package fmt shows a key.
func (k APIKey) GoString() string { return k.String() }

// App is one app that may be called for.
type App struct {
	ID push.AppID
	// Keys that UserSigs may be signed with; several while one replaces another.
	Keys []string
	// Admins are the identifiers that may call with a UserSig. The first is the sender of pushes that name none and were
	// made with an API key.
	Admins  []string
	APIKeys []APIKey
	// CallsPerSecond of each operation; zero for 100.
	CallsPerSecond int
	// Disabled refuses every call, PushDisabled pushes alone.
	Disabled, PushDisabled bool
}

// String leaves out the keys.
func (a App) String() string {
	return fmt.Sprintf("app %d with %d keys, admins %q, %v", a.ID, len(a.Keys), a.Admins, a.APIKeys)
}

// GoString is String, so that no verb of package fmt shows a key.
func (a App) GoString() string { return a.String() }

// Quota pays for a push, last before it is published. settle is called once, with false only when it is certain that the
// push is not on the broker as a new one: it then costs nothing. The error is an *ingest.QuotaError when the app has to
// wait. It is ingest.Ingest's AdmitPush, so that both interfaces share a quota.
type Quota func(ctx context.Context, app push.AppID) (settle func(isNew bool), err error)

// Config of the native interface.
type Config struct {
	Apps []App
	// BodyLimit is the longest request body that is read, in bytes.
	BodyLimit int64
	// MessageLimit is the longest message, the body of a push, in bytes.
	MessageLimit int
	// CallTimeout bounds the work for one request.
	CallTimeout time.Duration
	// RevokeWait is how long the revocation of a push waits for every process to confirm it; shorter than CallTimeout.
	RevokeWait time.Duration
	// Quota of pushes; nil for none.
	Quota Quota
	// Tracer of pushes; nil for none.
	Tracer *tracing.Tracer
}

// Default is the same limits as the contract's, without apps.
func Default() Config {
	return Config{BodyLimit: 64 << 10, MessageLimit: 12 << 10, CallTimeout: 15 * time.Second, RevokeWait: 8 * time.Second}
}

// Validate says what is wrong, in a sentence.
func (c Config) Validate() error {
	switch {
	case c.MessageLimit < 1 || c.BodyLimit < int64(c.MessageLimit):
		return fmt.Errorf("with a body limit of %d bytes no message of %d could arrive", c.BodyLimit, c.MessageLimit)
	case c.CallTimeout <= 0:
		return fmt.Errorf("a call must be given some time, not %v", c.CallTimeout)
	case c.RevokeWait <= 0 || c.RevokeWait >= c.CallTimeout:
		return fmt.Errorf("a revocation must be given some time, less than the %v of its call, not %v", c.CallTimeout, c.RevokeWait)
	}
	return validate(c.Apps)
}

func validate(apps []App) error {
	seen, keys := map[push.AppID]bool{}, map[[sha256.Size]byte]push.AppID{}
	for _, a := range apps {
		switch {
		case a.ID == 0:
			return errors.New("an app has no sdkappid")
		case seen[a.ID]:
			return fmt.Errorf("app %d is configured twice", a.ID)
		case len(a.Keys) == 0 || slices.Contains(a.Keys, ""):
			return fmt.Errorf("app %d has no key, or an empty one", a.ID)
		case len(a.Admins) == 0:
			return fmt.Errorf("app %d has no admin", a.ID)
		case a.CallsPerSecond < 0:
			return fmt.Errorf("app %d has a negative limit", a.ID)
		}
		seen[a.ID] = true
		for _, k := range a.APIKeys {
			sum, err := k.hash()
			if err != nil {
				return fmt.Errorf("app %d: %w", a.ID, err)
			}
			if other, twice := keys[sum]; twice {
				return fmt.Errorf("API key %q of app %d is also a key of app %d; a key must tell which app it is for", k.Name, a.ID, other)
			}
			keys[sum] = a.ID
			if k.Name == "" {
				return fmt.Errorf("app %d has an API key without a name", a.ID)
			}
			if len(k.Roles) == 0 {
				return fmt.Errorf("API key %q of app %d has no role", k.Name, a.ID)
			}
			for _, r := range k.Roles {
				if r != Read && r != Push && r != Admin {
					return fmt.Errorf("API key %q of app %d has role %q; there are read, push and admin", k.Name, a.ID, r)
				}
			}
		}
	}
	return nil
}
