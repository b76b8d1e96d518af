package socket

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"github.com/carillon-push/carillon/pkg/wire"
)

// readSize is how much is taken from one connection before the others have their turn, in bytes.
const readSize = 32 << 10

// gather is how long a loop to which clients send all the time lets more come before it looks again. Being woken for each
// frame costs more than reading it. A loop that was last woken more than twice as long ago does not wait.
const gather = 2 * time.Millisecond

// loop reads for its connections. What is below is touched by its own goroutine alone, but for the descriptors, which
// stand from New to the end of Run.
type loop struct {
	p     *Poller
	epoll int
	wake  int // an eventfd: written to end the loop

	buf []byte // what is being read, behind what was left of an incomplete frame
	dec decoder
	now uint32 // second of the poller's clock
}

func newLoop(p *Poller) (*loop, error) {
	l := &loop{
		p: p, epoll: -1, wake: -1,
		buf: make([]byte, p.cfg.FrameLimit+ws.MaxHeaderSize+readSize),
		dec: decoder{limit: p.cfg.FrameLimit},
	}
	var err error
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("opening an epoll descriptor: %w", err)
	}
	if l.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, errors.Join(fmt.Errorf("opening an eventfd: %w", err), l.close())
	}
	if err := l.control(unix.EPOLL_CTL_ADD, int32(l.wake), unix.EPOLLIN); err != nil {
		return nil, errors.Join(fmt.Errorf("adding an eventfd to its loop: %w", err), l.close())
	}
	return l, nil
}

func (l *loop) close() error {
	var errs []error
	for _, fd := range []int{l.epoll, l.wake} {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
		}
	}
	return errors.Join(errs...)
}

// control changes what epoll reports of a descriptor.
func (l *loop) control(op int, fd int32, events uint32) error {
	return unix.EpollCtl(l.epoll, op, int(fd), &unix.EpollEvent{Events: events, Fd: fd})
}

// interrupt ends the loop once its context has ended.
func (l *loop) interrupt() {
	// A full counter cannot be, and a written one wakes the loop.
	_, _ = unix.Write(l.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

// run is woken by events on its descriptors and ends with the context, on interrupt.
func (l *loop) run(ctx context.Context) error {
	events := make([]unix.EpollEvent, 256)
	var last time.Time
	for {
		n, err := unix.EpollWait(l.epoll, events, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("waiting for events of connections: %w", err)
		}
		if ctx.Err() != nil {
			return nil
		}
		woken := time.Now()
		l.now = l.p.now()
		for _, e := range events[:max(n, 0)] {
			// A descriptor is closed by this goroutine alone, and stands at most once among the events of one call: the
			// connection is the one that the event is of.
			if c := l.p.table.get(int(e.Fd)); c != nil {
				l.handle(c, e.Events)
			}
		}
		if n < len(events) && woken.Sub(last) < 2*gather {
			time.Sleep(gather) // what comes meanwhile is not lost, and nobody is waited for
		}
		last = woken
	}
}

func (l *loop) handle(c *Conn, events uint32) {
	if events&unix.EPOLLOUT != 0 {
		c.flush()
	}
	// Room to write is also the event that Start makes for what came with the handshake.
	if events&^unix.EPOLLOUT != 0 || c.in != nil || c.secure {
		l.read(c, events&unix.EPOLLRDHUP != 0)
	}
	if events&(unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		c.finish(Gone)
	}
}

// read takes what a connection has, up to a bufferful, and finishes the connection when its client has hung up; ends says
// that the client's last byte has come, of which no other event tells.
func (l *loop) read(c *Conn, ends bool) {
	for more := true; more; {
		kept := 0
		if c.in != nil {
			kept = copy(l.buf, c.in.raw)
		}
		var n int
		var err error
		n, more, err = c.read(l.buf[kept:])
		if n > 0 {
			c.seen.Store(l.now)
		}
		if !c.hears() || c.protocol == EventStream {
			c.in = nil // such a client has nothing to say, nor one that has said goodbye
		} else if n > 0 || kept > 0 {
			l.take(c, l.buf[:kept+n])
		}
		if err != nil {
			c.finish(end(err))
			return
		}
		if !c.secure {
			if more || ends && n > 0 {
				c.again() // behind the others
			}
			return
		}
	}
}

// take acts on the frames in b and keeps the last, incomplete one.
func (l *loop) take(c *Conn, b []byte) {
	for {
		op, payload, rest, err := l.dec.next(&c.in, b)
		if err == nil {
			err = l.act(c, op, payload)
		}
		switch {
		case err == nil:
			b = rest
		case errors.Is(err, errMore):
			keep(&c.in, rest)
			return
		case errors.Is(err, errDone):
			c.in = nil
			return
		default:
			c.mu.Lock()
			c.shutDown(BadFrame, closing(c.protocol, wire.CloseBadFrame, err.Error()))
			c.mu.Unlock()
			c.in = nil
			return
		}
	}
}

// errDone is returned by act when nothing more is wanted from the client.
var errDone = errors.New("the connection is closing")

// act does what a frame asks for. An error other than errDone is the client's fault.
func (l *loop) act(c *Conn, op ws.OpCode, payload []byte) error {
	switch op {
	case ws.OpPing:
		if c.Send(pong(payload)) != nil && !c.hears() {
			return errDone
		}
	case ws.OpClose:
		c.mu.Lock()
		c.shutDown(Client, closeReply(payload))
		c.mu.Unlock()
		return errDone
	case ws.OpText:
		l.p.count.messages.Add(1)
		if err := c.owner.OnMessage(payload); err != nil {
			return err
		}
		if !c.hears() {
			return errDone
		}
	}
	return nil
}
