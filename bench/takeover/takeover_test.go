package takeover

import (
	"context"
	"errors"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRun(t *testing.T) {
	t.Parallel()
	list, err := Run(t.Context(), Short())
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 4 {
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
	for _, o := range []Options{Default(), Long()} {
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
