package app_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillon-push/carillon/cmd/internal/app/apptest"
	"github.com/carillon-push/carillon/cmd/internal/config"
)

// queue is how many bytes may wait for a client here: the service soon loses patience with who does not read.
const queue = 8 << 10

func smallQueue(c *config.Config) { c.Sessions.Queue = queue }

// A client that pings and does not read is owed no more pongs than may wait for it.
func TestPingsWithoutReading(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, smallQueue)
	other := s.Dial("other")
	c := logIn(t, sessionsAddress(s), "u", 4<<10)
	const pings = 4000
	body := strings.Repeat("x", 125)
	c.text(strings.Repeat(whole(opPing, body), pings))
	if n := measured(t, s, queuedBytes); n > queue+float64(len(body)+len(whole(opPing, ""))) {
		t.Errorf("%v bytes wait for one client, and may be %d and one pong", n, queue)
	}
	pongs := 0
	for {
		op, payload := c.frame()
		if op == opClose {
			if !strings.HasPrefix(payload, "\x0f\xa3") { // 4003
				t.Errorf("closed with %q", payload)
			}
			break
		}
		if op != opPong || payload != body {
			t.Fatalf("got a frame %d %q", op, payload)
		}
		pongs++
	}
	if pongs == 0 || pongs == pings {
		t.Errorf("%d pongs to %d pings", pongs, pings)
	}
	_ = c.Close()
	awaitMeasured(t, s, fmt.Sprintf(closedFor, "slow"), 1)
	awaitMeasured(t, s, queuedBytes, 0)
	s.Push(apptest.Text("unmoved", 0, nil))
	if text, _ := other.Push(); text != "unmoved" {
		t.Errorf("got %q", text)
	}
}

// A client that never reads while pushes go is closed with 4003, and gets what it has not acknowledged at its next login.
// Another, whose pushes go through the same hands, gets each at once.
func TestPushesToWhoDoesNotRead(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, smallQueue)
	s.Import("deaf", "brisk")
	deaf, brisk := logIn(t, sessionsAddress(s), "deaf", 4<<10), s.Dial("brisk")
	long := strings.Repeat("x", 8<<10)
	var pushed []string
	for measured(t, s, "carillon_deliver_slow_total") == 0 {
		pushed = append(pushed, fmt.Sprint(len(pushed), long))
		s.Push(apptest.Text(pushed[len(pushed)-1], 3600, nil))
		if text, _ := brisk.Push(); text != pushed[len(pushed)-1] {
			t.Fatalf("push %d came out of order", len(pushed))
		}
		if len(pushed) > 200 {
			t.Fatal("it is not found too slow")
		}
	}
	if code := deaf.closeCode(); code != 4003 {
		t.Errorf("closed with %d", code)
	}
	_ = deaf.Close()
	awaitMeasured(t, s, fmt.Sprintf(closedFor, "slow"), 1)
	awaitMeasured(t, s, queuedBytes, 0)
	again := s.Dial("deaf")
	if again.Hello.Pending != len(pushed) {
		t.Errorf("%d pending, want all %d", again.Hello.Pending, len(pushed))
	}
	for i, want := range pushed {
		if text, _ := again.Push(); text != want {
			t.Fatalf("push %d came out of order", i)
		}
	}
}

// tunnel is a way to an address that can be cut without either end hearing of it, like a phone's that went out of reach.
type tunnel struct {
	net.Listener
	mu    sync.Mutex
	cut   bool
	conns []net.Conn
	ended sync.WaitGroup
}

func dig(t *testing.T, to string) *tunnel {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &tunnel{Listener: l}
	d.ended.Go(func() {
		for { // each client wakes it, closing the listener ends it
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				t.Error(err)
				return
			}
			d.mu.Lock()
			d.conns = append(d.conns, near, far)
			d.mu.Unlock()
			d.ended.Go(func() { d.carry(near, far) })
			d.ended.Go(func() { d.carry(far, near) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		d.mu.Lock()
		for _, c := range d.conns {
			_ = c.Close()
		}
		d.mu.Unlock()
		d.ended.Wait()
	})
	return d
}

// carry takes bytes from one end to the other, until it is cut: then they are lost, and so is that an end has closed.
func (d *tunnel) carry(to io.Writer, from io.Reader) {
	b := make([]byte, 4<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		d.mu.Lock()
		cut := d.cut
		d.mu.Unlock()
		if cut {
			continue
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

func (d *tunnel) sever() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cut = true
}

// A client that is gone without a word is dropped after two heartbeats: its account is offline then, and what was pushed
// into the void comes at its next login. Who answers pings stays.
func TestAClientThatVanishes(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, func(c *config.Config) { c.Sessions.Heartbeat = 2 * time.Second })
	s.Import("gone", "there")
	there := s.Dial("there")
	heard := make(chan string, 10)
	listening := make(chan struct{})
	go func() { // reads, and so answers pings, until its session ends
		defer close(listening)
		for {
			f, err := there.TryRead()
			if err != nil {
				return
			}
			heard <- string(f.Body)
		}
	}()
	way := dig(t, sessionsAddress(s))
	gone := logIn(t, way.Addr().String(), "gone", 0)
	s.Push(apptest.Text("before", 3600, nil))
	if text := gone.push(); text != "before" {
		t.Errorf("got %q", text)
	}
	gone.text(whole(opText, `{"t":"ack","seq":[1]}`) + whole(opPing, "heard"))
	for op := byte(0); op != opPong; {
		op, _ = gone.frame()
	}
	way.sever()
	s.Push(apptest.Text("into the void", 3600, nil))
	eventually(t, func() bool { return !online(t, s, "gone") }, func() string { return "a client that is gone counts as online" })
	awaitMeasured(t, s, fmt.Sprintf(closedFor, "silent"), 1)
	if !online(t, s, "there") {
		t.Error("a client that answers was dropped too")
	}
	for _, want := range []string{"before", "into the void"} {
		if got := <-heard; !strings.Contains(got, want) {
			t.Errorf("the other got %q, want %q", got, want)
		}
	}
	again := s.Dial("gone")
	if text, _ := again.Push(); again.Hello.Pending != 1 || text != "into the void" {
		t.Errorf("%d pending, the first %q", again.Hello.Pending, text)
	}
	there.Close()
	<-listening
}
