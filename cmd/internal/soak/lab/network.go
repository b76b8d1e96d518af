package lab

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Network is hosts with addresses of their own, among them this process. It is made within Enter.
type Network struct {
	hosts  [maxHosts]atomic.Pointer[Host] // by the last byte of the address, less one; the first is this process
	count  int
	done   chan struct{}
	ending sync.WaitGroup
}

// Host is one of a network: processes that are started in it have its address, and no other way out.
type Host struct {
	// IP is the host's address.
	IP string

	namespace *os.File
	port      io.ReadWriteCloser // its packets, each a Read or a Write
	index     int
	links     []*link // to every host, by index
}

// maxHosts bounds a network: links are made for every pair of hosts beforehand, so that packets find them without a lock.
const maxHosts = 64

// maxPacket is what an interface takes, in bytes. It is large, since each packet costs two system calls here.
const maxPacket = 65_000

// NewNetwork makes the network with this process as its first host.
func NewNetwork() (*Network, error) {
	n := newSwitch()
	if _, err := n.host(inThread); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

func newSwitch() *Network { return &Network{done: make(chan struct{})} }

// Home is this process.
func (n *Network) Home() *Host { return n.hosts[0].Load() }

// Add makes one more host.
func (n *Network) Add() (*Host, error) { return n.host(inNewNamespace) }

func (n *Network) host(in func(func() error) error) (*Host, error) {
	if n.count == maxHosts {
		return nil, fmt.Errorf("a network has at most %d hosts", maxHosts)
	}
	ip := [4]byte{10, 77, 0, byte(n.count + 1)}
	var port, namespace *os.File
	err := in(func() (err error) {
		if port, err = openTUN(ip); err != nil {
			return err
		}
		namespace, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	if err != nil {
		if port != nil {
			err = errors.Join(err, port.Close())
		}
		return nil, fmt.Errorf("make a host of the network: %w", err)
	}
	h := n.attach(port)
	h.IP, h.namespace = fmt.Sprintf("%d.%d.%d.%d", ip[0], ip[1], ip[2], ip[3]), namespace
	n.ending.Go(func() { n.carry(h) })
	return h, nil
}

// attach makes a host and the links between it and all others. Packets come from it once it is carried.
func (n *Network) attach(port io.ReadWriteCloser) *Host {
	h := &Host{port: port, index: n.count, links: make([]*link, maxHosts)}
	for i := range h.links {
		h.links[i] = &link{net: n, to: i}
	}
	n.hosts[n.count].Store(h)
	n.count++
	return h
}

// inThread runs f in a thread of this process's namespaces that does nothing else meanwhile.
func inThread(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return f()
}

// inNewNamespace runs f in a thread with a network of its own, which ends with f.
func inNewNamespace(f func() error) error {
	done := make(chan error)
	go func() { // it ends when it has told what came of f
		runtime.LockOSThread() // never unlocked: nobody else may have this thread
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// Enter moves the calling thread, which must be locked, into the host: what it starts is there.
func (h *Host) Enter() error {
	if err := unix.Setns(int(h.namespace.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the host %s: %w", h.IP, err)
	}
	return nil
}

// Cut makes everything vanish that goes from one host to another, until each Cut is mended.
func (n *Network) Cut(from, to *Host) { from.links[to.index].cuts.Add(1) }

// Mend takes one Cut back.
func (n *Network) Mend(from, to *Host) { from.links[to.index].cuts.Add(-1) }

// Delay makes everything that goes from one host to another arrive so much later than it does now, or earlier when it is
// negative, which takes a delay back.
func (n *Network) Delay(from, to *Host, by time.Duration) {
	l := from.links[to.index]
	l.slow.Do(func() {
		l.late = make(chan packet, maxLate)
		n.ending.Go(l.deliver)
	})
	l.delay.Add(int64(by))
}

// carry brings a host's packets to their links, until the host is closed.
func (n *Network) carry(h *Host) {
	buf := make([]byte, maxPacket)
	for {
		size, err := h.port.Read(buf)
		if err != nil {
			return
		}
		if to, ok := destination(buf[:size]); ok {
			h.links[to].send(buf[:size])
		}
	}
}

// destination is the index of the host that an IPv4 packet is for.
func destination(p []byte) (int, bool) {
	const header, dst = 20, 16
	if len(p) < header || p[0]>>4 != 4 || p[dst] != 10 || p[dst+1] != 77 || p[dst+2] != 0 {
		return 0, false
	}
	to := int(p[dst+3]) - 1
	return to, to >= 0 && to < maxHosts
}

// Close ends the network. Processes in its hosts reach nobody any more.
func (n *Network) Close() {
	close(n.done)
	for i := range n.count {
		h := n.hosts[i].Load()
		_ = h.port.Close() // nothing is kept in it
		if h.namespace != nil {
			_ = h.namespace.Close()
		}
	}
	n.ending.Wait()
}
