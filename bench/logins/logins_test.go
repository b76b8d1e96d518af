package logins

import (
	"context"
	"errors"
	"os"
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
	if len(list) != 3*len(crowd.Kept)+3 {
		t.Errorf("%d figures", len(list))
	}
	for _, f := range list {
		if f.Value <= 0 {
			t.Errorf("nothing was measured: %v", f)
		}
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	if err := Default().Validate(); err != nil {
		t.Errorf("the default: %v", err)
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
