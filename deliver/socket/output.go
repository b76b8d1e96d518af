package socket

// output is what stands between a connection and its socket: frames that wait while the socket is full, and TLS. A plain
// connection has none as long as its socket takes everything.
type output struct {
	queue
	secure *secure // nil without TLS
}

// waiting is how many bytes the socket has not taken yet.
func (o *output) waiting() int {
	switch {
	case o == nil:
		return 0
	case o.secure == nil:
		return o.size
	}
	return o.size + len(o.secure.tail)
}

// sendAll writes frames, or queues what the socket does not take. Called with mu held, by an open connection.
func (c *Conn) sendAll(fs ...*Frame) error {
	if c.out.waiting() > 0 {
		return c.enqueue(fs...)
	}
	for off := 0; len(fs) > 0; {
		n, full, err := c.offer(fs, off)
		if err != nil {
			return c.broken(err)
		}
		if fs, off = skip(fs, c.protocol, off+n); full {
			c.spill(off, fs...)
			return nil
		}
	}
	return nil
}

// sent finishes a send of frames, of whose first so many bytes, whole frames, a plain socket was offered and took n. Called
// with mu held, while nothing waited.
func (c *Conn) sent(fs []*Frame, offered, n int, err error) error {
	if err != nil {
		return c.broken(err)
	}
	fs, off := skip(fs, c.protocol, n)
	switch {
	case n < offered:
		c.spill(off, fs...)
	case len(fs) > 0:
		return c.sendAll(fs...)
	}
	return nil
}

// offer gives the socket as many of the frames, without the first off bytes, as go in one write, and returns how many
// bytes need no more to be kept here, and whether the socket is full. Called with mu held, while nothing waits before them.
func (c *Conn) offer(fs []*Frame, off int) (n int, full bool, err error) {
	if c.secure {
		n, err = c.out.secure.offer(fs, c.protocol, off)
		return n, len(c.out.secure.tail) > 0, err
	}
	n, offered, err := sendFrames(c.fd, fs, c.protocol, off)
	return n, n < offered, err
}

// spill begins the queue with what the socket did not take: the frames without their first off bytes, behind what TLS
// keeps. Called with mu held.
func (c *Conn) spill(off int, fs ...*Frame) {
	if c.out == nil {
		c.out = &output{queue: queue{protocol: c.protocol}}
	}
	for _, f := range fs {
		c.out.push(f)
	}
	c.out.advance(off)
	c.settle(0)
}

// settle counts what waits after an operation before which it was so much, and has the loop wait for room once anything
// does. Called with mu held.
func (c *Conn) settle(before int) {
	now := c.out.waiting()
	c.loop.p.count.queued.Add(int64(now - before))
	if before == 0 && now > 0 {
		c.loop.p.count.full.Add(1)
		c.arm()
	}
}

// enqueue adds to the queue, or closes the connection when too much waits already. Called with mu held.
func (c *Conn) enqueue(fs ...*Frame) error {
	before := c.out.waiting()
	if before > c.loop.p.cfg.QueueLimit {
		c.tooSlow()
		return ErrTooSlow
	}
	for _, f := range fs {
		c.out.push(f)
	}
	c.settle(before)
	return nil
}

// flush sends what waits, once: a loop comes back while the socket takes more. Called by the loop.
func (c *Conn) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == shut {
		return
	}
	if before := c.out.waiting(); before > 0 {
		if err := c.drain(); err != nil {
			_ = c.broken(err)
			return
		}
		c.settle(before)
		if c.out.waiting() > 0 {
			c.arm() // there may be room left, of which no other event tells
			return
		}
		if !c.secure {
			c.out = nil
		}
		if c.state == shutting {
			c.halfClose()
		}
	}
	c.arm()
}

// drain sends what TLS keeps, then frames. Called with mu held, while something waits.
func (c *Conn) drain() error {
	if c.secure {
		if err := c.out.secure.drain(); err != nil || len(c.out.secure.tail) > 0 {
			return err
		}
	}
	if len(c.out.frames) == 0 {
		return nil
	}
	n, _, err := c.offer(c.out.frames, c.out.off)
	if err == nil {
		c.out.advance(n)
	}
	return err
}

// dropQueue forgets what waits. Called with mu held.
func (c *Conn) dropQueue() {
	before := c.out.waiting()
	if before == 0 {
		return
	}
	c.loop.p.count.queued.Add(-int64(before))
	if !c.secure {
		c.out = nil
		return
	}
	c.out.queue, c.out.secure.tail = queue{protocol: c.protocol}, nil
}
