package socket

import (
	"strings"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/carillon-push/carillon/pkg/wire"
)

// Frame is one server frame, header and payload, built once and shared by every connection that it is sent to.
// It never changes.
type Frame struct{ b []byte }

// NewFrame makes a text frame. The payload is copied; it must be UTF-8, as all text of WebSocket.
func NewFrame(payload []byte) *Frame { return build(ws.NewTextFrame(payload)) }

// Size of the frame on the wire, in bytes.
func (f *Frame) Size() int { return len(f.b) }

// build lays a frame out. It cannot fail: a length always has an encoding, and a buffer takes what is written.
func build(f ws.Frame) *Frame { return &Frame{ws.MustCompileFrame(f)} }

// ping is the one heartbeat of all connections.
var ping = build(ws.NewPingFrame(nil))

func pong(body []byte) *Frame { return build(ws.NewPongFrame(body)) }

// closing makes a close frame. The reason is cut to what a control frame holds, between characters.
func closing(code wire.CloseCode, reason string) *Frame {
	reason = strings.ToValidUTF8(reason, "")
	if limit := ws.MaxControlFramePayloadSize - 2; len(reason) > limit {
		for !utf8.RuneStart(reason[limit]) {
			limit--
		}
		reason = reason[:limit]
	}
	return build(ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusCode(code), reason)))
}

// closeReply answers a client's close frame with its own code, or without one when it gave none.
func closeReply(body []byte) *Frame {
	return build(ws.NewCloseFrame(body[:min(2, len(body))]))
}
