package socket

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/gobwas/ws"
)

// narrow makes a poller whose sockets fill up soon.
func narrow(limit int) option {
	return func(c *Config, _ *recorder) { c.SendBuffer, c.QueueLimit = 4<<10, limit }
}

// TestSlowClient has one client stop reading: it is closed with 4003, which it sees when it reads on, and the others get
// everything in order meanwhile.
func TestSlowClient(t *testing.T) {
	t.Parallel()
	s := serve(t, narrow(32<<10))
	slow, stalled := s.dialWith(t, small(4<<10))

	const others = 5
	arrived := make(chan int)
	conns := []*Conn{stalled.conn}
	for range others {
		c, rec := s.dial(t)
		conns = append(conns, rec.conn)
		go func() {
			for i := 0; ; i++ {
				f, err := c.next()
				if err != nil {
					return // the end of the test
				}
				if want := fmt.Appendf(nil, "%08d", i); !bytes.HasPrefix(f.Payload, want) {
					t.Errorf("%.8s came in the place of %s", f.Payload, want)
				}
				arrived <- i
			}
		}()
	}

	sent := 0
	for round := 0; ; round++ {
		f := NewFrame("push", 1, append(fmt.Appendf(nil, "%08d", round), make([]byte, 1000)...))
		var tooSlow bool
		for _, c := range conns {
			switch err := c.Send(f); {
			case err == nil:
			case c == stalled.conn && errors.Is(err, ErrTooSlow):
				tooSlow = true
			default:
				t.Fatalf("round %d: %v", round, err)
			}
		}
		for range others {
			if i := receive(t, arrived); i != round {
				t.Fatalf("push %d arrived in round %d", i, round)
			}
		}
		if tooSlow {
			break
		}
		if sent++; sent > 10_000 {
			t.Fatal("the stalled client was never found too slow")
		}
	}
	if err := stalled.conn.Send(heartbeat); !errors.Is(err, ErrClosed) {
		t.Errorf("after the close Send says %v", err)
	}
	got := 0
	for {
		f := slow.frame()
		if f.Header.OpCode == ws.OpClose {
			if code, _ := ws.ParseCloseFrameData(f.Payload); code != 4003 {
				t.Errorf("closed with %d", code)
			}
			break
		}
		if want := fmt.Appendf(nil, "%08d", got); !bytes.HasPrefix(f.Payload, want) {
			t.Errorf("the slow client got %.8s in the place of %s", f.Payload, want)
		}
		got++
	}
	if got == 0 || got >= sent {
		t.Errorf("the slow client got %d of %d pushes", got, sent)
	}
	_ = slow.Close()
	if why := receive(t, stalled.ended); why != Slow {
		t.Errorf("ended because of %v", why)
	}
	if st := s.Stats(); st.Queued != 0 || st.Closed[Slow] != 1 || st.Full == 0 {
		t.Errorf("counted %+v", st)
	}
}

// TestOrder sends frames of all sizes through sockets too small for them, alone and joined, and reads them back in pieces.
func TestOrder(t *testing.T) {
	t.Parallel()
	s := serve(t, narrow(64<<20))
	c, rec := s.dialWith(t, small(4<<10))
	rng := rand.New(rand.NewPCG(1, 2))
	const frames = 400
	var all []*Frame
	var want []byte
	for i := range frames {
		f := NewFrame("push", 1, bytes.Repeat([]byte{byte('a' + i%26)}, rng.IntN(1<<uint(rng.IntN(16)))))
		all = append(all, f)
		want = append(want, f.ws...)
	}
	failed := make(chan error, 1)
	go func() {
		defer close(failed)
		for left := all; len(left) > 0; {
			n := min(1+rng.IntN(3)*rng.IntN(100), len(left))
			err := error(nil)
			if n == 1 {
				err = rec.conn.Send(left[0])
			} else {
				err = rec.conn.SendAll(left[:n])
			}
			if err != nil {
				failed <- err
				return
			}
			left = left[n:]
		}
		rec.conn.Close(1000, "") // cuts what still waits, but for the frame that is half sent
	}()
	got, err := io.ReadAll(c.r)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	last := closing(WebSocket, 1000, "").ws
	if !bytes.HasSuffix(got, last) {
		t.Fatal("the close frame is missing")
	}
	got = got[:len(got)-len(last)]
	if !bytes.HasPrefix(want, got) {
		t.Fatal("the bytes are out of order")
	}
	for n, left := 0, all; ; left = left[1:] {
		if n == len(got) {
			break
		}
		if len(left) == 0 || n > len(got) {
			t.Fatal("a frame was cut in two")
		}
		n += len(left[0].ws)
	}
	if s.Stats().Full == 0 {
		t.Error("no socket was ever full: nothing was tested")
	}
}

// TestQueueDrains sees to it that everything comes, and that nothing stays behind, once a client reads on.
func TestQueueDrains(t *testing.T) {
	t.Parallel()
	s := serve(t, narrow(64<<20))
	c, rec := s.dialWith(t, small(4<<10))
	const frames = 3000
	f := NewFrame("push", 1, bytes.Repeat([]byte("x"), 997))
	var senders sync.WaitGroup
	for range 3 {
		senders.Go(func() {
			for range frames / 3 {
				if err := rec.conn.Send(f); err != nil {
					t.Error(err)
				}
			}
		})
	}
	senders.Wait()
	for i := range frames {
		if got := c.frame(); len(got.Payload) != 997 {
			t.Fatalf("frame %d has %d bytes", i, len(got.Payload))
		}
	}
	// A pong behind it all says that the loop has seen the queue empty.
	c.write(masked(fin|pinger, ""))
	if got := c.frame(); got.Header.OpCode != ws.OpPong {
		t.Errorf("got %v, want a pong", got.Header)
	}
	if st := s.Stats(); st.Queued != 0 || st.Full == 0 {
		t.Errorf("counted %+v", st)
	}
}

// TestInbox sends more in one call than may wait: an inbox is not what makes a client slow.
func TestInbox(t *testing.T) {
	t.Parallel()
	s := serve(t, narrow(1<<10))
	c, rec := s.dialWith(t, small(4<<10))
	inbox := make([]*Frame, 500)
	for i := range inbox {
		inbox[i] = NewFrame("push", 1, fmt.Appendf(nil, "%01000d", i))
	}
	if err := rec.conn.SendAll(inbox); err != nil {
		t.Fatal(err)
	}
	for i := range inbox {
		if got, want := string(c.frame().Payload), fmt.Sprintf("%01000d", i); got != want {
			t.Fatalf("got %s in the place of %s", got[990:], want[990:])
		}
	}
}
