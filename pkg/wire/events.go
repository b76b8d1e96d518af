package wire

import (
	"encoding/binary"
	"time"

	"github.com/carillon-push/carillon/pkg/push"
)

// EventsStream holds what gateways tell of their sessions, of apps whose operators want to hear of it.
const EventsStream = "EVENTS"

// EventsAge is how long that is kept, and how old an event may be when it is told to an operator's server.
const EventsAge = 24 * time.Hour

// MaxSessionEvents is how many events one message carries at most.
const MaxSessionEvents = 100

// SessionChange is what became of a session.
type SessionChange uint8

// Changes of sessions, as they stand in the layout.
const (
	SessionLogin      SessionChange = 1 // it has begun
	SessionLogout     SessionChange = 2 // its client said that it logs out
	SessionDisconnect SessionChange = 3 // it has ended otherwise
)

// SessionEvent is a change of one session.
type SessionEvent struct {
	Change  SessionChange
	Ordinal push.Ordinal
	// At is the gateway's time, in whole milliseconds.
	At       time.Time
	Platform string
	// Reason of a disconnection, else empty.
	Reason string
}

// SessionEvents is one message of a gateway.
type SessionEvents struct {
	// ID is the gateway's name for the message; with an event's place in it, it names the event.
	ID     string
	Events []SessionEvent
}

const sessionEventsVersion = 1

// Bounds of session events, in bytes.
const (
	maxEventID   = 64
	maxEventText = 64
)

// EncodeSessionEvents lays a message out:
//
//	version 1 | ID | number | each: change | ordinal | unix milliseconds | platform | reason
//
// with texts behind their lengths.
func EncodeSessionEvents(m SessionEvents) []byte {
	b := appendBytes([]byte{sessionEventsVersion}, m.ID)
	b = binary.AppendUvarint(b, uint64(len(m.Events)))
	for _, e := range m.Events {
		b = append(b, byte(e.Change))
		b = binary.AppendUvarint(b, uint64(e.Ordinal))
		b = binary.AppendVarint(b, e.At.UnixMilli())
		b = appendBytes(b, e.Platform)
		b = appendBytes(b, e.Reason)
	}
	return b
}

// DecodeSessionEvents reads what EncodeSessionEvents wrote.
func DecodeSessionEvents(b []byte) (SessionEvents, error) {
	r := newTextReader(b)
	r.version(sessionEventsVersion)
	m := SessionEvents{ID: r.text("ID", maxEventID)}
	for range r.count("number", MaxSessionEvents) {
		e := SessionEvent{Change: SessionChange(r.byte("change")), Ordinal: push.Ordinal(r.uvarint("ordinal"))}
		if e.Change < SessionLogin || e.Change > SessionDisconnect {
			r.fail("change")
		}
		e.At = time.UnixMilli(r.varint("time"))
		e.Platform, e.Reason = r.text("platform", maxEventText), r.text("reason", maxEventText)
		m.Events = append(m.Events, e)
	}
	if err := r.end(); err != nil {
		return SessionEvents{}, err
	}
	return m, nil
}

// Told says how far an operator's server has been told what stands in the logs.
type Told struct {
	Events   ToldLog // of EVENTS
	Receipts ToldLog // of RECEIPTS
}

// ToldLog is how far that is in one log.
type ToldLog struct {
	// Next is the sequence of the first message that is not wholly told, or a later one of no concern; 0: nothing of the log
	// is to be told.
	Next uint64
	// Done is how many events of that message are told.
	Done uint64
}

const toldVersion = 1

// EncodeTold lays it out: version 1 | EVENTS: next | done | RECEIPTS: next | done.
func EncodeTold(t Told) []byte {
	b := []byte{toldVersion}
	for _, v := range []uint64{t.Events.Next, t.Events.Done, t.Receipts.Next, t.Receipts.Done} {
		b = binary.AppendUvarint(b, v)
	}
	return b
}

// DecodeTold reads what EncodeTold wrote.
func DecodeTold(b []byte) (Told, error) {
	r := reader{b: b}
	r.version(toldVersion)
	t := Told{
		Events:   ToldLog{r.uvarint("next event"), r.uvarint("events done")},
		Receipts: ToldLog{r.uvarint("next receipt"), r.uvarint("receipts done")},
	}
	return t, r.end()
}
