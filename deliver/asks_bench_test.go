package deliver

import (
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// BenchmarkAsks is what 32 logins at once cost that ask for their inboxes, with the broker and a worker that has 300 pushes
// for each of them; and the same as requests of their own.
func BenchmarkAsks(b *testing.B) {
	seqs := make([]push.Seq, 300)
	for i := range seqs {
		seqs[i] = push.Seq(2*i + 1)
	}
	g := start(b)
	var requests atomic.Int64
	g.offline(func(a ask) {
		requests.Add(1)
		var data []byte
		for range a.Locals {
			data = wire.AppendInbox(data, seqs)
		}
		if err := a.Respond(data); err != nil {
			b.Error(err)
		}
	})
	s := newShard(g.Deliver, testApp, 0)
	for name, login := range map[string]func(local uint32) error{
		"gathered": func(local uint32) error {
			_, err := s.asks.inbox(b.Context(), question{local: local})
			return err
		},
		"alone": func(local uint32) error {
			_, err := s.asks.answers(b.Context(), wire.InboxRequest{Locals: []uint32{local}})
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			requests.Store(0)
			before := used(b)
			var next atomic.Int64
			var all sync.WaitGroup
			for range 32 {
				all.Go(func() {
					for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
						if err := login(uint32(i)); err != nil {
							b.Error(err)
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric((used(b)-before)/float64(b.N), "CPU-ns/op")
			b.ReportMetric(float64(b.N)/float64(requests.Load()), "logins/request")
		})
	}
}

// used is the CPU time of this process, in nanoseconds.
func used(b *testing.B) float64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano() + u.Stime.Nano())
}
