package socket

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"
)

// versions of TLS that are spoken.
var versions = map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13}

// wiretap notes what a client's TLS has written and read, as it was on the wire.
type wiretap struct {
	net.Conn
	mu        sync.Mutex
	sent, got []byte
}

func (w *wiretap) Write(b []byte) (int, error) {
	w.mu.Lock()
	w.sent = append(w.sent, b...)
	w.mu.Unlock()
	return w.Conn.Write(b)
}

func (w *wiretap) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	w.mu.Lock()
	w.got = append(w.got, b[:n]...)
	w.mu.Unlock()
	return n, err
}

// unread is a secure connection in a poller that does not run, its handshake done, and the client's end of it.
func unread(t testing.TB, p *Poller, cfg *tls.Config, protocol Protocol) (*Conn, *tls.Conn, *wiretap) {
	t.Helper()
	near, far := pair(t)
	tap := &wiretap{Conn: far}
	client := tls.Client(tap, cfg)
	s := &secure{Conn: near}
	listener, ok := NewTLSListener(nil, certified).(*tlsListener)
	if !ok {
		t.Fatal("another kind of listener")
	}
	s.tls = tls.Server(s, listener.cfg)
	shaken := make(chan error, 1)
	go func() { shaken <- s.tls.HandshakeContext(t.Context()) }()
	if err := errors.Join(client.HandshakeContext(t.Context()), receive(t, shaken)); err != nil {
		t.Fatal(err)
	}
	conn, err := p.Adopt(s.tls, nil, protocol, &recorder{got: make(chan string, 64), ended: make(chan Why, 1)})
	if err != nil {
		t.Fatal(err)
	}
	return conn, client, tap
}

// still is a poller that does not run: the test does what its loops would.
func still(t testing.TB, opts ...option) *Poller {
	t.Helper()
	cfg := Default()
	for _, o := range opts {
		o(&cfg, new(recorder))
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.stop()
		if err := p.closeLoops(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// TestRecordsByteByByte has the bytes of records come one by one: reading goes on where it was, and TLS gives each message
// with the last byte of its record.
func TestRecordsByteByByte(t *testing.T) {
	t.Parallel()
	p := still(t)
	for name, version := range versions {
		cfg := trusting.Clone()
		cfg.MinVersion, cfg.MaxVersion, cfg.DynamicRecordSizingDisabled = version, version, true
		conn, client, tap := unread(t, p, cfg, WebSocket)
		far := tap.Conn
		tap.Conn = &discarded{} // what TLS writes is kept from the wire
		tap.sent = nil
		buf := make([]byte, 64<<10)
		for _, text := range []string{"a", "hello", strings.Repeat("x", 1000), strings.Repeat("y", recordSize)} {
			write(t, client, []byte(text))
			for i, b := range tap.sent {
				write(t, far, []byte{b})
				readable(t, conn)
				n, _, err := conn.read(buf)
				if err != nil || n != 0 && i < len(tap.sent)-1 {
					t.Fatalf("%s: read %d behind byte %d of %d: %v", name, n, i, len(tap.sent), err)
				}
				if i == len(tap.sent)-1 && string(buf[:n]) != text {
					t.Fatalf("%s: read %d bytes, want %d", name, n, len(text))
				}
			}
			tap.sent = tap.sent[:0]
		}
	}
}

// readable waits until a connection's socket has something to read.
func readable(t testing.TB, c *Conn) {
	t.Helper()
	fds := []unix.PollFd{{Fd: c.fd, Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, int(patient/time.Millisecond))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if n != 1 || err != nil {
			t.Fatalf("waiting for a socket: %d, %v", n, err)
		}
		return
	}
}

// discarded takes what is written and says nothing.
type discarded struct{ net.Conn }

func (*discarded) Write(b []byte) (int, error) { return len(b), nil }

// TestBudget reads a connection whose client sends without end: each turn ends, and none leaves anything in TLS of which no
// event would tell.
func TestBudget(t *testing.T) {
	t.Parallel()
	conn, client, _ := unread(t, still(t), trusting, EventStream)
	const size = 1 << 20
	go func() {
		_, _ = client.Write(make([]byte, size))
		_ = client.CloseWrite()
	}()
	buf := make([]byte, 64<<10)
	for got, turns := 0, 0; ; turns++ {
		before := got
		readable(t, conn)
		for more := true; more; {
			n, m, err := conn.read(buf)
			got, more = got+n, m
			if errors.Is(err, io.EOF) {
				if got != size || turns < size/readSize/2 {
					t.Errorf("%d bytes in %d turns", got, turns)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if got-before > readSize+recordSize {
			t.Fatalf("%d bytes in one turn", got-before)
		}
	}
}

// TestSecureWebSocket is a WebSocket's whole conversation over each version of TLS: what comes right behind the handshake, in
// the same record and in others that come with it, a ping, and a close, which TLS ends with its own.
func TestSecureWebSocket(t *testing.T) {
	t.Parallel()
	s := serve(t)
	for name, version := range versions {
		d := &net.Dialer{}
		far, err := d.Dial("tcp", s.tls.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = far.Close() })
		_ = far.SetDeadline(time.Now().Add(patient))
		cfg := trusting.Clone()
		cfg.MinVersion, cfg.MaxVersion = version, version
		tap := &wiretap{Conn: far}
		conn := tls.Client(tap, cfg)
		if err := conn.HandshakeContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		held := &wiretap{Conn: &discarded{}} // gathers records, so that they come together
		tap.Conn = held
		c := &client{t: t, Conn: conn, r: bufio.NewReader(conn)}
		c.write([]byte("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n" + string(masked(fin|text, "leftover"))))
		c.write(masked(fin|text, "in a record of its own"))
		c.write(masked(fin|pinger, "there?")[:5])
		tap.Conn = far
		write(t, far, held.sent)
		rec := receive(t, s.adopted)
		for {
			line, err := c.r.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if line == "\r\n" {
				break
			}
		}
		for _, want := range []string{"leftover", "in a record of its own"} {
			if got := receive(t, rec.got); got != want {
				t.Errorf("%s: got %q, want %q", name, got, want)
			}
		}
		c.write(masked(fin|pinger, "there?")[5:])
		if f := c.frame(); f.Header.OpCode != ws.OpPong || string(f.Payload) != "there?" {
			t.Errorf("%s: answered with %v", name, f.Header)
		}
		c.write(masked(fin|closer, "\x03\xe8"))
		if code, _ := c.closed(); code != 1000 {
			t.Errorf("%s: closed with %d", name, code)
		}
		// In TLS 1.2 the type of a record can be seen: the last is an alert, that of the end.
		if records := types(t, tap.got); version == tls.VersionTLS12 && records[len(records)-1] != 21 {
			t.Errorf("the records are of the types %v", records)
		}
		_ = c.Close()
		if why := receive(t, rec.ended); why != Client {
			t.Errorf("%s: ended because of %v", name, why)
		}
	}
}

// types of the records in a stream.
func types(t *testing.T, b []byte) (all []byte) {
	for len(b) > 0 {
		if len(b) < 5 || len(b) < 5+int(binary.BigEndian.Uint16(b[3:])) {
			t.Fatalf("half a record is left: %d bytes", len(b))
		}
		all, b = append(all, b[0]), b[5+int(binary.BigEndian.Uint16(b[3:])):]
	}
	return all
}

// TestSecureFaults ends the connections of clients whose TLS is broken, or that cut it.
func TestSecureFaults(t *testing.T) {
	t.Parallel()
	s := serve(t)
	s.secure = true
	for name, test := range map[string]struct {
		do  func(far net.Conn, c *tls.Conn) error
		why Why
	}{
		"no records": {func(far net.Conn, _ *tls.Conn) error { _, err := far.Write(make([]byte, 100)); return err }, BadFrame},
		"a record that is forged": {func(far net.Conn, _ *tls.Conn) error {
			_, err := far.Write(append([]byte{23, 3, 3, 0, 50}, make([]byte, 50)...))
			return err
		}, BadFrame},
		"the end of TLS":     {func(_ net.Conn, c *tls.Conn) error { return c.CloseWrite() }, Gone},
		"the end within TLS": {func(far net.Conn, _ *tls.Conn) error { return far.Close() }, Gone},
		"the end in a record": {func(far net.Conn, _ *tls.Conn) error {
			_, err := far.Write([]byte{23, 3})
			return errors.Join(err, far.Close())
		}, Gone},
		"a reset": {func(far net.Conn, _ *tls.Conn) error {
			return errors.Join(far.(*net.TCPConn).SetLinger(0), far.Close())
		}, Gone},
		"a frame, then no TLS": {func(far net.Conn, c *tls.Conn) error {
			_, err := c.Write(masked(fin|text, "x"))
			_, e := far.Write(make([]byte, 9))
			return errors.Join(err, e)
		}, BadFrame},
	} {
		c, rec := s.dial(t)
		secured, ok := c.Conn.(*tls.Conn)
		if !ok {
			t.Fatal("no TLS was dialled")
		}
		if err := test.do(secured.NetConn(), secured); err != nil {
			t.Fatal(err)
		}
		if why := receive(t, rec.ended); why != test.why {
			t.Errorf("%s: ended because of %v", name, why)
		}
	}
	// Neither plain HTTP nor an old client gets as far as a session.
	far, err := net.Dial("tcp", s.tls.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = far.Close() }()
	write(t, far, []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	if answer, err := io.ReadAll(far); err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.0 400 ")) {
		t.Errorf("plain HTTP was answered with %q, %v", answer, err)
	}
	old := trusting.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if c, err := tls.Dial("tcp", s.tls.Addr().String(), old); err == nil {
		t.Error("TLS 1.1 was spoken")
		_ = c.Close()
	}
}

// TestAdoptRefusesForeignTLS takes no connection whose records it could not read, nor one before its handshake.
func TestAdoptRefusesForeignTLS(t *testing.T) {
	t.Parallel()
	p := still(t)
	near, far := pair(t)
	if _, err := p.Adopt(tls.Server(near, certified), nil, WebSocket, nil); err == nil {
		t.Error("TLS of another listener was adopted")
	}
	if _, err := far.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the refused connection: %v", err)
	}
	near, far = pair(t)
	s := &secure{Conn: near}
	if _, err := p.Adopt(tls.Server(s, certified), nil, WebSocket, nil); err == nil {
		t.Error("a connection was adopted before its handshake")
	}
	if _, err := far.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the refused connection: %v", err)
	}
}

// TestSecureStorm sends and closes on all sides at once over TLS, while the heartbeat walks the table: every client gets its
// own frames, whole, and every owner is told once.
func TestSecureStorm(t *testing.T) {
	t.Parallel()
	s := serve(t, narrow(8<<10), echoing)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for r := range 60 {
			k := kinds[r%len(kinds)]
			p, rec := s.phone(t, k, small(4<<10))
			text := strings.Repeat(fmt.Sprintf("%d, ", r), 300)
			frame := NewFrame("push", 1, []byte(text))
			var busy sync.WaitGroup
			for range 3 {
				busy.Go(func() {
					for range 300 {
						if rec.conn.SendAll([]*Frame{frame, frame}) != nil || rec.conn.Send(frame) != nil {
							return
						}
					}
				})
			}
			for range 1 + r*7%50 {
				m, err := p.next()
				if err != nil || m.code != 0 {
					break
				}
				if m.text != text {
					t.Errorf("%d got %.20q", r, m.text)
				}
			}
			if r%3 == 0 {
				rec.conn.Close(4001, "kicked")
			}
			p.hang()
			busy.Wait()
			receive(t, rec.ended)
			if n := rec.ends.Load(); n != 1 {
				t.Errorf("told %d times", n)
			}
		}
	}()
	for second := uint32(0); ; second++ {
		select {
		case <-done:
			if st := s.Stats(); st.Open != 0 || st.Queued != 0 {
				t.Errorf("counted %+v", st)
			}
			return
		default:
			s.sweep(second, 0)
			s.release(second % 2 * patience)
		}
	}
}
