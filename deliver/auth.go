package deliver

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/carillon-push/carillon/deliver/socket"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/usersig"
	"github.com/carillon-push/carillon/pkg/wire"
)

// refusal is why a request of a client was refused: the HTTP status, and the contract's code and text.
type refusal struct {
	status int
	code   int
	info   string
}

func (r *refusal) Error() string { return r.info }

// user is who logs in.
type user struct {
	app     push.AppID
	account string
	platform
	device string // the client's name for itself, may be empty
}

// authenticate checks everything that the URL says.
func (d *Deliver) authenticate(r *http.Request) (u user, err error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return u, &refusal{http.StatusBadRequest, 60002, "the URL's parameters cannot be parsed"}
	}
	app, err := push.ParseAppID(q.Get("sdkappid"))
	if err != nil {
		return u, &refusal{http.StatusForbidden, 60012, err.Error()}
	}
	a, known := (*d.apps.Load())[app]
	account, sig := q.Get("identifier"), q.Get("usersig")
	switch {
	case !known:
		return u, &refusal{http.StatusForbidden, 60006, "sdkappid is not an app of this service"}
	case account == "":
		return u, &refusal{http.StatusUnauthorized, 60004, "identifier is missing"}
	case sig == "":
		return u, &refusal{http.StatusUnauthorized, 60005, "usersig is missing"}
	}
	if err := push.ValidAccount(account); err != nil {
		return u, &refusal{http.StatusForbidden, 70402, "identifier: " + err.Error()}
	}
	if _, err := usersig.Verify(sig, a.Keys, app, account, time.Now()); err != nil {
		return u, &refusal{http.StatusUnauthorized, sigCode(err), err.Error()}
	}
	if a.Disabled {
		return u, &refusal{http.StatusForbidden, 60016, "the app is disabled"}
	}
	p, err := parsePlatform(q.Get("platform"))
	if err != nil {
		return u, &refusal{http.StatusForbidden, 70402, err.Error()}
	}
	device := q.Get("device")
	if err := wire.ValidDeviceID(device); device != "" && err != nil {
		return u, &refusal{http.StatusForbidden, 70402, "device: " + err.Error()}
	}
	return user{app, account, p, device}, nil
}

// sigCode is the contract's code for a signature that usersig refused.
func sigCode(err error) int {
	switch {
	case errors.Is(err, usersig.ErrExpired):
		return 70001
	case errors.Is(err, usersig.ErrSignature):
		return 70009
	case errors.Is(err, usersig.ErrIdentifier):
		return 70013
	case errors.Is(err, usersig.ErrApp):
		return 70014
	}
	return 70003
}

// refuse answers a login with plain HTTP.
func (d *Deliver) refuse(w http.ResponseWriter, r *http.Request, err error) {
	d.metrics.logins.WithLabelValues(d.explain(w, r, err)).Inc()
}

// explain answers a request that failed, and gives the result to count. It is the one place where errors become statuses
// and codes.
func (d *Deliver) explain(w http.ResponseWriter, r *http.Request, err error) (result string) {
	var no *refusal
	var upgrade *socket.Refusal
	result = loginRefused
	switch {
	case errors.Is(r.Context().Err(), context.Canceled), errors.Is(err, errAnswered): // the client has gone, or sees its connection close
		return loginGone
	case errors.As(err, &no):
	case errors.As(err, &upgrade):
		upgrade.SetHeaders(w.Header())
		no = &refusal{upgrade.Status, 60002, upgrade.Reason}
	default:
		d.log.Warn("a client's request failed", "path", r.URL.Path, "err", err)
		result = loginFailed
		d.trouble.failed(err)
		no = &refusal{http.StatusServiceUnavailable, 91000, "internal error, try again"}
	}
	if no.status == http.StatusTooManyRequests || no.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	answer(w, no.status, no.code, no.info)
	return result
}

// answer writes the contract's three fields. Pages of any origin may read them: whoever has a UserSig may call from
// anywhere, and nothing else that a browser adds counts.
func answer(w http.ResponseWriter, status, code int, info string) {
	result := "OK"
	if code != 0 {
		result = "FAIL"
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct { // the client may be gone, and nobody else is to be told
		ActionStatus string
		ErrorInfo    string
		ErrorCode    int
	}{result, info, code})
}
