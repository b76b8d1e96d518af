package huawei

import (
	"encoding/json"

	"github.com/carillon-push/carillon/deliver/channel"
	"github.com/carillon-push/carillon/deliver/channel/internal/vendorhttp"
)

// codes are those of the reference's "Result Codes", and the reasons that it lists for single tokens.
var codes = vendorhttp.Codes{
	success: channel.Sent,
	partial: channel.Gone, // of the tokens that the answer lists
	// The request is not as it should be.
	"80100001": channel.Refused, "80100002": channel.Refused, "80100003": channel.Refused, "80100013": channel.Refused,
	"80100004": channel.Refused, // the time to live has passed
	"80100016": channel.Refused, // words that Huawei does not let pass
	"80100017": channel.Later,   // too many topics at once
	"80100022": channel.Refused, // an unchecked picture
	// The access token is not the app's, has ended, or is of a kind for other interfaces.
	badAccess: channel.Denied, oldAccess: channel.Denied, "80200005": channel.Denied, "80300036": channel.Denied,
	"80300002": channel.Denied, // the app may not push: Push Kit is off, or the client ID is another app's
	allGone:    channel.Gone,
	"80300008": channel.Refused, // the message is longer than 4,096 bytes
	"80300010": channel.Refused, // too many tokens
	"80300029": channel.Later,   // too many test messages
	"80300030": channel.Refused, // too many tokens for a test message
	"80300037": channel.Denied,  // the app is penalised
	"80600003": channel.Later,   // Huawei's own OAuth service did not answer Push Kit
	"81000001": channel.Later,   // internal

	// Why single tokens fail. Only those that say that the token is bad make it one to be forgotten: the others are the
	// app's affair, and will pass.
	"tokenFormatError": channel.Gone, "tokenPlatformNotSupport": channel.Gone,
	"noRight": channel.Refused, "noPushTypeRight": channel.Refused, "countryNotSupport": channel.Refused,
	"atomicUnableSendUnsubscribedMsg": channel.Refused, "disableSendHuaweiMsgBecauseOfPenalty": channel.Refused,
	"differentImgVerifyPolicy": channel.Refused, "appinfoError": channel.Refused, "notSupportPlayVoice": channel.Refused,
	"noRightToSendThisLiveNotificationEvent": channel.Refused,
}

const (
	success   = "80000000"
	partial   = "80100000"
	badAccess = "80200001"
	oldAccess = "80200003"
	allGone   = "80300007"
)

// answer is the same for all that Push Kit says. Msg is a sentence, or JSON within the JSON where single tokens failed.
type answer struct {
	Code      vendorhttp.Code `json:"code"`
	Msg       string          `json:"msg"`
	RequestID string          `json:"requestId"`
}

// failures is that JSON, in the two forms that are in use.
type failures struct {
	Tokens   []string                     `json:"illegal_tokens"`
	ByReason map[vendorhttp.Code][]string `json:"illegalTokens"`
}

// parse gives every token of the batch its result, and says whether the access token was refused.
func parse(a vendorhttp.Answer, b *vendorhttp.Batch) (results []channel.Result, stale bool) {
	var ans answer
	if json.Unmarshal(a.Body, &ans) != nil {
		ans = answer{}
	}
	whole := codes.Judge(a, ans.Code)
	switch {
	case ans.Code == badAccess || ans.Code == oldAccess || ans.Code == "" && a.Status == 401:
		return b.All(whole), true
	case ans.Code == success:
		whole.ID = ans.RequestID
		return b.All(whole), false
	case ans.Code != partial && ans.Code != allGone:
		return b.All(whole), false
	}
	var f failures
	if json.Unmarshal([]byte(ans.Msg), &f) != nil {
		f = failures{}
	}
	failed := make(map[string]channel.Result)
	for _, t := range f.Tokens {
		failed[t] = channel.Result{Outcome: channel.Gone, Reason: string(ans.Code)}
	}
	for reason, tokens := range f.ByReason {
		for _, t := range tokens {
			failed[t] = codes.Result(reason)
		}
	}
	rest := channel.Result{Outcome: channel.Sent, ID: ans.RequestID}
	if ans.Code == allGone {
		rest = whole
	}
	return b.Each(func(token string) channel.Result {
		if r, ok := failed[token]; ok {
			return r
		}
		return rest
	}), false
}
