package socket

import (
	"io"
	"net"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestSize keeps an idle connection small: this, 8 bytes of table, and what its owner holds.
func TestSize(t *testing.T) {
	t.Parallel()
	if size := unsafe.Sizeof(Conn{}); size > 64 {
		t.Errorf("a connection is %d bytes, more than a size class of 64", size)
	}
}

// sink is a connection whose client reads everything.
func sink(t testing.TB, k kind) *Conn {
	t.Helper()
	p := still(t, func(c *Config, _ *recorder) { c.SendBuffer = 1 << 20 })
	var conn *Conn
	var far net.Conn
	if k.secure {
		var tap *wiretap
		conn, _, tap = unread(t, p, trusting, k.protocol)
		far = tap.Conn
	} else {
		var near net.Conn
		near, far = pair(t)
		var err error
		if conn, err = p.Adopt(near, nil, k.protocol, &recorder{ended: make(chan Why, 1)}); err != nil {
			t.Fatal(err)
		}
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{far}, make([]byte, 1<<20))
	}()
	t.Cleanup(func() {
		p.stop()
		<-drained
	})
	return conn
}

// TestSendAllocates shows that sending allocates nothing while the socket takes it all, over TLS neither. It is not parallel:
// allocations are counted over the process.
func TestSendAllocates(t *testing.T) {
	for _, k := range kinds {
		conn := sink(t, k)
		f := NewFrame("push", 1, make([]byte, 300))
		few := []*Frame{f, f, f}
		for name, send := range map[string]func() error{
			"Send":    func() error { return conn.Send(f) },
			"SendAll": func() error { return conn.SendAll(few) },
		} {
			var err error
			n := testing.AllocsPerRun(100, func() { err = send() })
			if k.secure && n <= 2 {
				n = 0 // TLS has its buffers from pools, which the race detector empties at random
			}
			if n != 0 || err != nil {
				t.Errorf("%v: %s: %v allocations, error %v", k, name, n, err)
			}
		}
		if full := conn.loop.p.Stats().Full; full > 0 {
			t.Errorf("%v: the socket was full %d times", k, full)
		}
	}
}

// BenchmarkSend writes a push of 300 bytes to a client that reads. What a full socket leaves waiting is dropped, so that every
// call goes to the kernel; full/op is the share of those that found no room.
func BenchmarkSend(b *testing.B) { benchmarkSend(b, kind{}) }

// BenchmarkSendTLS is BenchmarkSend over TLS; its client decrypts nothing.
func BenchmarkSendTLS(b *testing.B) { benchmarkSend(b, kind{secure: true}) }

func benchmarkSend(b *testing.B, k kind) {
	conn := sink(b, k)
	defer processorTime(b)()
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

// processorTime reports, when what it returns is called, how long the calling thread was on a processor: whoever else works on
// the machine, the client too, does not count.
func processorTime(b *testing.B) func() {
	runtime.LockOSThread()
	spent := func() int64 {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	began := spent()
	return func() {
		b.ReportMetric(float64(spent()-began)/float64(b.N), "cpu-ns/op")
		runtime.UnlockOSThread()
	}
}

// BenchmarkSendAll joins ten pushes in one write.
func BenchmarkSendAll(b *testing.B) { benchmarkSendAll(b, kind{}) }

// BenchmarkSendAllTLS joins ten pushes in one record.
func BenchmarkSendAllTLS(b *testing.B) { benchmarkSendAll(b, kind{secure: true}) }

func benchmarkSendAll(b *testing.B, k kind) {
	conn := sink(b, k)
	defer processorTime(b)()
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
