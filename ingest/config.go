package ingest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/tracing"
)

// App is one app that may be called for.
type App struct {
	ID push.AppID
	// Keys that UserSigs may be signed with; several while one replaces another.
	Keys []string
	// Admins are the identifiers that may call.
	Admins []string
	// PushInterval is the least time between two pushes; zero for none.
	PushInterval time.Duration
	// PushPerDay is how many pushes there may be from one midnight of Config.Location to the next; zero for no limit.
	PushPerDay int
	// CallsPerSecond of each command; zero for the contract's 100, and 200 of account_import.
	CallsPerSecond int
	// Disabled answers every command with 60016.
	Disabled bool
	// PushDisabled answers im_push with 90045.
	PushDisabled bool
}

// String leaves out the keys.
func (a App) String() string {
	return fmt.Sprintf("app %d with %d keys, admins %q", a.ID, len(a.Keys), a.Admins)
}

// GoString is String, so that no verb of package fmt shows a key.
func (a App) GoString() string { return a.String() }

// Config of the REST contract's edge.
type Config struct {
	Apps []App
	// Tracer of pushes; nil for none.
	Tracer *tracing.Tracer
	// Location has the midnight at which the day of a daily quota ends; nil for UTC.
	Location *time.Location
	// BodyLimit is the longest body that is read, in bytes; a longer one is answered with HTTP 413.
	BodyLimit int64
	// MessageLimit is the longest MsgBody, in bytes; a longer one is answered with 93000.
	MessageLimit int
	// CallTimeout bounds the work for one request; what takes longer is answered as an internal error.
	CallTimeout time.Duration
}

// Default is the contract's limits, without apps.
func Default() Config {
	return Config{BodyLimit: 64 << 10, MessageLimit: 12 << 10, CallTimeout: 15 * time.Second}
}

// Bounds of the configuration, in bytes: with the longest vendor part a push still is one message on the broker.
const (
	maxMessageLimit = 512 << 10
	maxOfflineInfo  = 64 << 10
)

// Validate says what is wrong, in a sentence.
func (c Config) Validate() error {
	switch {
	case c.MessageLimit < 1 || c.MessageLimit > maxMessageLimit:
		return fmt.Errorf("a message limit is from 1 to %d bytes, not %d", maxMessageLimit, c.MessageLimit)
	case c.BodyLimit < int64(c.MessageLimit):
		return fmt.Errorf("with a body limit of %d bytes no message of %d could arrive", c.BodyLimit, c.MessageLimit)
	case c.CallTimeout <= 0:
		return fmt.Errorf("a call must be given some time, not %v", c.CallTimeout)
	}
	return validateApps(c.Apps)
}

func validateApps(apps []App) error {
	seen := map[push.AppID]bool{}
	for _, a := range apps {
		if err := a.validate(); err != nil {
			return err
		}
		if seen[a.ID] {
			return fmt.Errorf("app %d is configured twice", a.ID)
		}
		seen[a.ID] = true
	}
	return nil
}

func (a App) validate() error {
	switch {
	case a.ID == 0:
		return errors.New("an app has no sdkappid")
	case len(a.Keys) == 0 || slices.Contains(a.Keys, ""):
		return fmt.Errorf("app %d has no key, or an empty one", a.ID)
	case len(a.Admins) == 0:
		return fmt.Errorf("app %d has no admin, so that nobody could call", a.ID)
	case a.PushInterval < 0 || a.PushPerDay < 0 || a.CallsPerSecond < 0:
		return fmt.Errorf("app %d has a negative limit", a.ID)
	}
	for _, admin := range a.Admins {
		if err := push.ValidAccount(admin); err != nil {
			return fmt.Errorf("app %d: %q cannot be an admin: %w", a.ID, admin, err)
		}
	}
	return nil
}
