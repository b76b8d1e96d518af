// Package push is the vocabulary of Carillon: apps, accounts, ordinals, shards, user records and pushes. It is pure: no
// I/O, no clock, no encoding. How these things look on the broker and to clients stands in package wire.
package push

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// AppID is an app's sdkappid, as in the REST contract's URL.
type AppID uint32

// ParseAppID reads a decimal sdkappid. Zero is no app.
func ParseAppID(s string) (AppID, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("sdkappid %q is not a decimal number from 1 to 4294967295", s)
	}
	return AppID(n), nil
}

func (a AppID) String() string { return strconv.FormatUint(uint64(a), 10) }

// Seq is a push's place in the log of pushes: it grows with every push, over all apps, and is never reused.
type Seq uint64

// TaskID names a push to operators and clients. It is safe in a URL, and they treat it as opaque.
type TaskID string

// NewTaskID makes the TaskID of the app's push with the given sequence: the same for every repeat of the request.
func NewTaskID(app AppID, seq Seq) TaskID {
	return TaskID(fmt.Sprintf("%d-%d", app, seq))
}

// ErrTaskID is returned by TaskID.Parse for a string that NewTaskID never made.
var ErrTaskID = errors.New("not a TaskId of this service")

// Parse gives back what NewTaskID was called with, or ErrTaskID.
func (t TaskID) Parse() (AppID, Seq, error) {
	var app AppID
	var seq Seq
	if n, err := fmt.Sscanf(string(t), "%d-%d", &app, &seq); n != 2 || err != nil || NewTaskID(app, seq) != t {
		return 0, 0, ErrTaskID
	}
	return app, seq, nil
}

// Lifetime limits of the contract, in seconds.
const MaxLifetime = 604800

// Push is one accepted push, as its matchers and gateways need it.
type Push struct {
	App AppID
	// Seq is given by the broker when the push is accepted; zero before.
	Seq Seq
	// Sender is the account that recipients see.
	Sender string
	// Caller is the admin that called, which may differ from Sender.
	Caller string
	// Random is the caller's MsgRandom: with Sender it makes a repeat within a second the same push.
	Random uint32
	// At is the moment of acceptance.
	At time.Time
	// Lifetime is how long the push is kept for users who are offline; zero: online users only, nothing is stored.
	Lifetime time.Duration
	// Condition is the audience's predicate in its canonical form (package predicate); attribute names are already slots.
	Condition string
	// Body is MsgBody, byte for byte as it was sent.
	Body json.RawMessage
	// OfflineInfo is OfflinePushInfo, equal JSON to what was sent but not its bytes; nil when absent.
	OfflineInfo json.RawMessage
	// Revokes is set in a revocation, which goes the way of a push and cancels the one with this sequence: its audience is
	// the other's, its lifetime what was left of the other's. It has no condition and no body.
	Revokes Seq
	// Again is set in a replay: it is for those who have not had the push with this sequence, of the other's audience. Its
	// Condition is the other's, and does not choose anybody again.
	Again Seq
}

// TaskID names the push; its Seq must be known.
func (p *Push) TaskID() TaskID { return NewTaskID(p.App, p.Seq) }

// Expire is the unix second after which nobody gets the push any more, and 0 for an online-only push.
func (p *Push) Expire() int64 {
	if p.Lifetime <= 0 {
		return 0
	}
	return p.At.Add(p.Lifetime).Unix()
}
