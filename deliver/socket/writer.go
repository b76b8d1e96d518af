package socket

import "fmt"

// Writer sends to many connections with few system calls: it gathers what is to be sent and gives it to the kernel together,
// by io_uring where there is one, and else at once, one by one. It is for one goroutine at a time.
type Writer struct {
	ring  *ring // nil: without
	sends []gathered
	// joint is where the frames of a send are laid out behind each other, and last how those of the last one were: a burst
	// goes to thousands alike. Both stand until what was gathered is sent.
	joint []byte
	last  struct {
		first    **Frame
		n        int
		protocol Protocol
		bytes    []byte
	}
}

// gathered is a send that is still to be done. Its connection is locked until then: nobody closes the descriptor, or sends
// something else meanwhile.
type gathered struct {
	c      *Conn
	frames []*Frame
	bytes  []byte // of the first of them, or all
	result *error
	told   bool
}

const (
	// jointSize is how much is laid out before it must be sent, in bytes.
	jointSize = 64 << 10
	// pieceSize is how much of it one connection gets at a time. A socket takes hardly more.
	pieceSize = 16 << 10
)

// NewWriter makes a writer for the poller's connections. Unless Config.Ring is set, or where the kernel does not let it, it
// does without io_uring; Rings tells.
func (p *Poller) NewWriter() *Writer {
	w := &Writer{sends: make([]gathered, 0, ringSize)}
	if p.cfg.Ring {
		if r, err := newRing(); err == nil { // else there is nothing to be done about it
			w.ring, w.joint = r, make([]byte, 0, jointSize)
		}
	}
	return w
}

// Rings says whether it sends by io_uring.
func (w *Writer) Rings() bool { return w.ring != nil }

// Send is Conn.SendAll, but that *result may be set only by the next Flush, or another Send; until that Flush the caller
// must leave frames as they are, and call nothing else of the connection.
func (w *Writer) Send(c *Conn, frames []*Frame, result *error) {
	if w.ring == nil {
		*result = c.send(frames)
		return
	}
	if cap(w.joint)-len(w.joint) < pieceSize {
		w.Flush()
	}
	if !c.mu.TryLock() { // who has it may wait for one that we have
		w.Flush()
		c.mu.Lock()
	}
	switch {
	case c.state != open:
		*result = ErrClosed
	case w.ring == nil || c.out != nil: // it has just failed; or what waits comes first, or TLS has to encrypt it
		*result = c.sendAll(frames...)
	default:
		b := w.lay(c.protocol, frames)
		w.ring.add(c.fd, b, uint64(len(w.sends)))
		w.sends = append(w.sends, gathered{c: c, frames: frames, bytes: b, result: result})
		if w.ring.full() {
			w.Flush()
		}
		return
	}
	c.mu.Unlock()
}

// lay gives the frames' bytes, or the beginning of them, in one piece. There must be room for it.
func (w *Writer) lay(p Protocol, frames []*Frame) []byte {
	first := frames[0].bytes(p)
	if len(frames) == 1 || len(first) >= pieceSize {
		return first
	}
	if w.last.first == &frames[0] && w.last.n == len(frames) && w.last.protocol == p {
		return w.last.bytes
	}
	from := len(w.joint)
	for _, f := range frames {
		b := f.bytes(p)
		if len(w.joint)-from+len(b) > pieceSize {
			break
		}
		w.joint = append(w.joint, b...)
	}
	w.last.first, w.last.n, w.last.protocol, w.last.bytes = &frames[0], len(frames), p, w.joint[from:]
	return w.last.bytes
}

// Flush sends what is gathered.
func (w *Writer) Flush() {
	if len(w.sends) > 0 {
		if _, err := w.ring.submit(w.told); err != nil {
			w.forsake()
		}
	}
	clear(w.sends)
	w.sends = w.sends[:0]
	w.joint = w.joint[:0]
	w.last.first = nil
}

// told finishes a send of which the socket took n bytes, and lets go of its connection.
func (w *Writer) told(id uint64, n int, err error) {
	s := &w.sends[id]
	*s.result = s.c.sent(s.frames, len(s.bytes), n, err)
	s.told = true
	s.c.mu.Unlock()
}

// forsake does without a ring that has failed, now and from now on.
func (w *Writer) forsake() {
	_ = w.ring.close() // what it has not told of is sent here
	w.ring = nil
	for i := range w.sends {
		if s := &w.sends[i]; !s.told {
			n, err := send(s.c.fd, s.bytes)
			w.told(uint64(i), n, err)
		}
	}
}

// Close sends what is gathered and lets go of the ring; the writer works on without.
func (w *Writer) Close() error {
	w.Flush()
	if w.ring == nil {
		return nil
	}
	r := w.ring
	w.ring = nil
	if err := r.close(); err != nil {
		return fmt.Errorf("closing an io_uring: %w", err)
	}
	return nil
}
