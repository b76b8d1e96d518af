package crowd

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

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"
)

const (
	// nap is how long the client sleeps when nothing has come, within a round. It does not wait in epoll: a waiter would
	// have the server's sendto pay for waking it up, message by message.
	nap = 300 * time.Microsecond
	// handshakes that may be under way at once.
	handshakes = 64
	// perAddress is how many connections come from one address of the loopback.
	perAddress = 1000
	input      = 0 // descriptors of the process
	output     = 1
)

var (
	endOfHeader = []byte("\r\n\r\n")
	errEnd      = errors.New("the input has ended")
)

// receiver is the clients' process: one thread, one buffer, all connections.
type receiver struct {
	epoll    int
	to       []place // taken in turns
	paths    []string
	stalled  int
	greeting []byte // a frame, or nil

	opened  int
	ready   int
	begun   map[int]handshake // by descriptor
	reading []int             // descriptors of the connections that stand and are not stalled
	buf     []byte

	marks, due int // that have come, and that will have at the end of the round
	expected   int
	timed      bool
	times      []byte // of the marks of a timed round, as they are answered
}

// place is where to connect.
type place struct {
	host string
	addr *unix.SockaddrInet4
}

// handshake is a connection that does not stand yet.
type handshake struct {
	answer  []byte // what has come of it
	stalled bool
}

// receive is the clients' process. It ends with its input.
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
			if err := put(uint64(r.opened), nil); err != nil {
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
				err = r.ordered()
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
	p, err := readPlan()
	if err != nil {
		return nil, err
	}
	r := &receiver{
		paths: p.Paths, stalled: p.Stalled,
		begun: map[int]handshake{},
		buf:   make([]byte, 256<<10),
		times: make([]byte, 0, 8*len(p.Paths)),
	}
	for _, host := range p.Addrs {
		at, err := netip.ParseAddrPort(host)
		if err != nil || !at.Addr().Is4() {
			return nil, fmt.Errorf("%s is not an IPv4 address and port: %w", host, err)
		}
		r.to = append(r.to, place{host, &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())}})
	}
	if len(r.to) == 0 {
		return nil, errors.New("the plan says not where to connect")
	}
	if len(p.Greeting) > 0 {
		r.greeting = masked(p.Greeting)
	}
	if r.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("opening an epoll descriptor: %w", err)
	}
	if err := unix.EpollCtl(r.epoll, unix.EPOLL_CTL_ADD, input, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: input}); err != nil {
		return nil, fmt.Errorf("watching the input: %w", err)
	}
	return r, nil
}

// readPlan reads what the input begins with.
func readPlan() (p plan, err error) {
	var size [4]byte
	if err := fill(size[:]); err != nil {
		return p, err
	}
	b := make([]byte, binary.LittleEndian.Uint32(size[:]))
	if err := fill(b); err != nil {
		return p, err
	}
	if err := json.Unmarshal(b, &p); err != nil {
		return p, fmt.Errorf("reading the plan: %w", err)
	}
	return p, nil
}

// readOrder reads the next order.
func readOrder() (op byte, n int, text []byte, err error) {
	var b [orderSize]byte
	if err := fill(b[:]); err != nil {
		return 0, 0, nil, err
	}
	text = make([]byte, binary.LittleEndian.Uint32(b[9:]))
	return b[0], int(binary.LittleEndian.Uint64(b[1:])), text, fill(text)
}

// upgrade is what a client asks for a WebSocket with.
func upgrade(host, path string) []byte {
	return []byte("GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
}

// stalledBuffer is the receive buffer of a connection that will not read, in bytes: the kernel's least, so that it is full
// soon.
const stalledBuffer = 2304

// open connects, which the loopback does at once, and asks for a WebSocket if there is a path.
func (r *receiver) open(path string) error {
	stalled := r.stalled > 0 && r.opened%r.stalled == 0
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening a socket: %w", err)
	}
	// A reset in the end leaves no socket waiting in the kernel, where it would stand in the way of the next repeat.
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return fmt.Errorf("setting up a socket: %w", err)
	}
	if stalled {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, stalledBuffer); err != nil {
			return fmt.Errorf("setting up a socket: %w", err)
		}
	}
	// From another address now and then: the kernel looks long for a free port where most are taken.
	from := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, byte(1 + r.opened/perAddress)}}
	if err := errors.Join(unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1), unix.Bind(fd, from)); err != nil {
		return fmt.Errorf("setting up a socket: %w", err)
	}
	to := r.to[r.opened%len(r.to)]
	if err := unix.Connect(fd, to.addr); err != nil {
		return fmt.Errorf("connecting to %s: %w", to.host, err)
	}
	r.opened++
	if path != "" {
		r.begun[fd] = handshake{stalled: stalled}
		if err := write(fd, upgrade(to.host, path)); err != nil {
			return fmt.Errorf("sending a handshake: %w", err)
		}
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return fmt.Errorf("setting up a socket: %w", err)
	}
	if err := unix.EpollCtl(r.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(fd)}); err != nil {
		return fmt.Errorf("watching a socket: %w", err)
	}
	if path == "" {
		return r.stands(fd, stalled)
	}
	return nil
}

// stands is called once for each connection that may get messages from now on.
func (r *receiver) stands(fd int, stalled bool) error {
	r.ready++
	if stalled {
		if err := unix.EpollCtl(r.epoll, unix.EPOLL_CTL_DEL, fd, nil); err != nil {
			return fmt.Errorf("letting go of a socket: %w", err)
		}
		return nil
	}
	r.reading = append(r.reading, fd)
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
		b = append(begun.answer, b...)
		end := bytes.Index(b, endOfHeader)
		if end < 0 {
			r.begun[fd] = handshake{b, begun.stalled}
			return nil
		}
		if !bytes.HasPrefix(b, []byte("HTTP/1.1 101 ")) {
			return fmt.Errorf("the server answered %q", b)
		}
		delete(r.begun, fd)
		b = b[end:]
		if err := write(fd, r.greeting); err != nil {
			return fmt.Errorf("sending a greeting: %w", err)
		}
		if err := r.stands(fd, begun.stalled); err != nil {
			return err
		}
	}
	n := bytes.Count(b, []byte{Mark})
	r.marks += n
	if r.timed {
		now := uint64(time.Now().UnixNano())
		for range n {
			r.times = binary.LittleEndian.AppendUint64(r.times, now)
		}
	}
	if r.marks < r.due || r.expected == 0 {
		return nil
	}
	come := r.expected + r.marks - r.due
	r.expected = 0
	return put(uint64(come), r.times)
}

// ordered reads an order and does it.
func (r *receiver) ordered() error {
	op, n, text, err := readOrder()
	if err != nil {
		return err
	}
	if op == orderSend {
		frame := masked(text)
		for _, fd := range r.reading {
			if err := write(fd, frame); err != nil {
				return fmt.Errorf("sending a frame: %w", err)
			}
		}
		return put(uint64(len(r.reading)), nil)
	}
	if r.marks != r.due {
		return fmt.Errorf("%d messages came instead of %d", r.marks, r.due)
	}
	r.timed, r.times = op == orderTimed, r.times[:0]
	r.expected = n
	r.due += n
	return put(uint64(n), nil)
}

// masked is a client's frame with a text.
func masked(text []byte) []byte {
	return ws.MustCompileFrame(ws.MaskFrameWith(ws.NewTextFrame(text), [4]byte{1, 2, 3, 4}))
}

// write gives all of b to a socket, which is never so full that it would not take it.
func write(fd int, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	n, err := unix.Write(fd, b)
	if err != nil || n != len(b) {
		return fmt.Errorf("%d bytes of %d were taken: %w", n, len(b), err)
	}
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

// put answers with a number and what stands behind it. The output is a pipe, which may take less at once.
func put(n uint64, rest []byte) error {
	b := append(binary.LittleEndian.AppendUint64(nil, n), rest...)
	for len(b) > 0 {
		n, err := unix.Write(output, b)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("reporting: %w", err)
		}
		b = b[max(n, 0):]
	}
	return nil
}
