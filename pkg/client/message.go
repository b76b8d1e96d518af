package client

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// Push is one message for this user.
type Push struct {
	ID   push.TaskID
	Seq  push.Seq
	From string
	At   time.Time
	// Expire is zero for a push to online users only.
	Expire time.Time
	// Body is the array of message elements as it was sent.
	Body json.RawMessage
}

// Text is what the push's text elements say, a line each; empty when it has none.
func (p Push) Text() string {
	var elements []struct {
		MsgType    string
		MsgContent json.RawMessage
	}
	if json.Unmarshal(p.Body, &elements) != nil {
		return "" // a body that the service did not check says nothing
	}
	var lines []string
	for _, e := range elements {
		var text struct{ Text string }
		if e.MsgType == textElement && json.Unmarshal(e.MsgContent, &text) == nil {
			lines = append(lines, text.Text)
		}
	}
	return strings.Join(lines, "\n")
}

func pushOf(f wire.ServerFrame) Push {
	p := Push{ID: f.ID, Seq: f.Seq, From: f.From, At: time.UnixMilli(f.At), Body: f.Body}
	if f.Expire > 0 {
		p.Expire = time.Unix(f.Expire, 0)
	}
	return p
}

// Revoke says that a push was cancelled: take it off the screen. The push may not have been shown.
type Revoke struct {
	ID  push.TaskID
	Seq push.Seq
}

// Message is the body of a push, for REST.Push. Whatever else im_push takes goes into a map, or a struct of the caller's.
type Message struct {
	// From is the sender that users see; empty for the admin that calls.
	From string `json:"From_Account,omitempty"`
	// Random is of this push: the same one again within a second is recognised as a repeat.
	Random uint32 `json:"MsgRandom"`
	// LifeTime in seconds, up to a week: how long it is kept for who is offline. 0: for who is online, and not kept.
	LifeTime  int        `json:"MsgLifeTime,omitempty"`
	Body      []Element  `json:"MsgBody"`
	Condition *Condition `json:"Condition,omitempty"` // nil: every user of the app
}

// Element is a part of a message, such as MsgType "TIMTextElem" with MsgContent {"Text":"…"}.
type Element struct {
	MsgType    string
	MsgContent any
}

// Condition says who gets a push: users with one of TagsOr and all of TagsAnd, or likewise with attributes, by name and
// value. Tags and attributes exclude each other.
type Condition struct {
	TagsOr   []string          `json:",omitempty"`
	TagsAnd  []string          `json:",omitempty"`
	AttrsOr  map[string]string `json:",omitempty"`
	AttrsAnd map[string]string `json:",omitempty"`
}

const textElement = "TIMTextElem"

// Text is an element of text.
func Text(text string) Element {
	return Element{textElement, map[string]string{"Text": text}}
}

// NewMessage makes a message for everybody who is online, with a Random of its own.
func NewMessage(elements ...Element) Message {
	return Message{Random: rand.Uint32(), Body: elements}
}
