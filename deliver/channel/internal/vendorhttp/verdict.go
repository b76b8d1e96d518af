package vendorhttp

import (
	"strconv"
	"time"

	"github.com/carillon-push/carillon/deliver/channel"
)

// Reasons that these channels add to package channel's.
const (
	// ReasonCredentials: the vendor gives no access token for the configured credentials.
	ReasonCredentials = "credentials"
	// ReasonMalformed: what the app registered cannot be a token of any vendor, so that it is not sent.
	ReasonMalformed = "malformed_token"
)

// Codes are the documented codes of a vendor, and what is to be done about each. The code is the reason.
type Codes map[Code]channel.Outcome

// Result is what a code says. One that is not documented is final: most that are documented are, and a batch that was
// perhaps shown must not be sent again on a guess.
func (c Codes) Result(code Code) channel.Result {
	switch o, ok := c[code]; {
	case !ok:
		return channel.Result{Outcome: channel.Refused, Reason: channel.ReasonOther}
	case o == channel.Sent:
		return channel.Result{Outcome: channel.Sent}
	default:
		return channel.Result{Outcome: o, Reason: string(code)}
	}
}

// Judge is what an answer with this code in its body says of the whole batch; the code is empty when the body has none.
// A documented code counts whatever the status is, and the status counts where the code says nothing.
func (c Codes) Judge(a Answer, code Code) channel.Result {
	if _, ok := c[code]; !ok && (code == "" || a.Status < 200 || a.Status > 299) {
		return a.Verdict()
	}
	r := c.Result(code)
	if r.Outcome == channel.Later {
		r.After = a.After
	}
	return r
}

// statuses are what HTTP alone says, when the body is not the vendor's.
var statuses = map[int]channel.Outcome{
	400: channel.Refused,
	401: channel.Denied, 403: channel.Denied, 404: channel.Denied, 405: channel.Denied,
	408: channel.Later, 429: channel.Later, 500: channel.Later, 502: channel.Later, 503: channel.Later, 504: channel.Later,
}

// StatusReason is the reason of an HTTP status, as in http_503.
func StatusReason(status int) string { return "http_" + strconv.Itoa(status) }

// Reasons are all that a channel with these codes may give: a closed set, as a metric's label must be.
func (c Codes) Reasons() []string {
	all := []string{ReasonCredentials, ReasonMalformed, channel.ReasonOther, channel.ReasonUnreachable, channel.ReasonTooLong,
		channel.ReasonExpired}
	for code := range c {
		all = append(all, string(code))
	}
	for status := range statuses {
		all = append(all, StatusReason(status))
	}
	return all
}

// Verdict is what the status says of the whole batch. A 2xx or a redirect whose body is not the vendor's comes from
// something in between.
func (a Answer) Verdict() channel.Result {
	if o, ok := statuses[a.Status]; ok {
		r := channel.Result{Outcome: o, Reason: StatusReason(a.Status)}
		if o == channel.Later {
			r.After = a.After
		}
		return r
	}
	switch {
	case a.Status == 413:
		return channel.Result{Outcome: channel.Refused, Reason: channel.ReasonTooLong}
	case a.Status >= 500:
		return channel.Result{Outcome: channel.Later, Reason: channel.ReasonOther, After: a.After}
	case a.Status >= 400 && a.Status != 407:
		return channel.Result{Outcome: channel.Refused, Reason: channel.ReasonOther}
	}
	return Unreachable()
}

// Unreachable is the verdict when no answer of the vendor's came.
func Unreachable() channel.Result {
	return channel.Result{Outcome: channel.Later, Reason: channel.ReasonUnreachable}
}

// vendors' days and hours are those of China, which has one time zone and no summer time.
var china = time.FixedZone("UTC+8", 8*60*60)

// Until is the time from now to the vendors' next full hour of the day: 0 is when daily limits start anew.
func Until(now time.Time, hour int) time.Duration {
	t := now.In(china)
	at := time.Date(t.Year(), t.Month(), t.Day(), hour, 0, 0, 0, china)
	if !at.After(t) {
		at = at.AddDate(0, 0, 1)
	}
	return at.Sub(t)
}
