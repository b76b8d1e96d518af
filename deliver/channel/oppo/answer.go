package oppo

import (
	"encoding/json"
	"time"

	"github.com/carillon-push/carillon/deliver/channel"
	"github.com/carillon-push/carillon/deliver/channel/internal/vendorhttp"
)

// codes are those of the reference's "Return codes", and the one of single messages.
var codes = vendorhttp.Codes{
	success: channel.Sent,
	"-2":    channel.Later, // flow control
	"-1":    channel.Later, // not available at the moment
	"13":    channel.Later, // called too often
	"55":    channel.Later, // called too often
	today:   channel.Later, // over the day's number of messages
	// The access token.
	badAccess: channel.Denied, noAccess: channel.Denied,
	// The app key, its signature with the master secret, and the clock that is signed.
	"14": channel.Denied, "15": channel.Denied, "16": channel.Denied, "17": channel.Denied, "18": channel.Denied,
	"19": channel.Denied,
	// What the app may do.
	"26": channel.Denied, "27": channel.Denied, "28": channel.Denied, "30": channel.Denied,
	// The request.
	"12": channel.Refused, "20": channel.Refused, "21": channel.Refused, "22": channel.Refused, "23": channel.Refused,
	"24": channel.Refused, "25": channel.Refused, "31": channel.Refused, "32": channel.Refused, "34": channel.Refused,
	"40": channel.Refused, "41": channel.Refused, "51": channel.Refused, "59": channel.Refused, "67": channel.Refused,

	badToken: channel.Gone,
}

const (
	success   = "0"
	badAccess = "11"
	noAccess  = "29"
	today     = "33"
	badToken  = "10000"
)

// answer is the same for all that OPPO Push says. Data is an object, a list or nothing.
type answer struct {
	Code vendorhttp.Code `json:"code"`
	Data json.RawMessage `json:"data"`
}

// sent is one message of a batch.
type sent struct {
	MessageID      string          `json:"messageId"`
	RegistrationID string          `json:"registrationId"`
	ErrorCode      vendorhttp.Code `json:"errorCode"`
}

func read(a vendorhttp.Answer) (ans answer) {
	if json.Unmarshal(a.Body, &ans) != nil {
		return answer{}
	}
	return ans
}

// parseGrant reads what the authentication says.
func parseGrant(a vendorhttp.Answer) (vendorhttp.Grant, channel.Result) {
	ans := read(a)
	var data struct {
		Token string `json:"auth_token"`
	}
	r := codes.Judge(a, ans.Code)
	if r.Outcome == channel.Sent && (json.Unmarshal(ans.Data, &data) != nil || data.Token == "") {
		return vendorhttp.Grant{}, vendorhttp.Unreachable()
	}
	return vendorhttp.Grant{Token: data.Token, Life: authLife}, r
}

// parse gives every token of the batch its result, and says whether the access token was refused. Now is for the limit that
// ends with the vendor's day.
func parse(a vendorhttp.Answer, b *vendorhttp.Batch, now time.Time) (results []channel.Result, stale bool) {
	ans := read(a)
	whole := codes.Judge(a, ans.Code)
	switch ans.Code {
	case success:
	case badAccess, noAccess:
		return b.All(whole), true
	case today:
		whole.After = vendorhttp.Until(now, 0)
		return b.All(whole), false
	case badToken:
		// Of a batch it does not say which.
		if len(b.Tokens) > 1 {
			whole.Outcome = channel.Refused
		}
		return b.All(whole), false
	default:
		return b.All(whole), ans.Code == "" && a.Status == 401
	}
	var list []sent
	if json.Unmarshal(ans.Data, &list) != nil {
		list = nil
	}
	said := make(map[string]channel.Result, len(list))
	for _, s := range list {
		switch s.ErrorCode {
		case "", success:
			said[s.RegistrationID] = channel.Result{Outcome: channel.Sent, ID: s.MessageID}
		case today:
			said[s.RegistrationID] = channel.Result{Outcome: channel.Later, Reason: today, After: vendorhttp.Until(now, 0)}
		default:
			said[s.RegistrationID] = codes.Result(s.ErrorCode)
		}
	}
	return b.Each(func(token string) channel.Result {
		if r, ok := said[token]; ok {
			return r
		}
		return whole
	}), false
}
