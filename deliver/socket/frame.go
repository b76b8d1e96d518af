package socket

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/carillon-push/carillon/pkg/wire"
)

// Protocol is what a connection speaks.
type Protocol uint8

// Protocols of connections.
const (
	WebSocket Protocol = iota
	EventStream

	protocols int = iota
)

func (p Protocol) String() string {
	switch p {
	case WebSocket:
		return "websocket"
	case EventStream:
		return "sse"
	}
	return "unknown"
}

// Frame is one message as each protocol frames it, built once and shared by every connection that it is sent to.
// It never changes.
type Frame struct {
	ws     []byte // header and text; the text is its end
	event  string
	id     uint64
	text   int                    // length of the text in bytes
	stream atomic.Pointer[[]byte] // as an event stream has it: nil until such a connection gets it
}

// NewFrame makes a message of a text, which is copied and must be UTF-8, as all text of WebSocket. In an event stream it is
// an event of that name, which must be a single line, and of that id; zero for none, which leaves the client with the last.
func NewFrame(event string, id uint64, text []byte) *Frame {
	return &Frame{ws: ws.MustCompileFrame(ws.NewTextFrame(text)), event: event, id: id, text: len(text)}
}

// Size of the frame on a WebSocket, in bytes.
func (f *Frame) Size() int { return len(f.ws) }

// bytes are the frame as a protocol has it on the wire.
func (f *Frame) bytes(p Protocol) []byte {
	if p == WebSocket {
		return f.ws
	}
	return f.asEvent()
}

// asEvent builds the event at its first use, so that who serves no event streams pays nothing. Two may do so at once: what
// they build is equal.
func (f *Frame) asEvent() []byte {
	if b := f.stream.Load(); b != nil {
		return *b
	}
	b := appendEvent(make([]byte, 0, f.text+len(f.event)+48), f.event, f.id, f.ws[len(f.ws)-f.text:])
	f.stream.Store(&b)
	return b
}

// control lays out a frame of WebSocket alone. It cannot fail: a length always has an encoding, and a buffer takes what
// is written.
func control(f ws.Frame) *Frame { return &Frame{ws: ws.MustCompileFrame(f)} }

// streamed is a frame of event streams alone.
func streamed(b []byte) *Frame {
	f := new(Frame)
	f.stream.Store(&b)
	return f
}

// heartbeat of all connections: a ping, or a comment, which clients pass over.
var heartbeat = func() *Frame {
	f := streamed([]byte(":\n\n"))
	f.ws = ws.MustCompileFrame(ws.NewPingFrame(nil))
	return f
}()

func pong(body []byte) *Frame { return control(ws.NewPongFrame(body)) }

// closing makes the last frame of a connection.
func closing(p Protocol, code wire.CloseCode, reason string) *Frame {
	reason = strings.ToValidUTF8(reason, "")
	if p == EventStream {
		return streamed(closeEvent(code, reason))
	}
	// A control frame holds so much; it is cut between characters.
	if limit := ws.MaxControlFramePayloadSize - 2; len(reason) > limit {
		for !utf8.RuneStart(reason[limit]) {
			limit--
		}
		reason = reason[:limit]
	}
	return control(ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusCode(code), reason)))
}

// closeReply answers a client's close frame with its own code, or without one when it gave none.
func closeReply(body []byte) *Frame {
	return control(ws.NewCloseFrame(body[:min(2, len(body))]))
}

// closeEvent says why an event stream ends. A client that is to come back does so after a random pause, because all the
// others do too.
func closeEvent(code wire.CloseCode, reason string) []byte {
	// A number and a string always have a JSON form.
	text, _ := json.Marshal(struct {
		Code   wire.CloseCode `json:"code"`
		Reason string         `json:"reason"`
	}{code, reason})
	var b []byte
	if code == wire.CloseDraining {
		b = fmt.Appendf(b, "retry: %d\n", retryMin+rand.IntN(retryMax-retryMin+1))
	}
	return appendEvent(b, "close", 0, text)
}
