package fanout

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// nap is how long the client sleeps when nothing has come, within a round. It does not wait in epoll: a waiter would
	// have the server's sendto pay for waking it up, message by message.
	nap = 300 * time.Microsecond
	// handshakes that may be under way at once.
	handshakes = 64
	input      = 0 // descriptors of the process
	output     = 1
)

var (
	endOfHeader = []byte("\r\n\r\n")
	errEnd      = errors.New("the input has ended")
)

// receiver is the client's process: one thread, one buffer, all connections.
type receiver struct {
	epoll int
	to    *unix.SockaddrInet4
	host  string
	paths []string

	opened int
	ready  int
	begun  map[int][]byte // by descriptor: what has come of an answer to a handshake
	buf    []byte

	marks, due int // that have come, and that will have at the end of the round
	expected   int
}

// receive is the client's process. It ends with its input.
func receive() error {
	runtime.LockOSThread()
	debug.SetGCPercent(-1) // nothing is allocated once all are connected
	r, err := newReceiver()
	if err != nil {
		return err
	}
	events := make([]unix.EpollEvent, 1024)
	for {
		for r.opened < len(r.paths) && len(r.begun) < handshakes {
			if err := r.open(r.paths[r.opened]); err != nil {
				return fmt.Errorf("connection %d: %w", r.opened, err)
			}
		}
		if r.opened == len(r.paths) && r.ready == r.opened {
			r.ready = -1 // said once
			if err := put(uint64(r.opened)); err != nil {
				return err
			}
		}
		wait := -1
		if r.marks < r.due {
			wait = 0
		}
		n, err := unix.EpollWait(r.epoll, events, wait)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("waiting for events: %w", err)
		}
		if n <= 0 && wait == 0 {
			rest := unix.NsecToTimespec(nap.Nanoseconds())
			_ = unix.Nanosleep(&rest, nil) // cut short by a signal, it looks sooner
		}
		for _, e := range events[:max(n, 0)] {
			if e.Fd == input {
				err = r.announced()
			} else {
				err = r.read(int(e.Fd))
			}
			if errors.Is(err, errEnd) {
				return nil
			}
			if err != nil {
				return err
			}
		}
	}
}

func newReceiver() (*receiver, error) {
	var size [4]byte
	if err := fill(size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.LittleEndian.Uint32(size[:]))
	if err := fill(b); err != nil {
		return nil, err
	}
	var p plan
	if err := json.Unmarshal(b, &p); err != nil {
		return nil, fmt.Errorf("reading the plan: %w", err)
	}
	at, err := netip.ParseAddrPort(p.Addr)
	if err != nil || !at.Addr().Is4() {
		return nil, fmt.Errorf("%s is not an IPv4 address and port: %w", p.Addr, err)
	}
	r := &receiver{
		to:   &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())},
		host: p.Addr, paths: p.Paths,
		begun: map[int][]byte{},
		buf:   make([]byte, 256<<10),
	}
	if r.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("opening an epoll descriptor: %w", err)
	}
	if err := unix.EpollCtl(r.epoll, unix.EPOLL_CTL_ADD, input, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: input}); err != nil {
		return nil, fmt.Errorf("watching the input: %w", err)
	}
	return r, nil
}

// open connects, which the loopback does at once, and asks for a WebSocket if there is a path.
func (r *receiver) open(path string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening a socket: %w", err)
	}
	// A reset in the end leaves no socket waiting in the kernel, where it would stand in the way of the next repeat.
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return fmt.Errorf("setting up a socket: %w", err)
	}
	if err := unix.Connect(fd, r.to); err != nil {
		return fmt.Errorf("connecting to %s: %w", r.host, err)
	}
	if path == "" {
		r.ready++
	} else {
		r.begun[fd] = nil
		request := "GET " + path + " HTTP/1.1\r\nHost: " + r.host + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
		if n, err := unix.Write(fd, []byte(request)); err != nil || n != len(request) {
			return fmt.Errorf("sending a handshake: %d bytes of %d: %w", n, len(request), err)
		}
	}
	r.opened++
	if err := unix.SetNonblock(fd, true); err != nil {
		return fmt.Errorf("setting up a socket: %w", err)
	}
	if err := unix.EpollCtl(r.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(fd)}); err != nil {
		return fmt.Errorf("watching a socket: %w", err)
	}
	return nil
}

// read takes all that a connection has.
func (r *receiver) read(fd int) error {
	for {
		n, err := unix.Read(fd, r.buf)
		if errors.Is(err, unix.EAGAIN) {
			return nil
		}
		if err != nil || n == 0 {
			return fmt.Errorf("a connection was lost: %w", err)
		}
		if err := r.take(fd, r.buf[:n]); err != nil {
			return err
		}
		if n < len(r.buf) {
			return nil
		}
	}
}

func (r *receiver) take(fd int, b []byte) error {
	if begun, ok := r.begun[fd]; ok {
		b = append(begun, b...)
		end := bytes.Index(b, endOfHeader)
		if end < 0 {
			r.begun[fd] = b
			return nil
		}
		if !bytes.HasPrefix(b, []byte("HTTP/1.1 101 ")) {
			return fmt.Errorf("the server answered %q", b)
		}
		delete(r.begun, fd)
		r.ready++
		b = b[end:]
	}
	r.marks += bytes.Count(b, []byte{mark})
	if r.marks < r.due || r.expected == 0 {
		return nil
	}
	come := r.expected + r.marks - r.due
	r.expected = 0
	return put(uint64(come))
}

// announced reads how many marks the next round has.
func (r *receiver) announced() error {
	var b [8]byte
	if err := fill(b[:]); err != nil {
		return err
	}
	if r.marks != r.due {
		return fmt.Errorf("%d messages came instead of %d", r.marks, r.due)
	}
	r.expected = int(binary.LittleEndian.Uint64(b[:]))
	r.due += r.expected
	return nil
}

// fill reads from the input. The end within is an end too: whoever started us is gone.
func fill(b []byte) error {
	for len(b) > 0 {
		n, err := unix.Read(input, b)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("reading the input: %w", err)
		case n == 0:
			return errEnd
		default:
			b = b[n:]
		}
	}
	return nil
}

func put(n uint64) error {
	if _, err := unix.Write(output, binary.LittleEndian.AppendUint64(nil, n)); err != nil {
		return fmt.Errorf("reporting: %w", err)
	}
	return nil
}
