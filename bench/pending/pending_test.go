package pending

import (
	"context"
	"errors"
	"math/rand/v2"
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
	if len(list) != 2*len(spreads)+2+4*len(mixes) {
		t.Errorf("%d figures", len(list))
	}
	for i, f := range list {
		if against := i < 2*len(spreads); f.Value <= 0 || against && (f.Peer == nil || *f.Peer <= 0) {
			t.Errorf("nothing was measured: %v", f)
		}
	}
}

func TestAudience(t *testing.T) {
	t.Parallel()
	const n = 5000
	for _, s := range spreads {
		users, shards := uint64(0), s.audience(n, 12, rand.New(rand.NewPCG(1, 1)))
		for _, b := range shards {
			users += b.GetCardinality()
		}
		if users != n || len(shards) < n*s.share>>12 {
			t.Errorf("%s: %d users in %d shards", s.name, users, len(shards))
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
