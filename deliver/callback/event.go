package callback

import (
	"time"

	"github.com/carillon-push/carillon/pkg/push"
)

// Kinds of events.
const (
	Sent       = "sent"
	Received   = "received"
	Opened     = "opened"
	Login      = "login"
	Logout     = "logout"
	Disconnect = "disconnect"
)

var (
	pushKinds    = []string{Sent, Received, Opened}
	sessionKinds = []string{Login, Logout, Disconnect}
)

// Kinds are all kinds of events.
func Kinds() []string { return append(pushKinds[:len(pushKinds):len(pushKinds)], sessionKinds...) }

// event is one on its way to a server.
type event struct {
	id       string // the same whenever it is told
	kind     string
	at       time.Time
	logged   time.Time // by the broker's clock
	ordinal  push.Ordinal
	task     push.TaskID
	platform string
	reason   string
}

// body of a request.
type body struct {
	App    push.AppID `json:"app"`
	Events []line     `json:"events"`
}

// line is an event in the body.
type line struct {
	ID       string      `json:"id"`
	Event    string      `json:"event"`
	At       int64       `json:"at"` // unix milliseconds
	Account  string      `json:"account"`
	Task     push.TaskID `json:"task,omitempty"`
	Platform string      `json:"platform,omitempty"`
	Reason   string      `json:"reason,omitempty"`
}
