package socket

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkIdle gives what stays of an idle connection of each kind that came through net/http, in bytes: on the heap, and
// of the process's memory. Both are measured once and without what only its client holds; the time is that of a handshake
// with its client's part.
func BenchmarkIdle(b *testing.B) {
	for _, k := range kinds {
		b.Run(k.String(), func(b *testing.B) {
			const n = 4000
			s := serve(b)
			s.secure = k.secure
			fars := make([]int, 0, n) // as descriptors: a client's part must not be counted
			b.Cleanup(func() {
				for _, fd := range fars {
					_ = unix.Close(fd)
				}
			})
			heap, resident := memory(b)
			b.ResetTimer()
			for range n {
				fars = append(fars, s.remote(b, k))
			}
			b.StopTimer()
			h, r := memory(b)
			b.ReportMetric(float64(h-heap)/n, "heap-B/session")
			b.ReportMetric(float64(r-resident)/n, "rss-B/session")
			b.ReportMetric(float64(b.Elapsed().Microseconds())/n, "µs/handshake")
			if open := s.Stats().OpenOf(k.protocol, k.secure); open != n {
				b.Fatalf("%d connections are open", open)
			}
		})
	}
}

// remote connects a client of which only its descriptor stays.
func (s *server) remote(t testing.TB, k kind) int {
	t.Helper()
	at := s.http.Listener.Addr()
	if k.secure {
		at = s.tls.Addr()
	}
	tcp, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	conn := tcp
	if k.secure {
		conn = tls.Client(tcp, trusting)
	}
	request := "GET /events HTTP/1.1\r\nHost: x\r\n\r\n"
	if k.protocol == WebSocket {
		request = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
	}
	write(t, conn, []byte(request))
	if _, err := conn.Read(make([]byte, 4<<10)); err != nil {
		t.Fatal(err)
	}
	receive(t, s.adopted).conn.owner = &recorder{ended: make(chan Why, 1)} // without its channel of messages
	raw, err := tcp.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	fd := -1
	var failed error
	err = raw.Control(func(of uintptr) { fd, failed = unix.Dup(int(of)) })
	if err = errors.Join(err, failed, tcp.Close()); err != nil {
		t.Fatal(err)
	}
	return fd
}

// memory of the process: what is in use on the heap, and what the kernel has given.
func memory(t testing.TB) (heap, resident int64) {
	t.Helper()
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.ParseInt(string(bytes.Fields(b)[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return int64(m.HeapInuse), pages * int64(os.Getpagesize())
}
