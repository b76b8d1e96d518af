package app_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/carillon-push/carillon/cmd/internal/app/apptest"
)

// Opcodes of frames.
const (
	opText  = 0x1
	opClose = 0x8
	opPing  = 0x9
	opPong  = 0xa
)

// rawClient speaks to a service in bytes, and does nothing that its test does not ask for: no pong, no reading, no close.
type rawClient struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

// connectTo opens a TCP connection. A receive buffer of the given bytes makes a client that does not read be noticed soon;
// zero leaves it to the kernel.
func connectTo(t testing.TB, address string, buffer int) *rawClient {
	t.Helper()
	c, err := tryConnect(t, address, buffer)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func tryConnect(t testing.TB, address string, buffer int) (*rawClient, error) {
	d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		if buffer == 0 {
			return nil
		}
		var failed error
		err := raw.Control(func(fd uintptr) {
			failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, buffer)
		})
		return errors.Join(err, failed)
	}}
	conn, err := d.DialContext(t.Context(), "tcp", address)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &rawClient{conn, t, bufio.NewReader(conn)}, conn.SetDeadline(time.Now().Add(apptest.Wait))
}

// sessionsAddress is where a service takes sessions.
func sessionsAddress(s *apptest.System) string { return strings.TrimPrefix(s.SessionsURL(), "ws://") }

// upgrade is the request for a session with a query as it is.
func upgrade(query string) string {
	return "GET /v1/session?" + query + " HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
}

// credentials of an account, as the query of a session.
func credentials(t testing.TB, account string) url.Values {
	t.Helper()
	return url.Values{"sdkappid": {apptest.AppID.String()}, "identifier": {account}, "usersig": {apptest.Sig(t, account)}}
}

// logIn makes a session of an account and reads its hello.
func logIn(t testing.TB, address, account string, buffer int) *rawClient {
	t.Helper()
	c := connectTo(t, address, buffer)
	c.logIn(credentials(t, account).Encode())
	return c
}

func (c *rawClient) logIn(query string) {
	c.t.Helper()
	if err := c.tryLogIn(query); err != nil {
		c.t.Fatal(err)
	}
}

func (c *rawClient) tryLogIn(query string) error {
	if _, err := io.WriteString(c, upgrade(query)); err != nil {
		return err
	}
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("the login was answered with HTTP %d", res.StatusCode)
	}
	if op, hello, err := c.tryFrame(); err != nil || op != opText || !strings.HasPrefix(hello, `{"t":"hello"`) {
		return errors.Join(fmt.Errorf("the first frame is %d %q", op, hello), err)
	}
	return nil
}

// text writes bytes as they are.
func (c *rawClient) text(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatal(err)
	}
}

// head is the header of a client's frame that claims n bytes, up to its masking key, which changes nothing: it is zero.
func head(first byte, n uint64) string {
	b := []byte{first, 0x80 | byte(min(n, 127))}
	switch {
	case n > 0xffff:
		b = binary.BigEndian.AppendUint64(b, n)
	case n > 125:
		b[1] = 0x80 | 126
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	}
	return string(append(b, 0, 0, 0, 0))
}

// whole is a client's frame that is all of its message.
func whole(op byte, payload string) string { return head(0x80|op, uint64(len(payload))) + payload }

// frame reads the next frame that is no heartbeat: those come at any time.
func (c *rawClient) frame() (op byte, payload string) {
	c.t.Helper()
	op, payload, err := c.tryFrame()
	if err != nil {
		c.t.Fatal(err)
	}
	return op, payload
}

func (c *rawClient) tryFrame() (op byte, payload string, err error) {
	for op = opPing; op == opPing && err == nil; {
		op, payload, err = c.readFrame()
	}
	return op, payload, err
}

func (c *rawClient) readFrame() (op byte, payload string, err error) {
	var h [8]byte
	if _, err := io.ReadFull(c.r, h[6:]); err != nil {
		return 0, "", err
	}
	op, n := h[6]&0xf, uint64(h[7])
	h = [8]byte{}
	switch n {
	case 126:
		_, err = io.ReadFull(c.r, h[6:])
		n = binary.BigEndian.Uint64(h[:])
	case 127:
		_, err = io.ReadFull(c.r, h[:])
		n = binary.BigEndian.Uint64(h[:])
	}
	if err != nil || n > 1<<20 {
		return 0, "", errors.Join(fmt.Errorf("a frame of %d bytes", n), err)
	}
	b := make([]byte, n)
	_, err = io.ReadFull(c.r, b)
	return op, string(b), err
}

// push reads the next push and gives its text.
func (c *rawClient) push() string {
	c.t.Helper()
	op, payload := c.frame()
	_, rest, found := strings.Cut(payload, `"Text":"`)
	text, _, _ := strings.Cut(rest, `"`)
	if op != opText || !found {
		c.t.Fatalf("got a frame %d %.100q, want a push", op, payload)
	}
	return text
}

// closeCode reads up to the close frame and the end of the stream behind it, and gives the code.
func (c *rawClient) closeCode() int {
	c.t.Helper()
	for {
		op, payload := c.frame()
		if op != opClose {
			continue
		}
		if _, err := c.r.ReadByte(); !errors.Is(err, io.EOF) {
			c.t.Errorf("behind the close frame: %v, want the end", err)
		}
		if len(payload) < 2 {
			return 0
		}
		return int(binary.BigEndian.Uint16([]byte(payload)))
	}
}

// cutOff waits until the service has let go of the connection, with nothing but perhaps a word on the bad request.
func (c *rawClient) cutOff() {
	c.t.Helper()
	said, err := io.ReadAll(c.r)
	if len(said) > 0 && !strings.HasPrefix(string(said), "HTTP/1.1 400 ") || errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Errorf("it ended with %.100q, %v", said, err)
	}
}

// ended waits until the service has let go of the connection, without another byte.
func (c *rawClient) ended() {
	c.t.Helper()
	if b, err := c.r.ReadByte(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Errorf("the connection is open still: %q, %v", b, err)
	}
}

// measured is a metric of a service as /metrics writes it, with its labels; zero where there is none.
func measured(t *testing.T, s *apptest.System, metric string) float64 {
	t.Helper()
	_, body := request(t, "GET", s.AdminURL()+"/metrics", nil)
	for line := range strings.Lines(body) {
		if value, ok := strings.CutPrefix(line, metric+" "); ok {
			f, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
	}
	return 0
}

// awaitMeasured waits until a metric has a value.
func awaitMeasured(t *testing.T, s *apptest.System, metric string, want float64) {
	t.Helper()
	var got float64
	eventually(t, func() bool {
		got = measured(t, s, metric)
		return got == want
	}, func() string { return fmt.Sprintf("%s is %v, want %v", metric, got, want) })
}

// eventually waits until something is so.
func eventually(t *testing.T, reached func() bool, otherwise func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), apptest.Wait)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !reached() {
		select { // the ticker wakes it, ctx ends it
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal(otherwise())
		}
	}
}

// Metrics that these tests look at.
const (
	openSessions   = `carillon_deliver_sessions{protocol="websocket",tls="false"}`
	openHandshakes = `carillon_http_connections{listener="sessions"}`
	refusedAtOnce  = `carillon_http_connections_refused_total{listener="sessions"}`
	queuedBytes    = "carillon_deliver_queued_bytes"
	closedFor      = `carillon_deliver_sessions_closed_total{reason=%q}`
)
