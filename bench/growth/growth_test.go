package growth

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"
	"go.uber.org/goleak"

	"github.com/carillon-push/carillon/bench/crowd"
	"github.com/carillon-push/carillon/pkg/wire"
)

func TestMain(m *testing.M) {
	crowd.Child()
	// Children of a test under the race detector would each wait a second at their end.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

func TestRun(t *testing.T) {
	t.Parallel()
	list, err := Run(t.Context(), Short())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"growth: 1 shard: CPU of the matcher a push", "growth: 2 shards: CPU of the matcher a push", "growth: CPU of the matcher a push, for each shard",
		"growth: 2 gateways: messages through the broker a push", "growth: 3 live pushes: restart of the offline worker",
		"growth: the largest run: resident memory of the broker, predicted / measured",
	} {
		found := 0
		for _, f := range list {
			if f.Name == want {
				found++
			}
		}
		if found != 1 {
			t.Errorf("%d figures are called %q", found, want)
		}
	}
	for _, f := range list {
		if !strings.HasPrefix(f.Name, "growth: ") || math.IsNaN(f.Value) {
			t.Errorf("a figure is %v", f)
		}
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{Default(), Long(), Short()} {
		if err := o.Validate(); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if _, err := Run(t.Context(), Options{}); err == nil {
		t.Error("no options were taken")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, Short()); !errors.Is(err, context.Canceled) {
		t.Errorf("after the context's end: %v", err)
	}
}

func TestFit(t *testing.T) {
	t.Parallel()
	near := func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }
	if l := fit([]float64{1, 2, 4}, []float64{5, 7, 11}); !near(l.a, 3) || !near(l.b, 2) || !near(l.r2, 1) {
		t.Errorf("3 + 2n is %+v", l)
	}
	if l := fit([]float64{1, 2, 3}, []float64{4, 4, 4}); !near(l.a, 4) || !near(l.b, 0) || !near(l.r2, 1) {
		t.Errorf("4 is %+v", l)
	}
	if l := fit([]float64{1, 2, 3, 4}, []float64{1, -1, 1, -1}); l.r2 > 0.5 {
		t.Errorf("no line is %+v", l)
	}
	s := series{at: []float64{1, 2, 4}, value: []float64{1, 4, 16}}
	if more := s.steepening(fit(s.at, s.value)); more < 1.1 {
		t.Errorf("a square grows at its end %v times as steeply as its line", more)
	}
}

// The model's bitmaps are as large as those of users at random.
func TestBitmap(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	const width = 1 << 18
	for _, users := range []int{20, 1000, width / 100, width / 10, width / 2, width} {
		b := roaring.New()
		for _, u := range r.Perm(width)[:users] {
			b.Add(uint32(u))
		}
		data, err := wire.EncodeBitmap(b)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := bitmap(float64(users), width), float64(len(data)); got < want*0.8-20 || got > want*1.2+60 {
			t.Errorf("the bitmap of %d users of %d has %v bytes, and %v by the model", users, width, want, got)
		}
	}
}

// What the model says of a fleet twice as large, at the same gateways: nothing grows faster than the fleet.
func TestModelGrowsWithTheFleet(t *testing.T) {
	t.Parallel()
	f := HundredMillion().Fleet
	twice := f
	twice.Users, twice.Sessions = 2*f.Users, 2*f.Sessions
	for _, share := range []float64{0.001, 0.1, 1} {
		a, b := f.Push(share), twice.Push(share)
		for what, of := range map[string]func(Push) float64{
			"broker":  func(p Push) float64 { return p.Broker },
			"matcher": func(p Push) float64 { return p.Matcher },
			"deliver": func(p Push) float64 { return p.Deliver },
			"bytes":   func(p Push) float64 { return p.Bytes },
		} {
			if x, y := of(a), of(b); y < x || y > 2.02*x {
				t.Errorf("a push to %v: %s is %v, and %v for twice as many", share, what, x, y)
			}
		}
	}
	if a, b := f.Memory(700, 1e9), twice.Memory(700, 1e9); b.Broker > 2*a.Broker || b.Matcher > 2*a.Matcher || b.Deliver > 2*a.Deliver {
		t.Errorf("memory is %+v, and %+v for twice as many", a, b)
	}
}
