package traffic

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/carillon-push/carillon/pkg/broker/brokertest"
)

func TestMain(m *testing.M) { brokertest.VerifyMain(m) }

// Each audience goes in once for each shard, and out once for the offline role and once for each gateway.
func TestRun(t *testing.T) {
	t.Parallel()
	o := Short()
	list, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if want := len(o.Shards) * len(o.Gateways) * len(kinds()) * 2; len(list) != want {
		t.Errorf("%d figures, want %d", len(list), want)
	}
	for _, f := range list {
		if f.Value <= 0 {
			t.Errorf("nothing was counted: %v", f)
		}
		if strings.Contains(f.Name, "10 % of the users of 40,000, 2 shards, 2 gateways: bytes") && (f.Value < 2*4*4000/1e6 || f.Value > 1) {
			t.Errorf("it cannot be: %v", f)
		}
	}
}

// A tag's users are as many as the kind says, and of one kind no more often of another.
func TestAudiences(t *testing.T) {
	t.Parallel()
	o := Short()
	all, err := audiences(o)
	if err != nil {
		t.Fatal(err)
	}
	for condition, want := range map[string]int{`all`: 20_000, `(tag "tenth")`: 2000, `(tag "hundredth")`: 200, `(tag "few")`: 2} {
		if n := int(all[condition].users.GetCardinality()); n < want*8/10-3 || n > want*12/10+3 {
			t.Errorf("%s has %d users, want about %d", condition, n, want)
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
