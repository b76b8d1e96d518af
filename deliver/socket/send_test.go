package socket

import (
	"io"
	"net"
	"testing"
	"unsafe"
)

// TestSize keeps an idle connection small: this, 8 bytes of table, and what its owner holds.
func TestSize(t *testing.T) {
	t.Parallel()
	if size := unsafe.Sizeof(Conn{}); size > 64 {
		t.Errorf("a connection is %d bytes, more than a size class of 64", size)
	}
}

// sink is a connection whose client reads everything.
func sink(t testing.TB) *Conn {
	t.Helper()
	cfg := Default()
	cfg.SendBuffer = 1 << 20
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	near, far := pair(t)
	conn, err := p.Adopt(near, nil, WebSocket, &recorder{ended: make(chan Why, 1)})
	if err != nil {
		t.Fatal(err)
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		if tcp, ok := far.(*net.TCPConn); ok {
			_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{tcp}, make([]byte, 1<<20))
		}
	}()
	t.Cleanup(func() {
		p.stop()
		if err := p.closeLoops(); err != nil {
			t.Error(err)
		}
		<-drained
	})
	return conn
}

// TestSendAllocates shows that sending allocates nothing while the socket takes it all. It is not parallel: allocations
// are counted over the process.
func TestSendAllocates(t *testing.T) {
	conn := sink(t)
	f := NewFrame("push", 1, make([]byte, 300))
	few := []*Frame{f, f, f}
	for name, send := range map[string]func() error{
		"Send":    func() error { return conn.Send(f) },
		"SendAll": func() error { return conn.SendAll(few) },
	} {
		var err error
		if n := testing.AllocsPerRun(100, func() { err = send() }); n != 0 || err != nil {
			t.Errorf("%s: %v allocations, error %v", name, n, err)
		}
	}
	if full := conn.loop.p.Stats().Full; full > 0 {
		t.Errorf("the socket was full %d times", full)
	}
}

// BenchmarkSend writes a push of 300 bytes to a client that reads. What a full socket leaves waiting is dropped, so that every
// call goes to the kernel; full/op is the share of those that found no room.
func BenchmarkSend(b *testing.B) {
	conn := sink(b)
	f := NewFrame("push", 1, make([]byte, 300))
	b.SetBytes(int64(f.Size()))
	b.ReportAllocs()
	for b.Loop() {
		if err := conn.Send(f); err != nil {
			b.Fatal(err)
		}
		forget(conn)
	}
	b.ReportMetric(float64(conn.loop.p.Stats().Full)/float64(b.N), "full/op")
}

// BenchmarkSendAll joins ten pushes in one write.
func BenchmarkSendAll(b *testing.B) {
	conn := sink(b)
	fs := make([]*Frame, 10)
	for i := range fs {
		fs[i] = NewFrame("push", 1, make([]byte, 300))
	}
	b.SetBytes(int64(10 * fs[0].Size()))
	b.ReportAllocs()
	for b.Loop() {
		if err := conn.SendAll(fs); err != nil {
			b.Fatal(err)
		}
		forget(conn)
	}
	b.ReportMetric(float64(conn.loop.p.Stats().Full)/float64(b.N), "full/op")
}

// BenchmarkDecode takes acks of 40 bytes off a buffer of 100.
func BenchmarkDecode(b *testing.B) {
	d := decoder{limit: 16 << 10}
	var in *input
	var buf []byte
	for range 100 {
		buf = append(buf, masked(fin|text, `{"t":"ack","seq":[1000000001,1000000002]}`)...)
	}
	work := make([]byte, len(buf))
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		copy(work, buf)
		for rest := work; len(rest) > 0; {
			var err error
			if _, _, rest, err = d.next(&in, rest); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func forget(c *Conn) {
	c.mu.Lock()
	c.dropQueue()
	c.mu.Unlock()
}
