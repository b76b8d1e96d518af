package socket

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

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
	mu      sync.Mutex
	fd      int32 // guarded by mu for writing, closing and arming; valid until state is shut
	state   state
	why     Why // set when state leaves open
	started bool
	seen    atomic.Uint32 // second of the poller's clock at which the client last sent something
	out     *queue        // nil unless the socket is full

	in    *input // the loop's: nil unless a frame or message is incomplete
	loop  *loop
	owner Owner
}

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
	if c.in != nil {
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
		return c.enqueue(f)
	}
	n, err := send(c.fd, f.b)
	if n == len(f.b) {
		return nil
	}
	if err != nil {
		c.hangUp(Gone)
		return ErrClosed
	}
	return c.spill(n, f)
}

// SendAll is Send for several frames in order, joined in as few writes as possible.
func (c *Conn) SendAll(fs []*Frame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != open {
		return ErrClosed
	}
	if c.out != nil {
		return c.enqueue(fs...)
	}
	for len(fs) > 0 {
		n, offered, err := sendFrames(c.fd, fs, 0)
		if err != nil {
			c.hangUp(Gone)
			return ErrClosed
		}
		if n < offered {
			return c.spill(n, fs...)
		}
		fs = fs[min(len(fs), joined):]
	}
	return nil
}

// Close sends a close frame, in place of what is queued, and lets go of the connection when the client has hung up, or
// some seconds later at most; then the owner is told. A second Close does nothing.
func (c *Conn) Close(code wire.CloseCode, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shutDown(Server, closing(code, reason))
}

// spill begins the queue with what the socket did not take: the frames without their first n bytes. Called with mu held.
func (c *Conn) spill(n int, fs ...*Frame) error {
	c.out = new(queue)
	for _, f := range fs {
		c.out.push(f)
	}
	c.out.advance(n)
	c.loop.p.count.full.Add(1)
	c.loop.p.count.queued.Add(int64(c.out.size))
	c.arm()
	return nil
}

// enqueue adds to the queue, or closes the connection when too much waits already. Called with mu held.
func (c *Conn) enqueue(fs ...*Frame) error {
	if c.out.size > c.loop.p.cfg.QueueLimit {
		c.shutDown(Slow, closing(wire.CloseTooSlow, wire.CloseTooSlow.Reason()))
		return ErrTooSlow
	}
	before := c.out.size
	for _, f := range fs {
		c.out.push(f)
	}
	c.loop.p.count.queued.Add(int64(c.out.size - before))
	return nil
}

// flush sends what waits, once: a loop comes back while the socket takes more. Called by the loop.
func (c *Conn) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == shut {
		return
	}
	if c.out != nil {
		n, _, err := sendFrames(c.fd, c.out.frames, c.out.off)
		if err != nil {
			c.hangUp(Gone)
			return
		}
		c.out.advance(n)
		c.loop.p.count.queued.Add(-int64(n))
		if c.out.size > 0 {
			return
		}
		c.out = nil
		if c.state == shutting {
			c.halfClose()
		}
	}
	c.arm()
}

// shutDown begins to close: a last frame behind the one that is half sent, if any, and then nothing more. The loop
// finishes when the client hangs up, or when the poller's patience ends. Called with mu held.
func (c *Conn) shutDown(why Why, last *Frame) {
	if c.state != open {
		return
	}
	c.state, c.why = shutting, why
	c.loop.p.linger(c)
	if c.out != nil {
		before := c.out.size
		c.out.cut()
		c.out.push(last)
		c.loop.p.count.queued.Add(int64(c.out.size - before))
		return
	}
	n, err := send(c.fd, last.b)
	switch {
	case err != nil:
		c.hangUp(why)
	case n < len(last.b):
		_ = c.spill(n, last)
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

// halfClose tells the client that nothing more comes, so that it hangs up. Called with mu held.
func (c *Conn) halfClose() {
	_ = unix.Shutdown(int(c.fd), unix.SHUT_WR) // fails only when the client is gone, which the loop sees
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
	c.in = nil
	// In this order: once closed, the number may be adopted again. Closing alone would leave epoll with the connection
	// while a process that is being started holds a copy of the descriptor. Neither call has an error to act on.
	if c.started {
		_ = c.loop.control(unix.EPOLL_CTL_DEL, c.fd, 0)
	}
	p.table.put(int(c.fd), nil)
	_ = unix.Close(int(c.fd))
	c.mu.Unlock()

	p.count.open.Add(-1)
	p.count.closed[why].Add(1)
	c.owner.OnClose(why)
}

func (c *Conn) dropQueue() {
	if c.out != nil {
		c.loop.p.count.queued.Add(-int64(c.out.size))
		c.out = nil
	}
}

// isOpen reports whether messages are still wanted.
func (c *Conn) isOpen() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state == open
}

// events that the loop should hear of: room to write only while something waits. Called with mu held.
func (c *Conn) events() uint32 {
	if c.out != nil {
		return unix.EPOLLIN | unix.EPOLLOUT
	}
	return unix.EPOLLIN
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
