package deliver

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"runtime"
	"testing"
	"unsafe"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/carillon-push/carillon/deliver/socket"
	"github.com/carillon-push/carillon/pkg/wire"
)

// deaf is the client's side of idle connections that nobody reads.
type deaf struct{ socket.Owner }

func (deaf) OnMessage([]byte) error { return nil }
func (deaf) OnClose(socket.Why)     {}

// crowd is a dispatcher and a shard with n sessions. Their connections are closed ones: a send ends at the lock, so that
// what is measured is ours and not the kernel's.
func crowd(t testing.TB, n int) (*dispatcher, *shard, *roaring.Bitmap) {
	t.Helper()
	d := testDeliver()
	p, err := socket.New(socket.Default())
	if err != nil {
		t.Fatal(err)
	}
	if d.metrics, err = newMetrics(prometheus.NewRegistry(), p); err != nil {
		t.Fatal(err)
	}
	d.log = slog.New(slog.DiscardHandler)
	s := newShard(d, testApp, 0)
	conn, far, err := newSockets(t).pair(deaf{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Run(ended(t)) // closes what New opened
		_ = far.Close()
	})
	conn.Close(wire.CloseNormal, "")
	if err := conn.Start(); err != nil {
		t.Fatal(err)
	}
	users := roaring.New()
	for i := range uint32(n) {
		se := &session{shard: s, local: 3 * i, conn: conn}
		s.join(se, "", 1)
		se.login = nil
		users.Add(3 * i)
		users.Add(3*i + 1) // who is not here
	}
	w := p.NewWriter()
	t.Cleanup(func() { _ = w.Close() })
	return newDispatcher(d, nil, w), s, users
}

// sendAll sends the whole list.
func (x *dispatcher) sendAll() {
	for at := 0; at < len(x.list); {
		at += x.send(x.list[at:])
	}
}

func TestDispatchAllocates(t *testing.T) {
	const sessions = 10_000
	x, s, users := crowd(t, sessions)
	batch := batchOf(1, users)
	run := func() {
		batch[0].users = users.Clone()
		x.list, x.batch = s.audiences(batch, x.list[:0]), batch
		if len(x.list) != sessions {
			t.Errorf("an audience reaches %d sessions", len(x.list))
		}
		x.sendAll()
	}
	run()
	least := math.Inf(1) // they are counted over the process, in which the runtime allocates too while others keep it waiting
	for range 3 {
		least = min(least, testing.AllocsPerRun(10, x.sendAll))
	}
	if least != 0 {
		t.Errorf("sending to %d sessions allocates %v times", sessions, least)
	}
	// The copy and the walk of a bitmap, and a container here and there.
	if n := testing.AllocsPerRun(10, run); n > 12 {
		t.Errorf("an audience of %d sessions allocates %v times", sessions, n)
	}
}

// BenchmarkDispatch is one audience from its bitmap to the last session's lock, without the kernel.
func BenchmarkDispatch(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			x, s, users := crowd(b, n)
			b.ReportAllocs()
			for b.Loop() {
				batch := batchOf(1, users.Clone())
				x.list, x.batch = s.audiences(batch, x.list[:0]), batch
				x.sendAll()
			}
			b.ReportMetric(float64(b.N)*float64(n)/b.Elapsed().Seconds(), "sessions/s")
		})
	}
}

// BenchmarkDispatchSockets is the same to real sockets, whose clients a goroutine empties.
func BenchmarkDispatchSockets(b *testing.B) {
	const n = 500
	x, s, users := crowd(b, n)
	sockets := newSockets(b)
	buf := make([]byte, 64<<10)
	var fars []interface{ Read([]byte) (int, error) }
	for _, first := range s.sessions {
		conn, far, err := sockets.pair(deaf{})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = far.Close() })
		if err := conn.Start(); err != nil {
			b.Fatal(err)
		}
		first.conn, fars = conn, append(fars, far)
	}
	f := socket.NewFrame("push", 1, make([]byte, 300))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		batch := batchOf(1, users.Clone())
		batch[0].push.frame = f
		x.list, x.batch = s.audiences(batch, x.list[:0]), batch
		x.sendAll()
		if i%16 == 15 { // outside of what is measured
			b.StopTimer()
			for _, far := range fars {
				for got := 0; got < 16*f.Size(); {
					m, err := far.Read(buf)
					if err != nil {
						b.Fatal(err)
					}
					got += m
				}
			}
			b.StartTimer()
		}
	}
	b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "messages/s")
}

// A session is one of very many: an idle one must fit its size class.
func TestSessionIsSmall(t *testing.T) {
	t.Parallel()
	if n := unsafe.Sizeof(session{}); n > 48 {
		t.Errorf("a session has %d bytes, and its allocation the next size class", n)
	}
}

// BenchmarkIdleSession gives what stays on the heap of an idle session, in bytes: itself, its connection and table entry,
// its place in the shard. That is measured once; the time is that of listing them all.
func BenchmarkIdleSession(b *testing.B) {
	const n = 4000
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	sockets, d := newSockets(b), testDeliver()
	s := newShard(d, testApp, 0)
	d.hub.shards[shardKey{testApp, 0}] = s
	fars := make([]int, 0, n) // as descriptors, so that the clients' ends are not on the heap
	b.Cleanup(func() {
		for _, fd := range fars {
			_ = unix.Close(fd)
		}
	})
	before := heap()
	for i := range uint32(n) {
		se := &session{shard: s, local: i}
		s.join(se, "", 1)
		conn, far, err := sockets.pair(se)
		if err != nil {
			b.Fatal(err)
		}
		raw, err := far.(*net.TCPConn).SyscallConn()
		if err != nil {
			b.Fatal(err)
		}
		var failed error
		err = raw.Control(func(fd uintptr) {
			var dup int
			dup, failed = unix.Dup(int(fd))
			fars = append(fars, dup)
		})
		_, _, live := se.goLive(conn, noHello, nil)
		if err = errors.Join(err, failed, far.Close(), live, conn.Start()); err != nil {
			b.Fatal(err)
		}
	}
	each := float64(heap()-before) / n
	for b.Loop() {
		if len(d.hub.all()) != n {
			b.Fatal("sessions are missing")
		}
	}
	b.ReportMetric(each, "B/session")
}
