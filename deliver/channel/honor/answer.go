package honor

import (
	"encoding/json"

	"github.com/carillon-push/carillon/deliver/channel"
	"github.com/carillon-push/carillon/deliver/channel/internal/vendorhttp"
)

// codes are those of the reference's response codes, whose numbers are Huawei's, and the names of the lists of single tokens.
var codes = vendorhttp.Codes{
	success:    channel.Sent,
	partial:    channel.Sent, // but for the tokens that the answer lists
	"80100001": channel.Refused, "80100002": channel.Refused, "80100003": channel.Refused, "80100004": channel.Refused,
	"80100016": channel.Refused, // words that Honor does not let pass
	badAccess:  channel.Denied, oldAccess: channel.Denied,
	"80300002": channel.Denied, // the app may not push
	allGone:    channel.Gone,
	"80300008": channel.Refused, // the message is longer than 4,096 bytes
	"80300010": channel.Refused, // too many tokens
	"80600003": channel.Later,   // Honor's own OAuth service did not answer the push service
	"81000001": channel.Later,   // internal

	expired: channel.Gone,
	// A token of this list was not notified, which does not say that it never can be.
	failed: channel.Refused,
}

const (
	success   = "200"
	partial   = "80100000"
	badAccess = "80200001"
	oldAccess = "80200003"
	allGone   = "80300007"
	expired   = "expireTokens"
	failed    = "failTokens"
)

// answer is the same for all that the push service says.
type answer struct {
	Code vendorhttp.Code `json:"code"`
	Data struct {
		SendResult   *bool    `json:"sendResult"`
		RequestID    string   `json:"requestId"`
		FailTokens   []string `json:"failTokens"`
		ExpireTokens []string `json:"expireTokens"`
	} `json:"data"`
}

// parse gives every token of the batch its result, and says whether the access token was refused.
func parse(a vendorhttp.Answer, b *vendorhttp.Batch) (results []channel.Result, stale bool) {
	var ans answer
	if json.Unmarshal(a.Body, &ans) != nil {
		ans = answer{}
	}
	rest := codes.Judge(a, ans.Code)
	switch {
	case ans.Code == badAccess || ans.Code == oldAccess || ans.Code == "" && a.Status == 401:
		return b.All(rest), true
	case rest.Outcome != channel.Sent && ans.Code != allGone:
		return b.All(rest), false
	}
	if rest.Outcome == channel.Sent {
		rest.ID = ans.Data.RequestID
		if ok := ans.Data.SendResult; ans.Code == success && ok != nil && !*ok {
			rest = codes.Result(failed)
		}
	}
	listed := make(map[string]channel.Result)
	for _, t := range ans.Data.FailTokens {
		listed[t] = codes.Result(failed)
	}
	for _, t := range ans.Data.ExpireTokens {
		listed[t] = codes.Result(expired)
	}
	return b.Each(func(token string) channel.Result {
		if r, ok := listed[token]; ok {
			return r
		}
		return rest
	}), false
}
