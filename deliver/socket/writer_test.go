package socket

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// ofEachWriter runs a test with io_uring, where the kernel lets us, and without.
func ofEachWriter(t *testing.T, test func(t *testing.T, ring option)) {
	t.Parallel()
	for _, ring := range []bool{true, false} {
		t.Run(fmt.Sprintf("ring %v", ring), func(t *testing.T) {
			t.Parallel()
			test(t, func(c *Config, _ *recorder) { c.Ring = ring })
		})
	}
}

func writer(t testing.TB, p *Poller) *Writer {
	t.Helper()
	w := p.NewWriter()
	if p.cfg.Ring && !w.Rings() {
		t.Log("the kernel gives no io_uring here: the plain way is tested twice")
	}
	if !p.cfg.Ring && w.Rings() {
		t.Error("a writer has an io_uring though it should not")
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// TestWriterOrder gathers frames of all sizes for clients of every kind whose sockets are too small for them, while others
// send to them too, and has each client read back its own in order, none cut, lost or doubled.
func TestWriterOrder(t *testing.T) {
	ofEachWriter(t, func(t *testing.T, ring option) {
		s := serve(t, narrow(64<<20), ring)
		w := writer(t, s.Poller)
		const clients, rounds = 40, 60
		var conns []*Conn
		var reading sync.WaitGroup
		for i := range clients {
			c, rec := s.dialWith(t, small(4<<10))
			conns = append(conns, rec.conn)
			reading.Go(func() {
				ours, theirs := 0, 0
				for ours < rounds || theirs < rounds {
					f, err := c.next()
					if err != nil {
						t.Errorf("client %d after %d and %d: %v", i, ours, theirs, err)
						return
					}
					switch got := f.Payload; {
					case bytes.HasPrefix(got, fmt.Appendf(nil, "w%04d,", ours)):
						ours++
					case bytes.HasPrefix(got, fmt.Appendf(nil, "o%04d,", theirs)):
						theirs++
					default:
						t.Errorf("client %d got %.8q in the place of %d or %d", i, got, ours, theirs)
						return
					}
				}
			})
		}
		frame := func(who byte, i, size int) *Frame {
			return NewFrame("push", 1, append(fmt.Appendf(nil, "%c%04d,", who, i), make([]byte, size)...))
		}
		var others sync.WaitGroup
		others.Go(func() {
			for i := range rounds {
				for _, c := range conns {
					if err := c.Send(frame('o', i, 100)); err != nil {
						t.Error(err)
					}
				}
			}
		})
		rng := rand.New(rand.NewPCG(1, 2))
		results := make([]error, clients)
		for at := 0; at < rounds; {
			n := min(1+rng.IntN(3)*rng.IntN(9), rounds-at)
			var frames []*Frame
			for i := range n {
				frames = append(frames, frame('w', at+i, rng.IntN(1<<uint(rng.IntN(15)))))
			}
			for i, c := range conns {
				w.Send(c, frames, &results[i])
			}
			w.Flush()
			if err := errors.Join(results...); err != nil {
				t.Fatal(err)
			}
			at += n
		}
		others.Wait()
		reading.Wait()
		if s.Stats().Full == 0 {
			t.Error("no socket was ever full: nothing was tested")
		}
	})
}

// TestWriterKinds sends to one connection of each kind at a time, some of which io_uring has no part in.
func TestWriterKinds(t *testing.T) {
	ofEachKind(t, func(t *testing.T, k kind) {
		conn := sink(t, k)
		w := writer(t, conn.loop.p)
		frames := []*Frame{NewFrame("push", 1, []byte("one")), NewFrame("push", 2, make([]byte, 20<<10)), NewFrame("push", 3, []byte("three"))}
		results := []error{io.EOF, io.EOF, io.EOF}
		w.Send(conn, frames[:1], &results[0])
		w.Send(conn, frames, &results[1]) // waits for the one before
		w.Flush()
		conn.Close(4005, "too many")
		w.Send(conn, frames, &results[2])
		w.Flush()
		if results[0] != nil || results[1] != nil || !errors.Is(results[2], ErrClosed) {
			t.Errorf("got %v", results)
		}
	})
}

// TestWriterSlow has clients that read nothing fill up: each is found too slow once, and closed from then on.
func TestWriterSlow(t *testing.T) {
	ofEachWriter(t, func(t *testing.T, ring option) {
		s := serve(t, narrow(32<<10), ring)
		w := writer(t, s.Poller)
		var recs []*recorder
		for range 3 {
			_, rec := s.dialWith(t, small(4<<10))
			recs = append(recs, rec)
		}
		f := []*Frame{NewFrame("push", 1, make([]byte, 1000))}
		slow, results := make([]int, len(recs)), make([]error, len(recs))
		for i := 0; !slices.Equal(slow, []int{1, 1, 1}) || i%7 > 0; i++ { // some more, when all are closed
			for j, rec := range recs {
				w.Send(rec.conn, f, &results[j])
			}
			w.Flush()
			for j, err := range results {
				switch {
				case errors.Is(err, ErrTooSlow):
					slow[j]++
				case err == nil && slow[j] == 0, errors.Is(err, ErrClosed) && slow[j] > 0:
				default:
					t.Fatalf("round %d: client %d: %v", i, j, err)
				}
			}
			if i > 10_000 {
				t.Fatal("nobody was found too slow")
			}
		}
	})
}

// TestWriterKeepsDescriptors has clients hang up between a send's being gathered and its being sent: the descriptor stays
// theirs until then, so that what was meant for them reaches nobody who comes meanwhile.
func TestWriterKeepsDescriptors(t *testing.T) {
	ofEachWriter(t, func(t *testing.T, ring option) {
		s := serve(t, ring)
		w := writer(t, s.Poller)
		for round := range 20 {
			c, rec := s.dial(t)
			var result error
			f := NewFrame("push", 1, []byte("for the first"))
			w.Send(rec.conn, []*Frame{f}, &result)
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			if !w.Rings() { // it is sent, and nothing is held
				receive(t, rec.ended)
			}
			later, second := s.dial(t)
			if w.Rings() && (second.conn.fd == rec.conn.fd || rec.ends.Load() > 0) {
				t.Fatal("a descriptor was given away while something was to be sent to it")
			}
			w.Flush()
			if w.Rings() {
				receive(t, rec.ended)
			}
			if err := second.conn.Send(NewFrame("push", 2, []byte("for the second"))); err != nil {
				t.Fatal(err)
			}
			if got := later.frame(); string(got.Payload) != "for the second" {
				t.Fatalf("round %d: the second client got %q", round, got.Payload)
			}
			w.Send(rec.conn, []*Frame{f}, &result)
			if w.Flush(); !errors.Is(result, ErrClosed) {
				t.Errorf("to a client that is gone: %v", result)
			}
		}
	})
}

// TestWriterReset sends to a client that has reset its connection, before the loop has seen that.
func TestWriterReset(t *testing.T) {
	ofEachWriter(t, func(t *testing.T, ring option) {
		p := still(t, ring)
		w := writer(t, p)
		near, far := pair(t)
		rec := &recorder{ended: make(chan Why, 1)}
		conn, err := p.Adopt(near, nil, WebSocket, rec)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Shutdown(int(conn.fd), unix.SHUT_WR); err != nil {
			t.Fatal(err)
		}
		_ = far.Close()
		var result error
		w.Send(conn, []*Frame{NewFrame("push", 1, []byte("hello"))}, &result)
		if w.Flush(); !errors.Is(result, ErrClosed) {
			t.Errorf("got %v", result)
		}
		conn.finish(Gone)
		if why := receive(t, rec.ended); why != Gone {
			t.Errorf("ended because of %v", why)
		}
	})
}

// TestWriterLosesItsRing has the ring fail under what was gathered: it is sent all the same, once.
func TestWriterLosesItsRing(t *testing.T) {
	t.Parallel()
	s := serve(t)
	w := writer(t, s.Poller)
	var clients []*client
	var results [3]error
	var recs []*recorder
	for i := range results {
		c, rec := s.dial(t)
		clients, recs = append(clients, c), append(recs, rec)
		w.Send(rec.conn, []*Frame{NewFrame("push", 1, fmt.Appendf(nil, "before %d", i))}, &results[i])
	}
	if w.Rings() {
		lost := w.ring.fd
		w.ring.fd = -1
		defer func() {
			if err := unix.Close(lost); err != nil {
				t.Error(err)
			}
		}()
	}
	w.Flush()
	if w.Rings() {
		t.Error("a ring that has failed is kept")
	}
	for i, c := range clients {
		var after error
		w.Send(recs[i].conn, []*Frame{NewFrame("push", 1, fmt.Appendf(nil, "after %d", i))}, &after)
		w.Flush()
		if err := errors.Join(results[i], after); err != nil {
			t.Error(err)
		}
		for _, want := range []string{"before", "after"} {
			if got := string(c.frame().Payload); got != fmt.Sprintf("%s %d", want, i) {
				t.Errorf("client %d got %q", i, got)
			}
		}
	}
}

// TestRing sees what sockets of the kernel's other kinds of answers give: room, a part of it, none, and their end.
func TestRing(t *testing.T) {
	t.Parallel()
	r, err := newRing()
	if err != nil {
		t.Logf("there is no io_uring here: %v", err)
		return
	}
	defer func() {
		if err := r.close(); err != nil {
			t.Error(err)
		}
	}()
	near, far := pair(t)
	p := still(t, narrow(1<<20))
	conn, err := p.Adopt(near, nil, WebSocket, &recorder{ended: make(chan Why, 1)})
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 3000)
	whole, parts, full := 0, 0, 0
	for sent := 0; full < 2*ringSize; {
		for i := range uint64(ringSize) {
			r.add(conn.fd, b, i)
		}
		if !r.full() {
			t.Fatal("a full ring says that it is not")
		}
		next := uint64(0)
		n, err := r.submit(func(id uint64, n int, err error) {
			if id != next || err != nil {
				t.Errorf("told of %d in the place of %d: %v", id, next, err)
			}
			next++
			switch sent += n; n {
			case len(b):
				whole++
			case 0:
				full++
			default:
				parts++
			}
		})
		if n != ringSize || err != nil {
			t.Fatalf("told of %d: %v", n, err)
		}
		if sent > 64<<20 {
			t.Fatal("the socket never fills up")
		}
	}
	if whole == 0 || full == 0 {
		t.Errorf("%d whole, %d in part, %d refused", whole, parts, full)
	}
	_ = far.Close()
}

// TestWriterAllocates shows that neither way allocates, alone or joined.
func TestWriterAllocates(t *testing.T) {
	for _, ring := range []bool{true, false} {
		conn := sink(t, kind{})
		conn.loop.p.cfg.Ring = ring
		w := writer(t, conn.loop.p)
		f := NewFrame("push", 1, make([]byte, 300))
		for _, frames := range [][]*Frame{{f}, {f, f, f}} {
			var result error
			n := testing.AllocsPerRun(100, func() {
				w.Send(conn, frames, &result)
				w.Flush()
			})
			if n != 0 || result != nil {
				t.Errorf("ring %v, %d frames: %v allocations, error %v", w.Rings(), len(frames), n, result)
			}
		}
	}
}

// BenchmarkWriter is BenchmarkSend by a writer, which gathers as many sends as a ring takes; to one client, so that the
// connection is let go of between them.
func BenchmarkWriter(b *testing.B) {
	for _, ring := range []bool{true, false} {
		b.Run(fmt.Sprintf("ring=%v", ring), func(b *testing.B) {
			var conns []*Conn
			for range ringSize {
				conns = append(conns, sink(b, kind{}))
			}
			conns[0].loop.p.cfg.Ring = ring
			w := writer(b, conns[0].loop.p)
			defer processorTime(b)()
			frames := []*Frame{NewFrame("push", 1, make([]byte, 300))}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				var result error
				w.Send(conns[i%len(conns)], frames, &result)
				if i%len(conns) == len(conns)-1 {
					w.Flush()
					for _, c := range conns {
						forget(c)
					}
				}
			}
			w.Flush()
		})
	}
}
