package vivo

import (
	"encoding/json"
	"time"

	"github.com/carillon-push/carillon/deliver/channel"
	"github.com/carillon-push/carillon/deliver/channel/internal/vendorhttp"
)

// codes are those of the reference's "Return codes" that sending can meet, and the states of single users.
var codes = vendorhttp.Codes{
	success:   channel.Sent,
	badAccess: channel.Denied,
	"10040":   channel.Later,  // no room at the moment
	"10045":   channel.Denied, // the app is not published yet: only test messages may be sent
	"10072":   channel.Later,  // too fast
	"10094":   channel.Denied, // the access token is another app's
	// The day's number of operational and of system messages, of saved ones, and of those to everybody.
	"10070": channel.Later, "10073": channel.Later, "10252": channel.Later, "10254": channel.Later,
	night: channel.Later,
	// The request.
	"10050": channel.Refused, "10054": channel.Refused, "10055": channel.Refused, "10056": channel.Refused,
	"10057": channel.Refused, "10058": channel.Refused,
	// The text: only digits, only letters, a test, brackets.
	"10085": channel.Refused, "10104": channel.Refused,
	"10302": channel.Gone, // the device is not known

	// Why single users are listed as invalid.
	"invalidUsers.1": channel.Gone,    // not known
	"invalidUsers.2": channel.Gone,    // the app was removed, or does not take pushes: it registers again when it does
	"invalidUsers.3": channel.Refused, // not seen for long
	"invalidUsers.4": channel.Refused, // not among those who may get test messages
}

const (
	success   = "0"
	badAccess = "10000"
	// night is when operational messages are not sent: they are from 7 in the morning to 11 in the evening.
	night   = "10071"
	morning = 7
	invalid = "invalidUsers."
)

// daily limits end with the vendor's day: vivo asks to be left alone until then.
var daily = map[vendorhttp.Code]bool{"10070": true, "10073": true, "10252": true, "10254": true}

// answer is the same for all that vivo Push says.
type answer struct {
	Result       vendorhttp.Code `json:"result"`
	TaskID       string          `json:"taskId"`
	AuthToken    string          `json:"authToken"`
	InvalidUser  json.RawMessage `json:"invalidUser"`
	InvalidUsers json.RawMessage `json:"invalidUsers"`
}

type user struct {
	Status vendorhttp.Code `json:"status"`
	UserID string          `json:"userid"`
}

// read is the answer, and what it says of the whole request.
func read(a vendorhttp.Answer, now time.Time) (ans answer, whole channel.Result) {
	if json.Unmarshal(a.Body, &ans) != nil {
		ans = answer{}
	}
	whole = codes.Judge(a, ans.Result)
	switch {
	case daily[ans.Result]:
		whole.After = vendorhttp.Until(now, 0)
	case ans.Result == night:
		whole.After = vendorhttp.Until(now, morning)
	}
	return ans, whole
}

// stale says whether a result is of an access token that vivo no longer takes.
func stale(r channel.Result) bool {
	return r.Outcome == channel.Denied && (r.Reason == badAccess || r.Reason == vendorhttp.StatusReason(401))
}

// parseGrant reads what the authentication says. Its own codes are all of what is signed and with what.
func parseGrant(a vendorhttp.Answer) (vendorhttp.Grant, channel.Result) {
	ans, r := read(a, time.Time{})
	switch {
	case r.Outcome == channel.Sent && ans.AuthToken != "":
		return vendorhttp.Grant{Token: ans.AuthToken, Life: authLife}, r
	case r.Outcome == channel.Sent:
		return vendorhttp.Grant{}, vendorhttp.Unreachable()
	case r.Outcome != channel.Later && ans.Result != "":
		return vendorhttp.Grant{}, channel.Result{Outcome: channel.Denied, Reason: vendorhttp.ReasonCredentials}
	}
	return vendorhttp.Grant{}, r
}

// parseSaved reads what the saving of a message says.
func parseSaved(a vendorhttp.Answer, now time.Time) (vendorhttp.Grant, channel.Result) {
	ans, r := read(a, now)
	switch {
	case r.Outcome == channel.Sent && ans.TaskID != "":
		return vendorhttp.Grant{Token: ans.TaskID, Life: savedLife}, r
	case r.Outcome == channel.Sent:
		return vendorhttp.Grant{}, vendorhttp.Unreachable()
	case r.Outcome == channel.Gone:
		// No device was named: the code is out of place.
		r = channel.Result{Outcome: channel.Refused, Reason: r.Reason}
	}
	return vendorhttp.Grant{}, r
}

// parse gives every token of the batch its result, and says whether the access token was refused. Task is the saved
// message's, if there was one.
func parse(a vendorhttp.Answer, b *vendorhttp.Batch, task string, now time.Time) (results []channel.Result, old bool) {
	ans, whole := read(a, now)
	if whole.Outcome == channel.Gone && len(b.Tokens) > 1 && ans.InvalidUsers == nil {
		// Of a list it does not say which.
		whole.Outcome = channel.Refused
	}
	if whole.Outcome == channel.Sent {
		whole.ID = task
		if ans.TaskID != "" {
			whole.ID = ans.TaskID
		}
	}
	var one user
	if json.Unmarshal(ans.InvalidUser, &one) != nil {
		one = user{}
	}
	var users []user
	if json.Unmarshal(ans.InvalidUsers, &users) != nil {
		users = nil
	}
	listed := make(map[string]channel.Result)
	for _, u := range append(users, one) {
		listed[u.UserID] = codes.Result(invalid + u.Status)
	}
	return b.Each(func(token string) channel.Result {
		if r, ok := listed[token]; ok {
			return r
		}
		return whole
	}), stale(whole)
}
