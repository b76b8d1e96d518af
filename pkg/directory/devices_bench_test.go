package directory_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/directory"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

func startBench(b *testing.B) *directory.Directory {
	br := brokertest.Start(b)
	if err := br.EnsureApp(b.Context(), app); err != nil {
		b.Fatal(err)
	}
	return directory.New(br)
}

// token is as long as those of fcm.
func token(n int64) string { return fmt.Sprintf("%0160d", n) }

func BenchmarkRegisterDevice(b *testing.B) {
	b.Run("new", func(b *testing.B) {
		d := startBench(b)
		for n := int64(1); b.Loop(); n++ {
			register(b, d, push.Ordinal(n), apns(token(n)))
		}
	})
	b.Run("new, 256 at once", func(b *testing.B) {
		d := startBench(b)
		var n atomic.Int64
		b.SetParallelism(128)
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				i := n.Add(1)
				if err := d.RegisterDevice(b.Context(), app, push.Ordinal(i), apns(token(i))); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
	b.Run("known", func(b *testing.B) {
		d := startBench(b)
		register(b, d, 1, apns(token(1)))
		for b.Loop() {
			register(b, d, 1, apns(token(1)))
		}
	})
	b.Run("seen a day later", func(b *testing.B) {
		d := startBench(b)
		for n := int64(0); b.Loop(); n++ {
			register(b, d, 1, seen(noon+n*day, apns(token(1))))
		}
	})
	b.Run("moving", func(b *testing.B) {
		d := startBench(b)
		for n := 0; b.Loop(); n++ {
			register(b, d, push.Ordinal(1+n%2), apns(token(1)))
		}
	})
}

// One operation is the devices of 1,000 users, two each.
func BenchmarkDevices(b *testing.B) {
	d := startBench(b)
	var users []push.Ordinal
	for n := range int64(1000) {
		users = append(users, push.Ordinal(n+1))
		register(b, d, push.Ordinal(n+1), apns(token(2*n)), wire.Device{Channel: "fcm", Token: token(2*n + 1), Seen: noon})
	}
	b.ReportAllocs()
	for b.Loop() {
		lists, err := d.Devices(b.Context(), app, users...)
		if err != nil || len(lists) != len(users) {
			b.Fatalf("%d users, %v", len(lists), err)
		}
	}
}
