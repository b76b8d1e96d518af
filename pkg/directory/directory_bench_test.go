package directory_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/carillon-push/carillon/pkg/directory"
	"github.com/carillon-push/carillon/pkg/push"
)

// together is how many users one call names.
const together = 100

func batchOf(call int64) []string {
	names := make([]string, together)
	for i := range names {
		names[i] = fmt.Sprintf("user-%d-%d", call, i)
	}
	return names
}

// How fast accounts are registered, 100 a call and 16 calls at once.
func BenchmarkRegister(b *testing.B) {
	d := startBench(b)
	var n atomic.Int64
	b.SetParallelism(8)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := d.Register(b.Context(), app, batchOf(n.Add(1))...); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(together*float64(b.N)/b.Elapsed().Seconds(), "users/s")
}

// How fast users change, each by one tag, 100 a call and 16 calls at once: those that were never changed, and those that
// were so often that their records have no room for all of it.
func BenchmarkUpdate(b *testing.B) {
	for _, before := range []int{0, 20, 100} {
		b.Run(fmt.Sprint(before, " changes before"), func(b *testing.B) {
			d := startBench(b)
			const calls = 32
			change := func(call int64, k int) {
				changes := make([]directory.Change, together)
				for i, name := range batchOf(call) {
					changes[i] = directory.Change{Account: name, Apply: func(r *push.Record) error {
						if tag := fmt.Sprint("tag-", k/2%10); !r.RemoveTag(tag) {
							r.AddTag(tag)
						}
						return nil
					}}
				}
				if err := d.Update(b.Context(), app, changes); err != nil {
					b.Error(err)
				}
			}
			var made sync.WaitGroup
			for call := range int64(calls) {
				made.Go(func() {
					if _, err := d.Register(b.Context(), app, batchOf(call)...); err != nil {
						b.Error(err)
					}
					for k := range before {
						change(call, k)
					}
				})
			}
			made.Wait()
			var n atomic.Int64
			b.SetParallelism(8)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					i := n.Add(1)
					change(i%calls, before+int(i/calls))
				}
			})
			b.ReportMetric(together*float64(b.N)/b.Elapsed().Seconds(), "users/s")
		})
	}
}
