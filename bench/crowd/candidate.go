package crowd

import (
	"bytes"
	"context"
	"time"
)

// Candidate is one way to deliver messages to many sessions.
type Candidate interface {
	// Name in the results.
	Name() string
	// Start starts a server in a process of its own, which ends with Stop or the context, and returns when it listens. The
	// message is UTF-8 JSON; it must reach a client once for each push, byte for byte, though other bytes may stand around
	// it.
	Start(ctx context.Context, message []byte) (Server, error)
}

// Server is a candidate that runs. Its methods are called one at a time.
type Server interface {
	// Addrs are host:port, IPv4 addresses, to which the clients connect over TCP, in turns.
	Addrs() []string
	// Secure says that the clients speak TLS.
	Secure() bool
	// Path is the path and query that the i-th client asks a WebSocket for; empty for a plain connection.
	Path(i int) string
	// Greeting is the text that a client sends once its WebSocket stands; empty for none.
	Greeting() []byte
	// Await returns once exactly n sessions are connected and would get a message.
	Await(ctx context.Context, n int) error
	// Round sends the message so many times to every session, as that many pushes which wait together. It may return before
	// all of them have it.
	Round(ctx context.Context, pushes int) error
	// Receipts are the texts by which a client acknowledges the pushes of the last round, each by one of its own; none where
	// there is no such thing.
	Receipts() [][]byte
	// Taken is how many receipts the server has taken so far.
	Taken(ctx context.Context) (int, error)
	// CPU is what the server has used so far, user and system.
	CPU(ctx context.Context) (time.Duration, error)
	// Settle frees what can be freed and returns the resident memory in bytes.
	Settle(ctx context.Context) (int64, error)
	// Stop ends the process and waits for it.
	Stop() error
}

// Bare is a loop of sendto over plain sockets, with the bytes of a WebSocket frame. It is the measure of the others.
// Several pushes are sent to a session one after the other.
func Bare() Candidate { return child{"bare sendto"} }

// Sockets is package deliver/socket behind net/http: WebSocket handshakes, one shared frame a push, and pushes that wait
// together in one SendAll.
func Sockets() Candidate { return child{"deliver/socket"} }

// Centrifuge is the library github.com/centrifugal/centrifuge in one process, with all sessions in one channel, each of
// which waits so long for more to send with what there is; see startCentrifuge for the other settings.
func Centrifuge(gather time.Duration) Candidate { return child{library + " " + gather.String()} }

const library = "centrifuge"

// Gorilla is the library github.com/gorilla/websocket.
func Gorilla() Candidate { return child{"gorilla/websocket"} }

// Gws is the library github.com/lxzan/gws.
func Gws() Candidate { return child{"gws"} }

// Mark is a byte that a message holds once, and that neither a frame's header nor other messages of a server hold. The
// clients count marks.
const Mark = 0x7f

// MinMessage is the least size of a message, and MaxMessage the largest, which fits a client's socket; in bytes.
const (
	MinMessage = 100
	MaxMessage = 4096
)

// Message is a JSON object of the given size with one mark in it.
func Message(size int) []byte {
	b := []byte(`{"t":"push","id":"1400000000-42","seq":42,"from":"admin","body":[{"mark":"` + string(rune(Mark)) + `","text":"`)
	end := `"}]}`
	return append(append(b, bytes.Repeat([]byte("x"), size-len(b)-len(end))...), end...)
}
