package native

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/time/rate"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/usersig"
)

// tenant is an app with what is counted of it.
type tenant struct {
	App
	calls map[*operation]*rate.Limiter
}

// tenants are all apps at one moment.
type tenants struct {
	apps map[push.AppID]*tenant
	keys []credential
}

// credential is an API key as callers' are compared with it.
type credential struct {
	hash  [sha256.Size]byte
	app   *tenant
	name  string
	roles []Role
}

// callsPerSecond of each operation, where the app sets nothing else.
const callsPerSecond = 100

func (n *Native) tenantsOf(apps []App) (*tenants, error) {
	if err := validate(apps); err != nil {
		return nil, err
	}
	all := &tenants{apps: map[push.AppID]*tenant{}}
	for _, a := range apps {
		t := &tenant{App: a, calls: map[*operation]*rate.Limiter{}}
		limit := callsPerSecond
		if a.CallsPerSecond > 0 {
			limit = a.CallsPerSecond
		}
		for _, o := range n.operations {
			t.calls[o] = rate.NewLimiter(rate.Limit(limit), limit)
		}
		all.apps[a.ID] = t
		for _, k := range a.APIKeys {
			sum, err := k.hash()
			if err != nil {
				return nil, err
			}
			all.keys = append(all.keys, credential{sum, t, k.Name, k.Roles})
		}
	}
	return all, nil
}

// caller is who calls, and for which app.
type caller struct {
	app   *tenant
	name  string // an admin, or an API key's name
	roles []Role
	// sender of a push that names none.
	sender string
}

// may says whether the caller has a role, or one that includes it.
func (c *caller) may(r Role) bool {
	return slices.Contains(c.roles, r) || slices.Contains(c.roles, Admin) || r == Read && slices.Contains(c.roles, Push)
}

func unauthenticated(detail string) error {
	return refuse(http.StatusUnauthorized, codeUnauthenticated, "%s", detail)
}

// authenticate takes an API key where there is one, and else a UserSig of an admin.
func (n *Native) authenticate(r *http.Request, q url.Values) (*caller, error) {
	all := n.tenants.Load()
	if header := r.Header.Get("Authorization"); header != "" {
		scheme, key, _ := strings.Cut(header, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return nil, unauthenticated("the Authorization header is not of the form: Bearer <key>")
		}
		return all.byKey(strings.TrimSpace(key))
	}
	if q.Get("usersig") == "" {
		return nil, unauthenticated("send an API key (Authorization: Bearer <key>), or sdkappid, identifier and usersig in the URL")
	}
	app, err := push.ParseAppID(q.Get("sdkappid"))
	if err != nil {
		return nil, unauthenticated(err.Error())
	}
	t, identifier := all.apps[app], q.Get("identifier")
	if t == nil {
		return nil, unauthenticated("sdkappid is no app of this service")
	}
	if _, err := usersig.Verify(q.Get("usersig"), t.Keys, app, identifier, n.now()); err != nil {
		return nil, unauthenticated(err.Error())
	}
	if !slices.Contains(t.Admins, identifier) {
		return nil, refuse(http.StatusForbidden, codeForbidden, "%q is no admin of app %d", identifier, app)
	}
	return &caller{t, identifier, []Role{Admin}, identifier}, nil
}

// byKey compares with every key, so that the time says nothing of which are alike.
func (all *tenants) byKey(key string) (*caller, error) {
	sum, found := sha256.Sum256([]byte(key)), -1
	for i := range all.keys {
		if subtle.ConstantTimeCompare(sum[:], all.keys[i].hash[:]) == 1 {
			found = i
		}
	}
	if found < 0 {
		return nil, unauthenticated("there is no such API key")
	}
	k := all.keys[found]
	return &caller{k.app, k.name, k.roles, k.app.Admins[0]}, nil
}
