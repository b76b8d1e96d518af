package fanout

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/carillon-push/carillon/bench/crowd"
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
	if len(list) != 24 {
		t.Errorf("%d figures", len(list))
	}
	for _, f := range list {
		if f.Unit != "bytes" && (f.Value <= 0 || *f.Ratio <= 0) { // so few sessions may take no memory that is seen
			t.Errorf("nothing was measured: %v", f)
		}
	}
}

func TestRatios(t *testing.T) {
	t.Parallel()
	r := Rates{PerCPUSecond: [][]float64{{1, 2, 4}, {2, 1, 4}}}
	if got := r.Ratios(1, 0); !slices.Equal(got, []float64{0.5, 1, 2}) {
		t.Errorf("ratios %v", got)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	if err := Default().contest(5000).Validate(); err != nil {
		t.Errorf("the default: %v", err)
	}
	_, err := Measure(t.Context(), Contest{Sessions: 1 << 30, Bursts: []Burst{{}}})
	for _, want := range []string{"sessions", "rounds", "repeats", "candidate"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("nothing is said of the %s: %v", want, err)
		}
	}
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, Short()); !errors.Is(err, context.Canceled) {
		t.Errorf("after the context's end: %v", err)
	}
}
