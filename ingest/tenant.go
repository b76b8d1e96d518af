package ingest

import (
	"slices"

	"github.com/carillon-push/carillon/pkg/push"
)

// tenant is an app as a request finds it, with the counters that it shares with the app's other versions.
type tenant struct {
	App
	admins map[string]bool
	calls  map[*command]*frequency
	quota  *quota
}

// limits of the app's pushes.
func (i *Ingest) limits(t *tenant) limits {
	return limits{interval: t.PushInterval, perDay: t.PushPerDay, zone: i.cfg.Location}
}

// tenant gives an app as it is now, nil when there is none.
func (i *Ingest) tenant(id push.AppID) *tenant { return (*i.tenants.Load())[id] }

// SetApps changes all apps at once to those given, whose streams the broker has (broker.EnsureApp). Requests that have begun
// end with what they began with; what was counted goes on under the new limits. On an error, which is Config.Validate's,
// nothing has changed.
func (i *Ingest) SetApps(apps []App) error {
	if err := validateApps(apps); err != nil {
		return err
	}
	i.setting.Lock()
	defer i.setting.Unlock()
	i.setApps(apps)
	return nil
}

func (i *Ingest) setApps(apps []App) {
	var before map[push.AppID]*tenant
	if p := i.tenants.Load(); p != nil {
		before = *p
	}
	now := make(map[push.AppID]*tenant, len(apps))
	for _, a := range apps {
		a.Keys, a.Admins = slices.Clone(a.Keys), slices.Clone(a.Admins)
		t := &tenant{App: a, admins: map[string]bool{}}
		for _, admin := range a.Admins {
			t.admins[admin] = true
		}
		if old := before[a.ID]; old != nil {
			t.calls, t.quota = old.calls, old.quota
		} else {
			t.calls, t.quota = map[*command]*frequency{}, newQuota(i.b, a.ID)
			for _, c := range i.commands {
				t.calls[c] = &frequency{}
			}
		}
		now[a.ID] = t
	}
	i.tenants.Store(&now)
}
