package xiaomi

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/carillon-push/carillon/deliver/channel"
	"github.com/carillon-push/carillon/deliver/channel/internal/vendorhttp"
)

// codes are those of the reference "Server error codes" that sending and revoking can meet; the others are of topics,
// aliases and statistics.
var codes = vendorhttp.Codes{
	success: channel.Sent,
	// Xiaomi's own trouble.
	"-1": channel.Later, "1": channel.Later, "10001": channel.Later, "10002": channel.Later, "10003": channel.Later,
	"10037": channel.Later, "20607": channel.Later, "22102": channel.Later, "26003": channel.Later, "65029": channel.Later,
	"65030": channel.Later,
	// Too much of it: a second's, a broadcast's, a day's.
	"10027": channel.Later, "26004": channel.Later, tooManyToday: channel.Later, overQuota: channel.Later,
	// The app, or its secret.
	"10031": channel.Denied, "10036": channel.Denied, "21301": channel.Denied, "21302": channel.Denied, "22000": channel.Denied,
	"22006": channel.Denied, "22007": channel.Denied, "22022": channel.Denied,
	// The request.
	"10008": channel.Refused, "10012": channel.Refused, "10016": channel.Refused, "10017": channel.Refused, "21303": channel.Refused,
	"21305": channel.Refused, "65009": channel.Refused, "65011": channel.Refused, "65014": channel.Refused, "65015": channel.Refused,
	"65028": channel.Refused, // nothing of that name to take back
	"26006": channel.Refused, // the message waits for somebody's review
	"27001": channel.Refused, // the channel is not one of the app's
	// The devices.
	"10029": channel.Refused, "65003": channel.Later,
	failed: channel.Refused, // for many reasons: see noTargets

	badRegIDs: channel.Gone,
	noTargets: channel.Gone,
}

const (
	success      = "0"
	tooManyToday = "10034"
	overQuota    = "200001"
	failed       = "20301"
	// badRegIDs is the list of devices that are not known.
	badRegIDs = "bad_regids"
	// noTargets is what Xiaomi gives as the reason of 20301 when no device is known.
	noTargets = "No valid targets!"
)

// answer is the same for all that Mi Push says. Data is an object, or a sentence where there is nothing to say.
type answer struct {
	Code   vendorhttp.Code `json:"code"`
	Reason string          `json:"reason"`
	Data   json.RawMessage `json:"data"`
}

type data struct {
	ID        string `json:"id"`
	BadRegIDs string `json:"bad_regids"`
}

// parse gives every token of the batch its result. Now is for limits that end with the vendor's day.
func parse(a vendorhttp.Answer, b *vendorhttp.Batch, now time.Time) []channel.Result {
	var ans answer
	if json.Unmarshal(a.Body, &ans) != nil {
		ans = answer{}
	}
	whole := codes.Judge(a, ans.Code)
	switch ans.Code {
	case success:
	case tooManyToday, overQuota:
		whole.After = vendorhttp.Until(now, 0)
		return b.All(whole)
	case failed:
		if strings.EqualFold(strings.TrimSpace(ans.Reason), noTargets) {
			whole = codes.Result(noTargets)
		}
		return b.All(whole)
	default:
		return b.All(whole)
	}
	var d data
	if json.Unmarshal(ans.Data, &d) != nil {
		d = data{}
	}
	whole.ID = d.ID
	bad := make(map[string]bool)
	for _, t := range strings.Split(d.BadRegIDs, ",") {
		bad[strings.TrimSpace(t)] = true
	}
	return b.Each(func(token string) channel.Result {
		if bad[token] {
			return codes.Result(badRegIDs)
		}
		return whole
	})
}
