package socket

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patient bounds every wait of these tests on an event that must come.
const patient = 20 * time.Second

// recorder is an Owner that hands what it is told to its test.
type recorder struct {
	conn    *Conn
	got     chan string
	ended   chan Why
	ends    atomic.Int32
	refuse  error                            // returned for every message
	message func(c *Conn, data []byte) error // in place of the above
}

func (r *recorder) OnMessage(data []byte) error {
	if r.message != nil {
		return r.message(r.conn, data)
	}
	r.got <- string(data)
	return r.refuse
}

func (r *recorder) OnClose(why Why) {
	if r.ends.Add(1) == 1 {
		r.ended <- why
	}
}

// server is a Poller behind net/http, as the gateway has it.
type server struct {
	*Poller
	http    *httptest.Server
	tls     net.Listener // of the same server
	secure  bool         // dial over TLS
	adopted chan *recorder
	clock   atomic.Uint32 // the poller's
	stop    func()        // ends Run and waits for it
}

type option func(*Config, *recorder)

func serve(t testing.TB, opts ...option) *server {
	t.Helper()
	cfg := Default()
	cfg.Loops = 2
	for _, o := range opts {
		o(&cfg, new(recorder))
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Poller: p, adopted: make(chan *recorder, 1024)}
	p.now = s.clock.Load
	s.http = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		take, protocol := Upgrade, WebSocket
		if r.URL.Path == "/events" {
			take, protocol = Stream, EventStream
			w.Header().Set("X-Request-Id", "r1")
		}
		conn, leftover, err := take(w, r)
		if err != nil {
			var refused *Refusal
			if errors.As(err, &refused) {
				refused.SetHeaders(w.Header())
				http.Error(w, refused.Reason, refused.Status)
			}
			return
		}
		rec := &recorder{got: make(chan string, 64), ended: make(chan Why, 1)}
		for _, o := range opts {
			c := Default()
			o(&c, rec)
		}
		if rec.conn, err = p.Adopt(conn, leftover, protocol, rec); err != nil {
			t.Error(err)
			return
		}
		if err := rec.conn.Start(); err != nil {
			t.Error(err)
		}
		s.adopted <- rec
	}))
	s.http.Config.ErrorLog = log.New(io.Discard, "", 0) // of clients that break TLS
	s.http.Start()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.tls = NewTLSListener(inner, certified)
	served := make(chan error, 1)
	go func() { served <- s.http.Config.Serve(s.tls) }()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	var stopped bool
	s.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		s.http.Close()
		_ = s.http.Config.Close() // the other listener, which closes without errors
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	}
	t.Cleanup(s.stop)
	return s
}

// dial is a raw client: its handshake, with behind in the same write, and the recorder at the other end. One goroutine at
// a time may dial to a server, or the recorders would be mixed up.
func (s *server) dial(t testing.TB, behind ...byte) (*client, *recorder) {
	t.Helper()
	return s.dialWith(t, &net.Dialer{}, behind...)
}

func (s *server) dialWith(t testing.TB, d *net.Dialer, behind ...byte) (*client, *recorder) {
	t.Helper()
	return s.connect(t, d, "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"+string(behind))
}

// connect is a raw client that has sent a request and read the answer's head.
func (s *server) connect(t testing.TB, d *net.Dialer, request string) (*client, *recorder) {
	t.Helper()
	at := s.http.Listener.Addr()
	if s.secure {
		at = s.tls.Addr()
	}
	conn, err := d.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	if s.secure {
		conn = tls.Client(conn, trusting)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patient))
	c := &client{t: t, Conn: conn, r: bufio.NewReader(conn)}
	c.write([]byte(request))
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusSwitchingProtocols:
		if got := res.Header.Get("Sec-WebSocket-Accept"); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
			t.Fatalf("handshake: %q", got)
		}
	default:
		t.Fatalf("handshake: %v", res)
	}
	return c, receive(t, s.adopted)
}

// small gives a client a receive buffer of the given size.
func small(size int) *net.Dialer {
	return &net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) {
			failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, size)
		})
		return errors.Join(err, failed)
	}}
}

func receive[T any](t testing.TB, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patient):
		t.Fatal("what is waited for did not come")
		panic("unreachable")
	}
}

// client speaks frames without any of our code.
type client struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

func (c *client) write(b []byte) {
	c.t.Helper()
	if _, err := c.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) frame() ws.Frame {
	c.t.Helper()
	f, err := c.next()
	if err != nil {
		c.t.Fatal(err)
	}
	return f
}

func (c *client) next() (f ws.Frame, err error) {
	if f.Header, err = ws.ReadHeader(c.r); err != nil {
		return f, err
	}
	f.Payload = make([]byte, f.Header.Length)
	_, err = io.ReadFull(c.r, f.Payload)
	return f, err
}

// closed reads up to the close frame and the end of the stream behind it, and returns code and reason.
func (c *client) closed() (code int, reason string) {
	c.t.Helper()
	for {
		f := c.frame()
		if f.Header.OpCode != ws.OpClose {
			continue
		}
		if _, err := c.r.ReadByte(); !errors.Is(err, io.EOF) {
			c.t.Fatalf("behind the close frame: %v, want the end", err)
		}
		if len(f.Payload) == 0 {
			return 0, ""
		}
		return int(binary.BigEndian.Uint16(f.Payload)), string(f.Payload[2:])
	}
}

// masked is a client frame.
func masked(first byte, payload string) []byte {
	mask := [4]byte{1, 2, 3, 4}
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	b = append(b, mask[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^mask[i%4])
	}
	return b
}

const (
	fin    = 0x80
	text   = 0x1
	binry  = 0x2
	closer = 0x8
	pinger = 0x9
	ponger = 0xa
)

func concat(parts ...[]byte) (all []byte) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func TestConfig(t *testing.T) {
	t.Parallel()
	if err := Default().Validate(); err != nil {
		t.Errorf("the default: %v", err)
	}
	bad := Config{Loops: -1, Heartbeat: 1500 * time.Millisecond}
	err := bad.Validate()
	for _, want := range []string{"loops", "queue limit", "frame limit", "heartbeat", "send buffer"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate says nothing of the %s: %v", want, err)
		}
	}
	if _, err := New(bad); err == nil {
		t.Error("New took it")
	}
}

func TestWhy(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, w := range Whys() {
		if w.String() == "" || w.String() == "unknown" || seen[w.String()] {
			t.Errorf("reason %d is called %q", w, w)
		}
		seen[w.String()] = true
	}
	if Why(200).String() != "unknown" {
		t.Error("a reason that is none has a name")
	}
}

// pair is a TCP connection with both its ends.
func pair(t testing.TB) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if far, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if near, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	_ = far.SetDeadline(time.Now().Add(patient))
	t.Cleanup(func() { _ = near.Close(); _ = far.Close() })
	return near, far
}

func write(t testing.TB, c net.Conn, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}
