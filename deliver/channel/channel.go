// Package channel shows pushes on phones that sleep, through their vendors. Each vendor is a package below this one, behind
// one interface; what all of them need (limits, retries, a breaker) is here, once.
//
// NewNotice makes of a push what phones show, a Channel has one vendor show it, and a Sender stands before a channel: it keeps
// to limits, tries again, leaves a vendor alone that is down or denies the credentials, takes up new ones, and counts.
//
// A channel folds nothing and publishes nothing: it is told whom to notify, and says for each device what the vendor said.
// Whoever tells it keeps the record of what was sent, so that a crash between any two lines repeats one batch at most.
package channel

import (
	"context"
	"time"

	"github.com/carillon-push/carillon/pkg/push"
)

// Notice is a push as a phone shows it, before it has a vendor's form. A channel reads it and never changes it: many batches
// share it.
type Notice struct {
	// Task is what the push is called. Vendors that can collapse do so by it, so that a repeat takes the place of the first.
	Task push.TaskID
	Seq  push.Seq
	// Title and Text are UTF-8; Text is never empty. A channel cuts them at a character boundary to its vendor's limit.
	Title, Text string
	// Ext is passed through to the app as it came.
	Ext string
	// Expire is when the vendor is to give up.
	Expire  time.Time
	Android Android
	APNs    APNs
}

// Android is AndroidInfo of the contract's OfflinePushInfo; empty and zero are absent.
type Android struct {
	Sound                  string
	HuaWeiChannelID        string
	XiaoMiChannelID        string
	OPPOChannelID          string
	GoogleChannelID        string
	VIVOClassification     int
	HuaWeiImportance       string
	HuaWeiCategory         string
	ExtAsHuaweiIntentParam int
}

// APNs is ApnsInfo of the contract's OfflinePushInfo; empty and zero are absent.
type APNs struct {
	Sound          string
	BadgeMode      int // 1: the badge does not count this push
	Title          string
	SubTitle       string
	Image          string
	MutableContent int
}

// Channel is one vendor for one app. It is safe for concurrent use.
type Channel interface {
	// Batch is how many tokens one Send takes at most.
	Batch() int
	// Send notifies some devices and gives a Result for each, in their order. It makes one attempt, and none after ctx has
	// ended; retries are its caller's. Tokens are secrets: they are in no error, reason or log.
	Send(ctx context.Context, n *Notice, tokens []string) []Result
}

// Revoker is a Channel whose vendor can take back what was shown, or what waits to be.
type Revoker interface {
	// Revoke takes back a notice from some devices; ids are what Send's results had as ID, one for each token, and empty
	// where none is known.
	Revoke(ctx context.Context, n *Notice, tokens, ids []string) []Result
}

// Parted is a Channel that speaks to several services, such as one that a browser's maker runs for it: tokens of different
// parts are never in one Send, and a part that fails or asks to be left alone holds back no other.
type Parted interface {
	// Part names the part that a token belongs to.
	Part(token string) string
}

// Checker is a Channel that can ask its vendor whether its credentials are good without notifying anybody.
type Checker interface {
	// Check returns an error in a full sentence when they are not, or when it could not find out.
	Check(ctx context.Context) error
}

// Closer is a Channel that keeps connections.
type Closer interface {
	// Close ends those that are idle. Attempts under way go on.
	Close()
}

// Result is what became of one device's notification.
type Result struct {
	Outcome Outcome
	// Reason is the vendor's documented name for what it did not like, or one of this package's; it is a metric's label, so
	// that a name that no documentation has becomes ReasonOther.
	Reason string
	// After is how long the vendor asks to be left alone before a Later is tried again; zero when it does not say.
	After time.Duration
	// ID is the vendor's name for the notification, if it gives one.
	ID string
}

// Outcome says what is to be done with a device, or a notice, next.
type Outcome uint8

const (
	// Sent: the vendor has taken it.
	Sent Outcome = iota + 1
	// Gone: the token names no device any more, and is to be forgotten.
	Gone
	// Refused: not this notice to this device, however often it is tried.
	Refused
	// Later: the vendor is busy, limits the rate, or did not answer.
	Later
	// Denied: the vendor does not accept the app's credentials. It concerns all devices.
	Denied
)

func (o Outcome) String() string {
	switch o {
	case Sent:
		return "sent"
	case Gone:
		return "gone"
	case Refused:
		return "refused"
	case Later:
		return "later"
	case Denied:
		return "denied"
	}
	return "unknown"
}

// Reasons that are no vendor's.
const (
	// ReasonOther is what no documentation of the vendor's names.
	ReasonOther = "other"
	// ReasonUnreachable: no answer came, or none that is the vendor's.
	ReasonUnreachable = "unreachable"
	// ReasonTooLong: what cannot be cut is over the vendor's limit.
	ReasonTooLong = "too_long"
	// ReasonExpired: the push's lifetime ended before the vendor took it.
	ReasonExpired = "expired"
	// ReasonHeld: the vendor is being left alone, because it failed before or asked for it.
	ReasonHeld = "held"
	// ReasonStopped: the sender was stopped before the vendor was asked.
	ReasonStopped = "stopped"
)
