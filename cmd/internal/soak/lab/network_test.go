package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"
)

// port is a host's end that a test holds: what it sends, and what came.
type port struct {
	sent, came chan []byte
	closed     chan struct{}
}

func newPort() *port {
	return &port{sent: make(chan []byte), came: make(chan []byte, 100), closed: make(chan struct{})}
}

func (p *port) Read(b []byte) (int, error) {
	select {
	case s := <-p.sent:
		return copy(b, s), nil
	case <-p.closed:
		return 0, io.EOF
	}
}

func (p *port) Write(b []byte) (int, error) {
	p.came <- append([]byte{}, b...)
	return len(b), nil
}

func (p *port) Close() error { close(p.closed); return nil }

// to is a packet for a host, with a word.
func to(host int, word string) []byte {
	p := make([]byte, 20)
	p[0], p[16], p[17], p[19] = 0x45, 10, 77, byte(host+1)
	return append(p, word...)
}

// hosts is a network of three whose ends the test holds.
func hosts(t *testing.T) (*Network, []*port) {
	t.Helper()
	n := newSwitch()
	var ports []*port
	for range 3 {
		ports = append(ports, newPort())
		n.attach(ports[len(ports)-1])
	}
	for i := range n.count {
		n.ending.Go(func() { n.carry(n.hosts[i].Load()) })
	}
	t.Cleanup(n.Close)
	return n, ports
}

func (p *port) want(t *testing.T, words ...string) {
	t.Helper()
	for _, w := range words {
		if got := string((<-p.came)[20:]); got != w {
			t.Errorf("%q came, and not %q", got, w)
		}
	}
	if len(p.came) > 0 {
		t.Errorf("%q came too", <-p.came)
	}
}

func TestPacketsGoWhereTheyAreFor(t *testing.T) {
	t.Parallel()
	_, ports := hosts(t)
	ports[0].sent <- to(1, "a")
	ports[0].sent <- to(2, "b")
	ports[0].sent <- to(40, "to nobody")
	ports[0].sent <- []byte{0x60, 0}
	ports[0].sent <- to(1, "c")
	ports[1].want(t, "a", "c")
	ports[2].want(t, "b")
}

// One direction is cut, twice, and passes again when both cuts are mended.
func TestACutIsOneWay(t *testing.T) {
	t.Parallel()
	n, ports := hosts(t)
	n.Cut(n.hosts[0].Load(), n.hosts[1].Load())
	n.Cut(n.hosts[0].Load(), n.hosts[1].Load())
	ports[0].sent <- to(1, "lost")
	ports[1].sent <- to(0, "back")
	ports[0].want(t, "back")
	ports[0].sent <- to(2, "aside") // once this has come, what was before it was carried
	ports[2].want(t, "aside")
	n.Mend(n.hosts[0].Load(), n.hosts[1].Load())
	ports[0].sent <- to(1, "lost too")
	ports[0].sent <- to(2, "aside")
	ports[2].want(t, "aside")
	n.Mend(n.hosts[0].Load(), n.hosts[1].Load())
	ports[0].sent <- to(1, "there")
	ports[1].want(t, "there")
}

// What is late keeps its order, also before what is sent when nothing is delayed any more, and comes late.
func TestADelayKeepsTheOrder(t *testing.T) {
	t.Parallel()
	n, ports := hosts(t)
	const by = 30 * time.Millisecond
	begun := time.Now()
	n.Delay(n.hosts[0].Load(), n.hosts[1].Load(), by)
	ports[0].sent <- to(1, "a")
	ports[0].sent <- to(1, "b")
	ports[0].sent <- to(2, "aside")
	ports[2].want(t, "aside")
	n.Delay(n.hosts[0].Load(), n.hosts[1].Load(), -by)
	ports[0].sent <- to(1, "c")
	ports[1].want(t, "a", "b", "c")
	if took := time.Since(begun); took < by {
		t.Errorf("it took %v", took)
	}
}

// within runs one of the inner programs in namespaces of its own. Where there are none, or the kernel lacks what is asked
// for, it must say so in a sentence.
func within(t *testing.T, what string, lacking ...string) {
	t.Helper()
	var out strings.Builder
	code, err := Enter(t.Context(), []string{what}, &out, &out)
	switch {
	case errors.Is(err, ErrNoNamespaces):
		t.Logf("not tried here: %v", err)
	case err != nil:
		t.Fatal(err)
	case code == 7 && containsAny(out.String(), lacking):
		t.Logf("not tried here: %s", out.String())
	case code != 0:
		t.Errorf("exit code %d: %s", code, out.String())
	}
}

func containsAny(s string, parts []string) bool {
	for _, p := range parts {
		if strings.Contains(s, p) {
			return true
		}
	}
	return false
}

// Two hosts and this process reach each other by TCP until they are cut off, and again when that is mended.
func TestNetwork(t *testing.T) {
	t.Parallel()
	within(t, "network", "open /dev/net/tun", "make a network interface")
}

// tryNetwork cuts one direction between this process and a host.
func tryNetwork() error {
	n, err := NewNetwork()
	if err != nil {
		return err
	}
	defer n.Close()
	h, err := n.Add()
	if err != nil {
		return err
	}
	var l net.Listener
	err = inHost(n, h, func() (err error) {
		l, err = net.Listen("tcp", h.IP+":1000")
		return err
	})
	if err != nil {
		return err
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return fmt.Errorf("reach the host: %w", err)
	}
	defer conn.Close()
	from, err := l.Accept()
	if err != nil {
		return err
	}
	defer from.Close()
	n.Cut(n.Home(), h)
	if _, err := from.Write([]byte("down")); err != nil {
		return err
	}
	b := make([]byte, 4)
	if _, err := io.ReadFull(conn, b); err != nil || string(b) != "down" {
		return fmt.Errorf("the way back is cut, too: %q, %w", b, err)
	}
	if _, err := conn.Write([]byte("up! ")); err != nil {
		return err
	}
	_ = from.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	if _, err := from.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("something came through the cut: %w", err)
	}
	n.Mend(n.Home(), h)
	_ = from.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.ReadFull(from, b); err != nil || string(b) != "up! " {
		return fmt.Errorf("%q came after the cut was mended: %w", b, err)
	}
	return inHost(n, h, func() error { // what is started there is there
		if out, err := exec.Command("cat", "/proc/self/net/fib_trie").Output(); err == nil && !strings.Contains(string(out), h.IP) {
			return fmt.Errorf("a process that is started in %s has another network: %s", h.IP, out)
		}
		return nil
	})
}

func inHost(n *Network, h *Host, f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := h.Enter(); err != nil {
		return err
	}
	return errors.Join(f(), n.Home().Enter())
}

func TestEnterGivesTheExitCode(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	if code, err := Enter(t.Context(), []string{"fails"}, &out, &out); !errors.Is(err, ErrNoNamespaces) && (err != nil || code != 7 || out.String() != "as it was told\n") {
		t.Errorf("%d, %v, %q", code, err, out.String())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Enter(ctx, []string{"fails"}, &out, &out); err == nil {
		t.Error("it runs though its context is over")
	}
}
