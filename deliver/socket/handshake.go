package socket

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gobwas/ws"
)

// handshakeTimeout bounds the writing of the 101 answer.
const handshakeTimeout = 5 * time.Second

// Refusal is the error of Check: why a request cannot become a WebSocket, and the HTTP status that says so.
type Refusal struct {
	// Status is 400, or 426 when the client should upgrade, or with another version.
	Status int
	// Reason is a sentence for the client.
	Reason string
}

func (r *Refusal) Error() string { return r.Reason }

// SetHeaders adds what the status demands: a 426 names the protocol and the version that are spoken here.
func (r *Refusal) SetHeaders(h http.Header) {
	if r.Status == http.StatusUpgradeRequired {
		h.Set("Connection", "Upgrade")
		h.Set("Upgrade", "websocket")
		h.Set("Sec-WebSocket-Version", "13")
	}
}

// Check looks at the headers of a WebSocket request. Its error is a *Refusal, to be answered as plain HTTP. The origin is
// not looked at: a session is authenticated by what its URL carries, never by what a browser adds by itself.
func Check(r *http.Request) error {
	switch key, err := base64.StdEncoding.DecodeString(r.Header.Get("Sec-WebSocket-Key")); {
	case r.Method != http.MethodGet:
		return &Refusal{http.StatusBadRequest, "a WebSocket request must be a GET"}
	case !hasToken(r.Header["Upgrade"], "websocket"):
		return &Refusal{http.StatusUpgradeRequired, "this address speaks WebSocket: the Upgrade header must be websocket"}
	case !r.ProtoAtLeast(1, 1) || r.ProtoMajor > 1:
		return &Refusal{http.StatusBadRequest, "a WebSocket request must be HTTP/1.1"}
	case !hasToken(r.Header["Connection"], "upgrade"):
		return &Refusal{http.StatusBadRequest, "the Connection header must be Upgrade"}
	case r.Header.Get("Sec-WebSocket-Version") != "13":
		return &Refusal{http.StatusUpgradeRequired, "the Sec-WebSocket-Version must be 13"}
	case err != nil || len(key) != 16:
		return &Refusal{http.StatusBadRequest, "the Sec-WebSocket-Key must be 16 bytes in base64"}
	case r.Host == "":
		return &Refusal{http.StatusBadRequest, "the Host header is missing"}
	}
	return nil
}

// hasToken reports whether a comma-separated header holds the token, in any case.
func hasToken(values []string, token string) bool {
	for _, v := range values {
		for t := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}

// Upgrade answers 101 and takes the connection from net/http, without subprotocol, extensions or compression (a
// compressed frame could not be shared). Both results go to Poller.Adopt: leftover is what the client sent right behind
// its request, nil as a rule. An error is a *Refusal while nothing has been answered yet; after any other error the
// connection is closed or still net/http's, and there is nothing left to answer.
func Upgrade(w http.ResponseWriter, r *http.Request) (conn net.Conn, leftover []byte, err error) {
	if err := Check(r); err != nil {
		return nil, nil, err
	}
	conn, rw, _, err := ws.HTTPUpgrader{Timeout: handshakeTimeout}.Upgrade(r, w)
	if err != nil {
		if conn != nil {
			err = errors.Join(err, conn.Close())
		}
		return nil, nil, fmt.Errorf("answering a WebSocket handshake: %w", err)
	}
	if leftover, err = buffered(rw.Reader); err != nil {
		return nil, nil, fmt.Errorf("taking over what a client sent behind its handshake: %w", errors.Join(err, conn.Close()))
	}
	return conn, leftover, nil
}

// Stream answers 200 with an event stream and takes the connection from net/http; what w's header holds already goes with
// the answer. The stream has no length: it ends with the connection. Results and errors are those of Upgrade, but that no
// request is refused: whose method or protocol is wrong the caller has refused before.
func Stream(w http.ResponseWriter, _ *http.Request) (conn net.Conn, leftover []byte, err error) {
	h := w.Header().Clone()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("Connection", "close")
	h.Set("X-Accel-Buffering", "no") // a proxy must not wait for more
	h.Set("Access-Control-Allow-Origin", "*")
	h.Del("Content-Length")
	h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("taking over a connection for an event stream: %w", err)
	}
	var head bytes.Buffer
	head.WriteString("HTTP/1.1 200 OK\r\n")
	err = h.Write(&head) // a buffer takes what is written
	head.WriteString("\r\n")
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(handshakeTimeout))
	}
	if err == nil {
		_, err = conn.Write(head.Bytes())
	}
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err == nil {
		leftover, err = buffered(rw.Reader)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("answering with an event stream: %w", errors.Join(err, conn.Close()))
	}
	return conn, leftover, nil
}

// buffered is a copy of what net/http has read ahead: the reader and its buffer are not kept.
func buffered(r *bufio.Reader) ([]byte, error) {
	n := r.Buffered()
	if n == 0 {
		return nil, nil
	}
	b, err := r.Peek(n)
	return append([]byte(nil), b...), err
}
