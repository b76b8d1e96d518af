package socket

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// TestSilence drops a client that answers no ping and keeps one that does, by the poller's clock.
func TestSilence(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *Config, _ *recorder) { c.Heartbeat = 10 * time.Second })
	mute, dropped := s.dial(t)
	live, kept := s.dial(t)
	turn := func() {
		for range 10 {
			now := s.clock.Add(1)
			s.sweep(now, now)
		}
	}
	for range 3 {
		turn()
		if f := live.frame(); f.Header.OpCode != ws.OpPing {
			t.Fatalf("got %v, want a ping", f.Header)
		}
		live.write(concat(masked(fin|ponger, ""), masked(fin|text, "here")))
		if got := receive(t, kept.got); got != "here" {
			t.Fatalf("got %q", got)
		}
	}
	if why := receive(t, dropped.ended); why != Silent {
		t.Errorf("ended because of %v", why)
	}
	for {
		if f, err := mute.next(); err != nil {
			break
		} else if f.Header.OpCode != ws.OpPing {
			t.Errorf("the silent client got %v", f.Header)
		}
	}
	if kept.ends.Load() != 0 {
		t.Error("a client that answers was dropped")
	}
}

// TestBeat has Run itself ping, and hang up on a client that does not answer a close, once the poller's clock says so.
func TestBeat(t *testing.T) {
	t.Parallel()
	s := serve(t)
	live, _ := s.dial(t)
	_, closing := s.dial(t)
	closing.conn.Close(4001, "kicked")
	s.clock.Store(uint32(Default().Heartbeat / time.Second))
	if f := live.frame(); f.Header.OpCode != ws.OpPing || len(f.Payload) != 0 {
		t.Errorf("got %v, want a ping", f.Header)
	}
	if why := receive(t, closing.ended); why != Server {
		t.Errorf("ended because of %v", why)
	}
}

// TestPatience hangs up on a client that does not answer a close.
func TestPatience(t *testing.T) {
	t.Parallel()
	s := serve(t)
	c, rec := s.dial(t)
	rec.conn.Close(4001, "kicked")
	if code, _ := c.closed(); code != 4001 {
		t.Errorf("closed with %d", code)
	}
	s.release(patience - 1)
	if rec.ends.Load() != 0 {
		t.Error("hung up early")
	}
	s.release(patience)
	if why := receive(t, rec.ended); why != Server {
		t.Errorf("ended because of %v", why)
	}
	if len(s.lingering) != 0 {
		t.Error("the poller still waits")
	}
}

// TestLastWords takes all that a client has sent which has hung up already, though it is more than is read at a time and
// there is one event for everything.
func TestLastWords(t *testing.T) {
	t.Parallel()
	s := serve(t)
	near, far := pair(t)
	said := strings.Repeat("x", 16<<10)
	times := 2 * len(s.loops[0].buf) / len(said)
	for range times {
		write(t, far, masked(fin|text, said))
	}
	if err := far.Close(); err != nil {
		t.Fatal(err)
	}
	rec := &recorder{got: make(chan string, times), ended: make(chan Why, 1)}
	conn, err := s.Adopt(near, nil, WebSocket, rec)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Start(); err != nil {
		t.Fatal(err)
	}
	if why := receive(t, rec.ended); why != Gone {
		t.Errorf("ended because of %v", why)
	}
	for i := range times {
		if got := receive(t, rec.got); got != said {
			t.Fatalf("message %d has %d bytes", i, len(got))
		}
	}
}

// TestStart shows that nothing is read before it, and that a connection closed meanwhile is let go of by it.
func TestStart(t *testing.T) {
	t.Parallel()
	s := serve(t)
	near, far := pair(t)
	write(t, far, masked(fin|text, "early"))
	rec := &recorder{got: make(chan string, 1), ended: make(chan Why, 1)}
	conn, err := s.Adopt(near, masked(fin|text, "with the handshake")[:5], WebSocket, rec)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Send(NewFrame("push", 1, []byte("hello"))); err != nil {
		t.Fatal(err)
	}
	conn.Close(4005, "too many")
	if len(rec.got) != 0 || len(rec.ended) != 0 {
		t.Error("the owner was called before Start")
	}
	if err := conn.Start(); err != nil {
		t.Fatal(err)
	}
	if err := conn.Start(); !errors.Is(err, ErrClosed) {
		t.Errorf("a second Start says %v", err)
	}
	c := &client{t: t, Conn: far, r: bufio.NewReader(far)}
	if f := c.frame(); string(f.Payload) != "hello" {
		t.Errorf("got %q", f.Payload)
	}
	if code, _ := c.closed(); code != 4005 {
		t.Errorf("closed with %d", code)
	}
	_ = far.Close()
	if why := receive(t, rec.ended); why != Server || len(rec.got) != 0 {
		t.Errorf("ended because of %v after %d messages", why, len(rec.got))
	}
}

// TestStop ends the poller under open, closing and unstarted connections.
func TestStop(t *testing.T) {
	t.Parallel()
	s := serve(t)
	client, opened := s.dial(t)
	_, closing := s.dial(t)
	closing.conn.Close(4001, "")
	near, _ := pair(t)
	unstarted := &recorder{ended: make(chan Why, 1)}
	conn, err := s.Adopt(near, nil, WebSocket, unstarted)
	if err != nil {
		t.Fatal(err)
	}
	s.stop()
	for _, rec := range []*recorder{opened, closing, unstarted} {
		if why := <-rec.ended; why != Server || rec.ends.Load() != 1 {
			t.Errorf("ended %d times, because of %v", rec.ends.Load(), why)
		}
	}
	if code, _ := client.closed(); code != 1001 {
		t.Errorf("closed with %d", code)
	}
	if err := conn.Start(); !errors.Is(err, ErrClosed) {
		t.Errorf("Start says %v", err)
	}
	conn.Close(1000, "") // does nothing
	near, _ = pair(t)
	if _, err := s.Adopt(near, nil, WebSocket, unstarted); !errors.Is(err, ErrStopped) {
		t.Errorf("Adopt says %v", err)
	}
	if err := s.Run(context.Background()); err == nil {
		t.Error("the poller ran twice")
	}
	if st := s.Stats(); st.Open != 0 || st.Adopted != 3 || st.Closed[Server] != 3 {
		t.Errorf("counted %+v", st)
	}
}

func TestAdoptRefuses(t *testing.T) {
	t.Parallel()
	s := serve(t)
	near, far := net.Pipe()
	if _, err := s.Adopt(near, nil, WebSocket, nil); err == nil {
		t.Error("a pipe was adopted")
	}
	if _, err := far.Write([]byte("x")); err == nil {
		t.Error("the refused connection is still open")
	}
	one, other := pair(t)
	if _, err := s.Adopt(one, make([]byte, leftoverLimit+1), WebSocket, nil); err == nil {
		t.Error("too much was taken with the handshake")
	}
	if _, err := other.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the refused connection: %v", err)
	}
	if _, err := s.Adopt(one, nil, WebSocket, nil); err == nil {
		t.Error("a closed connection was adopted")
	}
}

// TestStorm opens, sends and closes on all sides at once, so that descriptors are reused all the time: every client gets
// its own frames and no others, and every owner is told once.
func TestStorm(t *testing.T) {
	t.Parallel()
	s := serve(t, narrow(8<<10))
	const workers, rounds = 8, 60
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for r := range rounds {
				near, far := pair(t)
				name := fmt.Sprintf("%d of %d, ", r, w)
				frame := NewFrame("push", 1, bytes.Repeat([]byte(name), 40))
				rec := &recorder{got: make(chan string, 64), ended: make(chan Why, 1)}
				conn, err := s.Adopt(near, nil, WebSocket, rec)
				if err != nil {
					t.Error(err)
					return
				}
				var busy sync.WaitGroup
				for range 3 {
					busy.Go(func() {
						for conn.Send(frame) == nil { // ends when somebody closes, or the client is too slow
						}
						_ = conn.SendAll([]*Frame{frame, frame})
					})
				}
				busy.Go(func() {
					c := &client{t: t, Conn: far, r: bufio.NewReader(far)}
					for range 1 + (r*7+w)%50 {
						f, err := c.next()
						if err != nil || f.Header.OpCode == ws.OpClose {
							break
						}
						if f.Header.OpCode == ws.OpText && !bytes.HasPrefix(f.Payload, []byte(name)) {
							t.Errorf("%q got %.20q", name, f.Payload)
						}
						if _, err := far.Write(masked(fin|pinger, "x")); err != nil {
							break
						}
					}
					if r%2 == 0 {
						conn.Close(4001, "kicked")
					}
					if r%3 == 0 {
						_, _ = io.Copy(io.Discard, far)
					}
					_ = far.Close()
				})
				if err := conn.Start(); err != nil && !errors.Is(err, ErrClosed) {
					t.Error(err)
				}
				busy.Wait()
				receive(t, rec.ended)
				if n := rec.ends.Load(); n != 1 {
					t.Errorf("told %d times", n)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		all.Wait()
	}()
	for second := uint32(0); ; second++ { // the heartbeat walks the table all the while
		select {
		case <-done:
			if st := s.Stats(); st.Open != 0 || st.Queued != 0 || st.Adopted != workers*rounds {
				t.Errorf("counted %+v", st)
			}
			return
		default:
			s.sweep(second, 0)
			s.release(second % 2 * patience)
		}
	}
}
