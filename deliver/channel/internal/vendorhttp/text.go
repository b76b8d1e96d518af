package vendorhttp

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/carillon-push/carillon/deliver/channel"
)

// Title is what a vendor that demands a title is to show: the notice's, else the configured name of the app, else the text.
func Title(n *channel.Notice, app string) string {
	for _, s := range []string{n.Title, app} {
		if strings.TrimSpace(s) != "" {
			return s
		}
	}
	return n.Text
}

// Life is what is left of a notice, in whole seconds from one to most; false when it has ended.
func Life(n *channel.Notice, now time.Time, most time.Duration) (time.Duration, bool) {
	left := n.Expire.Sub(now)
	if left <= 0 {
		return 0, false
	}
	return min(max(left.Truncate(time.Second), time.Second), most), true
}

// NotifyID is the number under which a phone shows the notice, so that a repeat takes the place of the first. Vendors take
// 31 bits; pushes that are 2^31 apart do not meet on a phone.
func NotifyID(n *channel.Notice) int32 { return int32(n.Seq & (1<<31 - 1)) }

// Fit cuts text, and then title, until message's JSON has at most limit bytes, as channel.Fit does. Both are fields of
// message, which is a pointer. It is false when the rest alone is too long.
func Fit(message any, limit int, title, text *string) bool {
	fitted, ok := channel.Fit(limit, *title, *text, func(a, b string) ([]byte, error) {
		*title, *text = a, b
		return JSON(message)
	})
	return ok && json.Unmarshal(fitted, message) == nil // what was tried last need not be what fits
}
