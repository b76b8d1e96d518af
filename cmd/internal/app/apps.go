package app

import (
	"context"
	"errors"

	"github.com/carillon-push/carillon/cmd/internal/config"
	"github.com/carillon-push/carillon/deliver"
	"github.com/carillon-push/carillon/deliver/callback"
	"github.com/carillon-push/carillon/ingest"
	"github.com/carillon-push/carillon/ingest/native"
	"github.com/carillon-push/carillon/matcher"
	"github.com/carillon-push/carillon/offline"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/tracing"
)

// What each role needs to know of the configuration, and how a running process takes over another list of apps.

// Reload takes over the apps of another configuration: new ones begin, changed ones have their new keys, admins and
// limits at once, the calls and sessions of those that are gone or disabled are refused and ended. On an error the
// process goes on with those that it has.
func (a *App) Reload(ctx context.Context, apps []config.App) error {
	if len(apps) == 0 {
		return errors.New("no apps are configured: set apps")
	}
	if err := a.ensureApps(ctx, apps); err != nil {
		return err
	}
	// In reverse: what works on an app's shards before what lets its callers in.
	for i := len(a.apps) - 1; i >= 0; i-- {
		if err := a.apps[i](apps); err != nil {
			return err
		}
	}
	a.setServed(apps)
	a.log.Info("apps reloaded", "apps", apps)
	return nil
}

func (a *App) ensureApps(ctx context.Context, apps []config.App) error {
	for _, app := range apps {
		if err := a.b.EnsureApp(ctx, app.SDKAppID); err != nil {
			return err
		}
	}
	return nil
}

// setServed notes the apps for whose shards somebody must be there.
func (a *App) setServed(apps []config.App) {
	ids := appIDs(apps)
	a.served.Store(&ids)
}

func appIDs(apps []config.App) []push.AppID {
	ids := make([]push.AppID, len(apps))
	for i, app := range apps {
		ids[i] = app.SDKAppID
	}
	return ids
}

func ingestConfig(c *config.Config, t *tracing.Tracer) ingest.Config {
	cfg := ingest.Default()
	cfg.BodyLimit, cfg.MessageLimit = c.HTTP.BodyLimit, c.HTTP.MessageLimit
	cfg.Apps, cfg.Location = ingestApps(c.Apps), c.Quotas.Location()
	cfg.Tracer = t
	return cfg
}

func ingestApps(apps []config.App) (as []ingest.App) {
	for _, app := range apps {
		as = append(as, ingest.App{
			ID: app.SDKAppID, Keys: app.VerifyKeys(), Admins: app.Admins, PushInterval: app.PushInterval,
			PushPerDay: app.PushPerDay, CallsPerSecond: app.CallsPerSecond, Disabled: app.Disabled, PushDisabled: app.PushDisabled,
		})
	}
	return as
}

// nativeConfig has the contract's edge count the native interface's pushes, since a quota is the app's.
func nativeConfig(c *config.Config, i *ingest.Ingest, t *tracing.Tracer) native.Config {
	cfg := native.Default()
	cfg.BodyLimit, cfg.MessageLimit, cfg.Apps = c.HTTP.BodyLimit, c.HTTP.MessageLimit, nativeApps(c.Apps)
	cfg.Quota, cfg.Tracer = i.AdmitPush, t
	return cfg
}

func nativeApps(apps []config.App) (as []native.App) {
	for _, app := range apps {
		a := native.App{
			ID: app.SDKAppID, Keys: app.VerifyKeys(), Admins: app.Admins, CallsPerSecond: app.CallsPerSecond,
			Disabled: app.Disabled, PushDisabled: app.PushDisabled,
		}
		for _, k := range app.APIKeys {
			key := native.APIKey{Name: k.Name, Key: k.Key}
			for _, r := range k.Roles {
				key.Roles = append(key.Roles, native.Role(r))
			}
			a.APIKeys = append(a.APIKeys, key)
		}
		as = append(as, a)
	}
	return as
}

func deliverConfig(c *config.Config, t *tracing.Tracer) deliver.Config {
	cfg := deliver.Default()
	s := c.Sessions
	cfg.Socket.Heartbeat, cfg.Socket.QueueLimit, cfg.Socket.FrameLimit = s.Heartbeat, s.Queue, s.FrameLimit
	cfg.Socket.Ring = s.Ring()
	cfg.PerAccount, cfg.Max, cfg.Logins = s.PerAccount, s.Max, s.LoginsPerSecond
	cfg.Drain, cfg.Receipts = s.Drain, c.Receipts.Interval
	cfg.Apps, cfg.Tracer = deliverApps(c.Apps), t
	return cfg
}

func deliverApps(apps []config.App) (as []deliver.App) {
	for _, app := range apps {
		as = append(as, deliver.App{
			ID: app.SDKAppID, Keys: app.VerifyKeys(), Disabled: app.Disabled, Events: app.Callback.Set() && app.Callback.Of(app.SDKAppID).Sessions(),
		})
	}
	return as
}

func matcherConfig(c *config.Config, t *tracing.Tracer) matcher.Config {
	cfg := matcher.Default()
	cfg.Apps, cfg.Standby, cfg.Snapshot = appIDs(c.Apps), c.Matcher.Standby, c.Matcher.SnapshotInterval
	cfg.Tracer = t
	return cfg
}

func offlineConfig(c *config.Config, t *tracing.Tracer) offline.Config {
	cfg := offline.Default()
	cfg.Apps, cfg.Standby, cfg.Tracer = appIDs(c.Apps), c.Offline.Standby, t
	return cfg
}

func callbackConfig(c *config.Config) callback.Config {
	cfg := callback.Default()
	cfg.Apps = callbackApps(c.Apps)
	return cfg
}

func callbackApps(apps []config.App) (as []callback.App) {
	for _, app := range apps {
		if app.Callback.Set() {
			as = append(as, app.Callback.Of(app.SDKAppID))
		}
	}
	return as
}
