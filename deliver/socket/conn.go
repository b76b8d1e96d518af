package socket

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/carillon-push/carillon/pkg/wire"
)

// Errors of Send, SendAll and Start.
var (
	// ErrClosed is returned once the connection is closed or closing, whoever closed it.
	ErrClosed = errors.New("the connection is closed")
	// ErrTooSlow is returned by the one send that closed the connection, because too much waited already.
	ErrTooSlow = errors.New("the client reads too slowly")
)

// Owner is told what happens to a connection. Calls for one connection never overlap. They come from the loop that
// serves many others, so they must not wait; Send and Close of any connection may be called from them.
type Owner interface {
	// OnMessage takes one text message, which is valid during the call only. An error closes with 4004 and its text.
	OnMessage(data []byte) error
	// OnClose is called exactly once, last, after the descriptor is closed.
	OnClose(why Why)
}

// state of a connection. Only an open one sends and reads; a closing one waits for the client to hang up.
type state uint8

const (
	open state = iota
	shutting
	shut
)

// Conn is one connection. Its methods may be called from any goroutine.
type Conn struct {
	mu       sync.Mutex
	fd       int32 // guarded by mu for writing, closing and arming; valid until state is shut
	state    state
	why      Why // set when state leaves open
	started  bool
	protocol Protocol
	seen     atomic.Uint32 // second of the poller's clock at which the client last sent something
	secure   bool          // out has TLS
	out      *output       // nil for a plain connection unless its socket is full

	in    *input // the loop's: nil unless a frame or message is incomplete
	loop  *loop
	owner Owner
}

// Protocol that the connection speaks.
func (c *Conn) Protocol() Protocol { return c.protocol }

// Start lets the client's bytes in; from now on the owner is called. It must be called for every adopted connection,
// also for one closed in the meantime: it is what lets go of the descriptor. After an error the owner's OnClose has been
// called.
func (c *Conn) Start() error {
	c.mu.Lock()
	if c.started || c.state == shut {
		c.mu.Unlock()
		return ErrClosed
	}
	c.started = true
	events := c.events()
	if c.in != nil || c.secure {
		events |= unix.EPOLLOUT // comes at once, and makes the loop look at what came with the handshake
	}
	err := c.loop.control(unix.EPOLL_CTL_ADD, c.fd, events)
	c.mu.Unlock()
	if err != nil {
		c.finish(Gone)
		return fmt.Errorf("adding a connection to its loop: %w", err)
	}
	return nil
}

// Send writes a frame, or queues it when the client's socket is full. It never waits. It allocates only to queue.
func (c *Conn) Send(f *Frame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != open {
		return ErrClosed
	}
	if c.out != nil {
		return c.sendAll(f)
	}
	b := f.bytes(c.protocol)
	n, err := send(c.fd, b)
	if n == len(b) {
		return nil
	}
	if err != nil {
		return c.broken(err)
	}
	c.spill(n, f)
	return nil
}

// send is Send or SendAll.
func (c *Conn) send(fs []*Frame) error {
	if len(fs) == 1 {
		return c.Send(fs[0])
	}
	return c.SendAll(fs)
}

// SendAll is Send for several frames in order, joined in as few writes as possible.
func (c *Conn) SendAll(fs []*Frame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != open {
		return ErrClosed
	}
	return c.sendAll(fs...)
}

// Close sends a close frame, in place of what is queued, and lets go of the connection when the client has hung up, or
// some seconds later at most; then the owner is told. A second Close does nothing.
func (c *Conn) Close(code wire.CloseCode, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shutDown(Server, closing(c.protocol, code, reason))
}

// broken ends a connection whose socket failed. Called with mu held.
func (c *Conn) broken(err error) error {
	c.hangUp(end(err))
	return ErrClosed
}

func (c *Conn) tooSlow() {
	c.shutDown(Slow, closing(c.protocol, wire.CloseTooSlow, wire.CloseTooSlow.Reason()))
}

// shutDown begins to close: a last frame behind the one that is half sent, if any, and then nothing more. The loop
// finishes when the client hangs up, or when the poller's patience ends. Called with mu held.
func (c *Conn) shutDown(why Why, last *Frame) {
	if c.state != open {
		return
	}
	c.state, c.why = shutting, why
	c.loop.p.linger(c)
	if before := c.out.waiting(); before > 0 {
		c.out.cut()
		c.out.push(last)
		c.settle(before)
		return
	}
	n, full, err := c.offer([]*Frame{last}, 0)
	switch {
	case err != nil:
		c.hangUp(why)
	case full:
		left, off := skip([]*Frame{last}, c.protocol, n)
		c.spill(off, left...)
	default:
		c.halfClose()
	}
}

// hangUp ends both directions at once; the loop sees it as an event and finishes. Called with mu held.
func (c *Conn) hangUp(why Why) {
	if c.state == shut {
		return
	}
	if c.state == open {
		c.state, c.why = shutting, why
	}
	c.dropQueue()
	// The only error is that the client was faster, which makes the same event.
	_ = unix.Shutdown(int(c.fd), unix.SHUT_RDWR)
}

// halfClose tells the client that nothing more comes, so that it hangs up. TLS says so itself first, and flush comes back
// here if the socket does not take that. Called with mu held, while nothing waits.
func (c *Conn) halfClose() {
	if c.secure {
		_ = c.out.secure.tls.CloseWrite() // fails like the next call
		if c.settle(0); c.out.waiting() > 0 {
			return
		}
	}
	_ = unix.Shutdown(int(c.fd), unix.SHUT_WR) // fails only when the client is gone, which the loop sees
}

// read takes what the client has sent, at most once from a plain socket; more says that there may be more of which no event
// tells, because TLS has it or b was too small. The end of the stream is io.EOF. Called by the loop.
func (c *Conn) read(b []byte) (n int, more bool, err error) {
	if !c.secure {
		n, err = recv(c.fd, b)
		return n, n == len(b), err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.out.waiting()
	n, err = c.out.secure.tls.Read(b)
	c.settle(before) // reading answers requests for new keys
	if c.state == open && len(c.out.secure.tail) > recordSize+c.loop.p.cfg.QueueLimit {
		c.tooSlow()
	}
	if errors.Is(err, again) {
		return n, false, nil
	}
	return n, true, err
}

// end is why a connection ends whose socket or TLS gave the error.
func end(err error) Why {
	var failed syscall.Errno
	var op *net.OpError
	switch {
	case errors.Is(err, unix.ETIMEDOUT):
		return Silent
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &failed):
		return Gone
	case errors.As(err, &op) && op.Op == "remote error": // an alert of the client's TLS
		return Gone
	}
	return BadFrame // what came is not TLS
}

// finish closes the descriptor and tells the owner; why is the reason if nobody gave one before. Called by the loop, or
// when no loop can see the connection.
func (c *Conn) finish(why Why) {
	p := c.loop.p
	c.mu.Lock()
	if c.state == shut {
		c.mu.Unlock()
		return
	}
	if c.state == open {
		c.why = why
	}
	why = c.why
	c.state = shut
	c.dropQueue()
	c.out, c.in = nil, nil
	// In this order: once closed, the number may be adopted again. Closing alone would leave epoll with the connection
	// while a process that is being started holds a copy of the descriptor. Neither call has an error to act on.
	if c.started {
		_ = c.loop.control(unix.EPOLL_CTL_DEL, c.fd, 0)
	}
	p.table.put(int(c.fd), nil)
	_ = unix.Close(int(c.fd))
	c.mu.Unlock()

	p.count.of(c).Add(-1)
	p.count.closed[why].Add(1)
	c.owner.OnClose(why)
}

// hears reports whether messages are still wanted: also behind a close of ours, since what the client had sent before it
// heard of that, such as acknowledgements, is as good as before.
func (c *Conn) hears() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state == open || c.state == shutting && c.why == Server
}

// events that the loop should hear of: room to write only while something waits. Of what a plain connection has it hears
// once, when it comes, which saves the kernel a second look at each; TLS reads in portions of its own, and hears of it as long
// as it is there. Called with mu held.
func (c *Conn) events() uint32 {
	events := uint32(unix.EPOLLIN | unix.EPOLLRDHUP)
	if !c.secure {
		events |= unix.EPOLLET
	}
	if c.out.waiting() > 0 {
		events |= unix.EPOLLOUT
	}
	return events
}

// again has the loop hear once more of what is there.
func (c *Conn) again() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != shut {
		c.arm()
	}
}

// arm renews what the loop hears of. Called with mu held.
func (c *Conn) arm() {
	if !c.started {
		return // Start does it
	}
	if err := c.loop.control(unix.EPOLL_CTL_MOD, c.fd, c.events()); err != nil {
		c.hangUp(Gone) // the kernel is out of memory: better no connection than one that is never flushed
	}
}
