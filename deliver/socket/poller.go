package socket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/carillon-push/carillon/pkg/wire"
)

// leftoverLimit is how much may come right behind a handshake, in bytes: more than net/http's buffer can hold.
const leftoverLimit = 16 << 10

// ErrStopped is returned by Adopt when the poller has stopped, or stops.
var ErrStopped = errors.New("the poller has stopped")

// Poller owns the connections of a process and the loops that read them.
type Poller struct {
	cfg   Config
	loops []*loop
	table table
	count counters
	turn  atomic.Uint32 // the loop that gets the next connection, modulo their number
	now   func() uint32 // seconds since New

	mu        sync.Mutex // taken after a Conn's
	stopped   bool       // no more connections are adopted
	ran       bool
	lingering []farewell // closing connections, oldest first
}

// New opens the loops' descriptors; Run closes them.
func New(cfg Config) (*Poller, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configuring sockets: %w", err)
	}
	began := time.Now()
	p := &Poller{
		cfg: cfg,
		now: func() uint32 { return uint32(time.Since(began) / time.Second) },
	}
	for range cfg.loops() {
		l, err := newLoop(p)
		if err != nil {
			return nil, errors.Join(err, p.closeLoops())
		}
		p.loops = append(p.loops, l)
	}
	return p, nil
}

// Run serves the connections until the context ends; it may be called once. When it returns every connection is closed,
// those still open with 1001, and every owner told; Adopt returns ErrStopped from then on.
func (p *Poller) Run(ctx context.Context) error {
	p.mu.Lock()
	ran := p.ran
	p.ran = true
	p.mu.Unlock()
	if ran {
		return errors.New("the poller was run before")
	}

	group, ctx := errgroup.WithContext(ctx)
	for _, l := range p.loops {
		group.Go(func() error { return l.run(ctx) })
	}
	group.Go(func() error {
		p.beat(ctx)
		for _, l := range p.loops {
			l.interrupt()
		}
		return nil
	})
	err := group.Wait()
	p.stop()
	return errors.Join(err, p.closeLoops())
}

// Adopt moves a connection into the poller: its descriptor is duplicated and conn closed, whatever Adopt returns. conn is
// plain TCP, or TLS from a listener of NewTLSListener whose handshake is done; leftover is what Upgrade or Stream returned.
// Nothing is read and the owner not called before Conn.Start, which must follow.
func (p *Poller) Adopt(conn net.Conn, leftover []byte, protocol Protocol, owner Owner) (*Conn, error) {
	c := &Conn{
		loop:     p.loops[int(p.turn.Add(1)%uint32(len(p.loops)))],
		owner:    owner,
		protocol: protocol,
	}
	fd, err := p.take(c, conn)
	if err != nil {
		if fd >= 0 {
			err = errors.Join(err, unix.Close(fd))
		}
		return nil, fmt.Errorf("taking over a connection: %w", err)
	}
	c.fd = int32(fd)
	c.seen.Store(p.now())
	if len(leftover) > leftoverLimit {
		return nil, errors.Join(fmt.Errorf("%d bytes came behind a handshake, more than %d", len(leftover), leftoverLimit), unix.Close(fd))
	}
	if protocol == WebSocket {
		keep(&c.in, leftover)
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return nil, errors.Join(ErrStopped, unix.Close(fd))
	}
	p.table.put(fd, c)
	p.count.of(c).Add(1)
	p.count.adopted.Add(1)
	return c, nil
}

// take makes a descriptor of our own for a connection, and TLS speak through that. conn is closed in any case; so must be
// the descriptor unless it is negative.
func (p *Poller) take(c *Conn, conn net.Conn) (fd int, err error) {
	under := conn
	var s *secure
	if t, ok := conn.(*tls.Conn); ok {
		if s, ok = t.NetConn().(*secure); !ok || !t.ConnectionState().HandshakeComplete {
			return -1, errors.Join(errors.New("it is not TLS of our listener after its handshake"), conn.Close())
		}
		under = s.Conn
	}
	if fd, err = p.duplicate(under, c.protocol); err != nil || s == nil {
		return fd, errors.Join(err, conn.Close())
	}
	c.secure, c.out = true, &output{queue: queue{protocol: c.protocol}, secure: s}
	return fd, s.adopt(fd)
}

// duplicate makes a descriptor of our own and sets it up.
func (p *Poller) duplicate(conn net.Conn, protocol Protocol) (fd int, err error) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return -1, fmt.Errorf("a %T is not TCP", conn)
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return -1, fmt.Errorf("reaching its descriptor: %w", err)
	}
	fd = -1
	var failed error
	err = raw.Control(func(of uintptr) {
		if fd, failed = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0); failed != nil {
			failed = fmt.Errorf("duplicating its descriptor: %w", failed)
			return
		}
		failed = errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, p.cfg.SendBuffer),
			unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
			// The heartbeat does the kernel's work, and a timer a socket less.
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 0),
		)
		if protocol == EventStream {
			// Its clients answer nothing: only the kernel knows whether anybody still takes the comments.
			failed = errors.Join(failed, unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(2*p.cfg.Heartbeat/time.Millisecond)))
		}
	})
	return fd, errors.Join(err, failed)
}

// stop closes what is still there. The loops have ended, so no event comes any more.
func (p *Poller) stop() {
	p.mu.Lock()
	p.stopped = true
	p.lingering = nil
	p.mu.Unlock()
	for fd := range p.table.size() {
		if c := p.table.get(fd); c != nil {
			c.mu.Lock()
			c.shutDown(Server, closing(c.protocol, wire.CloseDraining, wire.CloseDraining.Reason()))
			c.mu.Unlock()
			c.finish(Server)
		}
	}
}

func (p *Poller) closeLoops() error {
	var errs []error
	for _, l := range p.loops {
		errs = append(errs, l.close())
	}
	return errors.Join(errs...)
}
