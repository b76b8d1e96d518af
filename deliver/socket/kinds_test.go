package socket

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// certified and trusting are the two ends' configurations of TLS.
var certified, trusting = func() (*tls.Config, *tls.Config) {
	s := httptest.NewUnstartedServer(nil) // for its certificate
	s.StartTLS()
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return &tls.Config{Certificates: s.TLS.Certificates}, &tls.Config{RootCAs: roots, ServerName: "example.com"}
}()

// kind of a connection.
type kind struct {
	protocol Protocol
	secure   bool
}

func (k kind) String() string {
	if k.secure {
		return k.protocol.String() + " over TLS"
	}
	return k.protocol.String()
}

var kinds = []kind{{WebSocket, false}, {WebSocket, true}, {EventStream, false}, {EventStream, true}}

// ofEachKind runs a test for every kind of connection.
func ofEachKind(t *testing.T, test func(t *testing.T, k kind)) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(k.String(), func(t *testing.T) {
			t.Parallel()
			test(t, k)
		})
	}
}

// TestKinds sends to each kind of connection, alone and joined, what fits in a packet and what needs many records, and
// closes it.
func TestKinds(t *testing.T) {
	ofEachKind(t, func(t *testing.T, k kind) {
		s := serve(t)
		p, rec := s.phone(t, k, &net.Dialer{})
		if st := s.Stats(); st.Open != 1 || st.OpenOf(k.protocol, k.secure) != 1 || rec.conn.Protocol() != k.protocol {
			t.Errorf("counted %+v", st)
		}
		texts := []string{"hello", "", "{\n \"a\": 1\r\n}", strings.Repeat("é", 5000), strings.Repeat("0123456789", 3277), strings.Repeat("x", 200_000)}
		heard := func(i int, want string) {
			t.Helper()
			if k.protocol == EventStream {
				want = strings.ReplaceAll(want, "\r\n", "\n")
			}
			m := p.hear()
			if m.text != want || k.protocol == EventStream && m.id != strconv.Itoa(i+1) {
				t.Errorf("message %d came as %.20q of %d bytes, id %q", i, m.text, len(m.text), m.id)
			}
		}
		var all []*Frame
		for i, text := range texts {
			f := NewFrame("push", uint64(i+1), []byte(text))
			all = append(all, f)
			if err := rec.conn.Send(f); err != nil {
				t.Fatal(err)
			}
			heard(i, text)
		}
		if err := rec.conn.SendAll(all); err != nil {
			t.Fatal(err)
		}
		for i, text := range texts {
			heard(i, text)
		}
		rec.conn.Close(4001, "kicked \"out\"")
		if m, _ := p.closed(); m.code != 4001 || m.reason != "kicked \"out\"" || m.retry != 0 {
			t.Errorf("closed with %+v", m)
		}
		p.hang()
		if why := receive(t, rec.ended); why != Server {
			t.Errorf("ended because of %v", why)
		}
		if st := s.Stats(); st.Open != 0 || st.Queued != 0 || st.OpenOf(k.protocol, k.secure) != 0 {
			t.Errorf("counted %+v", st)
		}
	})
}

// TestKindsDrain fills a socket and reads it out: everything comes, whole and in order.
func TestKindsDrain(t *testing.T) {
	ofEachKind(t, func(t *testing.T, k kind) {
		s := serve(t, narrow(64<<20))
		p, rec := s.phone(t, k, small(4<<10))
		const frames = 600
		text := func(i int) string { return fmt.Sprintf("%06d%s", i, strings.Repeat("x", i*i%40_000)) }
		for i := 0; i < frames; {
			n := 1 + i%5
			var batch []*Frame
			for ; len(batch) < n && i < frames; i++ {
				batch = append(batch, NewFrame("push", uint64(i), []byte(text(i))))
			}
			if err := rec.conn.SendAll(batch); err != nil {
				t.Fatal(err)
			}
		}
		if st := s.Stats(); st.Full != 1 || st.Queued == 0 {
			t.Errorf("counted %+v before anything was read", st)
		}
		for i := range frames {
			if m := p.hear(); m.text != text(i) {
				t.Fatalf("message %d came as %.6q of %d bytes, want %d", i, m.text, len(m.text), len(text(i)))
			}
		}
		rec.conn.Close(1000, "")
		if m, more := p.closed(); m.code != 1000 || more != 0 {
			t.Errorf("closed with %+v after %d more", m, more)
		}
		p.hang()
		if why := receive(t, rec.ended); why != Server {
			t.Errorf("ended because of %v", why)
		}
		if st := s.Stats(); st.Queued != 0 {
			t.Errorf("counted %+v", st)
		}
	})
}

// TestKindsTooSlow never reads until it is too late: what the client has is whole, then it hears why it was closed.
func TestKindsTooSlow(t *testing.T) {
	ofEachKind(t, func(t *testing.T, k kind) {
		s := serve(t, narrow(64<<10))
		p, rec := s.phone(t, k, small(4<<10))
		sent := 0
		for ; ; sent++ {
			err := rec.conn.Send(NewFrame("push", 1, fmt.Appendf(nil, "%06d%05000d", sent, 0)))
			if errors.Is(err, ErrTooSlow) {
				break
			}
			if err != nil || sent > 10_000 {
				t.Fatalf("after %d: %v", sent, err)
			}
		}
		got := 0
		for ; ; got++ {
			m := p.hear()
			if m.code != 0 {
				if m.code != 4003 || m.reason != "too slow" {
					t.Errorf("closed with %+v", m)
				}
				break
			}
			if want := fmt.Sprintf("%06d%05000d", got, 0); m.text != want {
				t.Fatalf("message %d came as %.6q", got, m.text)
			}
		}
		if got == 0 || got >= sent {
			t.Errorf("%d of %d came", got, sent)
		}
		p.hang()
		if why := receive(t, rec.ended); why != Slow {
			t.Errorf("ended because of %v", why)
		}
		if st := s.Stats(); st.Queued != 0 || st.Closed[Slow] != 1 {
			t.Errorf("counted %+v", st)
		}
	})
}

// TestKindsHangUp has clients go without a word, some while much waits for them.
func TestKindsHangUp(t *testing.T) {
	ofEachKind(t, func(t *testing.T, k kind) {
		s := serve(t, narrow(64<<20))
		for _, waiting := range []int{0, 100} {
			p, rec := s.phone(t, k, small(4<<10))
			for range waiting {
				if err := rec.conn.Send(NewFrame("push", 1, make([]byte, 10_000))); err != nil {
					t.Fatal(err)
				}
			}
			p.hang()
			if why := receive(t, rec.ended); why != Gone {
				t.Errorf("ended because of %v", why)
			}
			if err := rec.conn.Send(heartbeat); !errors.Is(err, ErrClosed) {
				t.Errorf("Send says %v", err)
			}
		}
		if st := s.Stats(); st.Queued != 0 || st.Open != 0 {
			t.Errorf("counted %+v", st)
		}
	})
}

// TestKindsStop ends the poller under connections of all kinds: each hears why, and an event source comes back after a
// random pause.
func TestKindsStop(t *testing.T) {
	t.Parallel()
	s := serve(t)
	phones := map[*phone]kind{}
	for range 8 {
		for _, k := range kinds {
			p, _ := s.phone(t, k, &net.Dialer{})
			phones[p] = k
		}
	}
	s.stop()
	var pauses []int
	for p, k := range phones {
		m, _ := p.closed()
		if m.code != 1001 || m.reason != "draining" {
			t.Errorf("%v: closed with %+v", k, m)
		}
		if k.protocol == EventStream {
			pauses = append(pauses, m.retry)
		}
	}
	slices.Sort(pauses)
	if pauses[0] < 500 || pauses[len(pauses)-1] > 5000 || len(slices.Compact(pauses)) < 8 {
		t.Errorf("they come back after %v ms", pauses)
	}
	if st := s.Stats(); st.Open != 0 || st.Queued != 0 {
		t.Errorf("counted %+v", st)
	}
}

// TestEventStreamClients shows what clients of event streams can do: whatever they send, and however much, is thrown away; they
// are not dropped for silence; the heartbeat is a comment.
func TestEventStreamClients(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *Config, _ *recorder) { c.Heartbeat = 10 * time.Second })
	for _, secure := range []bool{false, true} {
		s.secure = secure
		c, rec := s.connect(t, &net.Dialer{}, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n"+strings.Repeat("leftover", 100))
		c.write([]byte(strings.Repeat("nonsense", 10_000)))
		for range 50 {
			now := s.clock.Add(1)
			s.sweep(now, now)
		}
		if err := rec.conn.Send(NewFrame("push", 7, []byte("a\nb\n"))); err != nil {
			t.Fatal(err)
		}
		want := strings.Repeat(":\n\n", 5) + "event: push\nid: 7\ndata: a\ndata: b\ndata: \n\n"
		got := make([]byte, len(want))
		if _, err := io.ReadFull(c.r, got); err != nil || string(got) != want {
			t.Errorf("got %q, %v", got, err)
		}
		if len(rec.got) > 0 || rec.ends.Load() != 0 {
			t.Error("the owner was told something")
		}
		_ = c.Close()
		if why := receive(t, rec.ended); why != Gone {
			t.Errorf("ended because of %v", why)
		}
	}
}

// TestEventStreamHalfOpen has the kernel end a stream whose client takes nothing for two heartbeats.
func TestEventStreamHalfOpen(t *testing.T) {
	ofEachKind(t, func(t *testing.T, k kind) {
		if k.protocol != EventStream {
			return
		}
		s := serve(t, narrow(64<<20), func(c *Config, _ *recorder) { c.Heartbeat = time.Second })
		_, rec := s.phone(t, k, small(4<<10))
		for s.Stats().Full == 0 {
			if err := rec.conn.Send(NewFrame("push", 1, make([]byte, 50_000))); err != nil {
				t.Fatal(err)
			}
		}
		if why := receive(t, rec.ended); why != Silent {
			t.Errorf("ended because of %v", why)
		}
	})
}

// TestStreamWithoutHijack is what a handler sees behind a middleware that hides the connection.
func TestStreamWithoutHijack(t *testing.T) {
	t.Parallel()
	if _, _, err := Stream(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)); err == nil {
		t.Error("a connection out of nothing")
	}
}
