package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/carillon-push/carillon/pkg/push"
)

// CloseCode is why the service ended a session (contract §5).
type CloseCode uint16

// Close codes of sessions.
const (
	CloseNormal   CloseCode = 1000 // the client logged out
	CloseDraining CloseCode = 1001 // reconnect after a random pause
	CloseKicked   CloseCode = 4001 // an operator ended the account's sessions
	CloseDeleted  CloseCode = 4002 // the account was deleted
	CloseTooSlow  CloseCode = 4003 // too much waits for a client that reads too slowly
	CloseBadFrame CloseCode = 4004 // a frame that is not of the protocol
	CloseTooMany  CloseCode = 4005 // the account has opened too many other sessions since
)

// Reason is the text that goes with the code.
func (c CloseCode) Reason() string {
	switch c {
	case CloseNormal:
		return "logged out"
	case CloseDraining:
		return "draining"
	case CloseKicked:
		return "kicked"
	case CloseDeleted:
		return "account deleted"
	case CloseTooSlow:
		return "too slow"
	case CloseBadFrame:
		return "bad frame"
	case CloseTooMany:
		return "too many sessions of one account"
	}
	return ""
}

// Hello is the first frame of a session.
type Hello struct {
	Session string
	// Heartbeat in seconds.
	Heartbeat int
	// Pending is how many pushes follow that were kept for the user.
	Pending int
}

// AppendHello appends `{"t":"hello",…}`.
func AppendHello(b []byte, h Hello) []byte {
	b = append(b, `{"t":"hello","session":`...)
	b = appendJSONString(b, h.Session)
	b = append(b, `,"heartbeat":`...)
	b = strconv.AppendInt(b, int64(h.Heartbeat), 10)
	b = append(b, `,"pending":`...)
	b = strconv.AppendInt(b, int64(h.Pending), 10)
	return append(b, '}')
}

// AppendPush appends `{"t":"push",…}`, with the body byte for byte as it was sent.
func AppendPush(b []byte, p *push.Push) []byte {
	b = append(b, `{"t":"push","id":`...)
	b = appendJSONString(b, string(p.TaskID()))
	b = append(b, `,"seq":`...)
	b = strconv.AppendUint(b, uint64(p.Seq), 10)
	b = append(b, `,"from":`...)
	b = appendJSONString(b, p.Sender)
	b = append(b, `,"at":`...)
	b = strconv.AppendInt(b, p.At.UnixMilli(), 10)
	b = append(b, `,"expire":`...)
	b = strconv.AppendInt(b, p.Expire(), 10)
	b = append(b, `,"body":`...)
	b = append(b, p.Body...)
	return append(b, '}')
}

// Revoke tells that a push was cancelled (contract §5).
type Revoke struct {
	ID  push.TaskID
	Seq push.Seq
	// Ack is what to acknowledge so that the revocation does not come again at the next login.
	Ack push.Seq
}

// AppendRevoke appends `{"t":"revoke",…}`.
func AppendRevoke(b []byte, r Revoke) []byte {
	b = append(b, `{"t":"revoke","id":`...)
	b = appendJSONString(b, string(r.ID))
	b = append(b, `,"seq":`...)
	b = strconv.AppendUint(b, uint64(r.Seq), 10)
	b = append(b, `,"ack":`...)
	b = strconv.AppendUint(b, uint64(r.Ack), 10)
	return append(b, '}')
}

// appendJSONString quotes a string. Bytes that are not UTF-8 become U+FFFD, as a text frame must be UTF-8.
func appendJSONString(b []byte, s string) []byte {
	q, err := json.Marshal(s)
	if err != nil { // a string always has a JSON form
		return append(b, `""`...)
	}
	return append(b, q...)
}

// ServerFrame is what a client reads: the members of every frame type of the service.
type ServerFrame struct {
	Type      string          `json:"t"`
	Session   string          `json:"session,omitempty"`
	Heartbeat int             `json:"heartbeat,omitempty"`
	Pending   int             `json:"pending,omitempty"`
	ID        push.TaskID     `json:"id,omitempty"`
	Seq       push.Seq        `json:"seq,omitempty"`
	From      string          `json:"from,omitempty"`
	At        int64           `json:"at,omitempty"`     // unix milliseconds
	Expire    int64           `json:"expire,omitempty"` // unix seconds
	Body      json.RawMessage `json:"body,omitempty"`
	Ack       push.Seq        `json:"ack,omitempty"` // of a revoke: what to acknowledge
}

// Frame types.
const (
	FrameHello  = "hello"
	FramePush   = "push"
	FrameRevoke = "revoke"
	FrameAck    = "ack"
	FrameOpened = "opened"
	FrameDevice = "device"
	FrameLogout = "logout"
)

// ClientFrame is what a client sends.
type ClientFrame struct {
	// Type is one of the Frame constants, or something later clients know: unknown types are ignored.
	Type string `json:"t"`
	// Seqs of an ack or opened frame.
	Seqs []push.Seq `json:"seq,omitempty"`
	// Channel and Token of a device frame: where vendor pushes to this device go.
	Channel string `json:"channel,omitempty"`
	Token   string `json:"token,omitempty"`
	// Remove in a device frame forgets the device instead.
	Remove bool `json:"remove,omitempty"`
}

// MaxAckSeqs bounds the sequences in one frame: more than a week of pushes at the contract's hundred a day.
const MaxAckSeqs = 1024

// ErrFrame is returned for a client frame that is not of the protocol; the session ends with CloseBadFrame.
var ErrFrame = errors.New("bad frame")

// DecodeClientFrame reads one text frame of a client.
func DecodeClientFrame(b []byte) (ClientFrame, error) {
	if seqs, ok := plainAck(b); ok {
		return ClientFrame{Type: FrameAck, Seqs: seqs}, nil
	}
	return decodeClientFrame(b)
}

func decodeClientFrame(b []byte) (ClientFrame, error) {
	var head struct {
		Type *string         `json:"t"`
		Seq  json.RawMessage `json:"seq"`
	}
	if !utf8.Valid(b) {
		return ClientFrame{}, fmt.Errorf("%w: not UTF-8", ErrFrame)
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return ClientFrame{}, fmt.Errorf("%w: not a JSON object", ErrFrame)
	}
	if head.Type == nil {
		return ClientFrame{}, fmt.Errorf("%w: no type", ErrFrame)
	}
	f := ClientFrame{Type: *head.Type}
	var err error
	switch f.Type { // what stands in a type that we do not know is not ours to judge
	case FrameAck, FrameOpened:
		f.Seqs, err = decodeSeqs(f.Type, head.Seq)
	case FrameDevice:
		if err = json.Unmarshal(b, &deviceFields{&f.Channel, &f.Token, &f.Remove}); err != nil {
			err = fmt.Errorf("%w: device without a channel and a token as strings", ErrFrame)
		} else if d := (Device{ID: "any", Channel: f.Channel, Token: f.Token}); d.Validate() != nil {
			err = fmt.Errorf("%w: %w", ErrFrame, d.Validate())
		}
	}
	return f, err
}

// plainAck reads an acknowledgement as our SDKs and most others write it, a tenth of what JSON by the book takes: nearly
// every frame is one. What is written in another way is not ok, be it right or wrong.
func plainAck(b []byte) (seqs []push.Seq, ok bool) {
	const before, after = `{"t":"ack","seq":[`, `]}`
	if len(b) <= len(before)+len(after) || string(b[:len(before)]) != before || string(b[len(b)-len(after):]) != after {
		return nil, false
	}
	b = b[len(before) : len(b)-len(after)]
	n := 1 + bytes.Count(b, []byte{','})
	if n > MaxAckSeqs {
		return nil, false
	}
	seqs = make([]push.Seq, 0, n)
	const longest = 19 // digits, so that no number overflows
	for len(b) > 0 || len(seqs) < n {
		digits := 0
		var seq push.Seq
		for digits < len(b) && b[digits] >= '0' && b[digits] <= '9' {
			seq = 10*seq + push.Seq(b[digits]-'0')
			digits++
		}
		if digits == 0 || digits > longest || digits > 1 && b[0] == '0' {
			return nil, false
		}
		seqs = append(seqs, seq)
		if b = b[digits:]; len(b) > 0 {
			if b[0] != ',' {
				return nil, false
			}
			b = b[1:]
		}
	}
	return seqs, len(seqs) == n
}

// deviceFields are what a device frame has beside its type.
type deviceFields struct {
	Channel *string `json:"channel"`
	Token   *string `json:"token"`
	Remove  *bool   `json:"remove"`
}

// ValidDeviceID says what is wrong with a client's name for its device.
func ValidDeviceID(id string) error {
	d := Device{ID: id, Channel: "any", Token: "any"}
	return d.Validate()
}

// DecodeAck reads the body of an acknowledgement by HTTP: `{"seq":[…]}`.
func DecodeAck(b []byte) ([]push.Seq, error) {
	var body struct {
		Seq json.RawMessage `json:"seq"`
	}
	if err := json.Unmarshal(b, &body); err != nil {
		return nil, fmt.Errorf("%w: not a JSON object", ErrFrame)
	}
	return decodeSeqs(FrameAck, body.Seq)
}

func decodeSeqs(of string, raw json.RawMessage) ([]push.Seq, error) {
	var seqs []push.Seq
	if err := json.Unmarshal(raw, &seqs); err != nil || seqs == nil {
		return nil, fmt.Errorf("%w: %s without a list of sequences", ErrFrame, of)
	}
	if len(seqs) > MaxAckSeqs {
		return nil, fmt.Errorf("%w: %s of %d sequences, at most %d", ErrFrame, of, len(seqs), MaxAckSeqs)
	}
	return seqs, nil
}
