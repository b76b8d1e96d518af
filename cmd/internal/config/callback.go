package config

import (
	"fmt"

	"github.com/carillon-push/carillon/deliver/callback"
	"github.com/carillon-push/carillon/pkg/push"
)

// Callback is the operator's server that is told what becomes of an app's pushes and sessions.
type Callback struct {
	URL        string   `mapstructure:"url"`
	SecretFile string   `mapstructure:"secret_file"`
	Events     []string `mapstructure:"events"`
}

// Set says whether there is one.
func (c Callback) Set() bool { return c.URL != "" || c.SecretFile != "" || len(c.Events) > 0 }

// Of is the callback of an app; without events it is told all.
func (c Callback) Of(app push.AppID) callback.App {
	events := c.Events
	if len(events) == 0 {
		events = callback.Kinds()
	}
	return callback.App{ID: app, URL: c.URL, SecretFile: c.SecretFile, Events: events}
}

// String is the callback as one writes it.
func (c Callback) String() string {
	if !c.Set() {
		return "{}"
	}
	return fmt.Sprintf("{url: %s, secret_file: %s, events: %v}", c.URL, c.SecretFile, c.Events)
}

func validateCallback(at string, c Callback) (faults Faults) {
	if !c.Set() {
		return nil
	}
	if several, ok := c.Of(0).Validate().(interface{ Unwrap() []error }); ok {
		for _, err := range several.Unwrap() {
			faults.add(at+"callback", "%v", err)
		}
	}
	return faults
}
