package match

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/carillon-push/carillon/bench/report"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRun(t *testing.T) {
	t.Parallel()
	list, err := Run(t.Context(), Short())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range list {
		if math.IsNaN(f.Value) || math.IsInf(f.Value, 0) || len(f.Values) == 0 {
			t.Errorf("nothing was measured: %v", f)
		}
		if slices.Contains(names, f.Name) {
			t.Errorf("two figures are called %q", f.Name)
		}
		names = append(names, f.Name)
	}
	// A database has a figure for each form, or it is told why it has none.
	for _, r := range rivals {
		n := 0
		for _, f := range list {
			if strings.HasSuffix(f.Name, "against "+r.how) {
				n++
			}
		}
		untold := !slices.ContainsFunc(list, func(f report.Figure) bool { return strings.Contains(f.Note, "without "+r.name+": ") })
		if n != len(forms) && (n > 0 || untold) {
			t.Errorf("%d figures against %s, untold %v", n, r.name, untold)
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
	for _, change := range []func(*Options){
		func(o *Options) { o.Users = 0 }, func(o *Options) { o.Users = 1 << 21 }, func(o *Options) { o.Samples = 0 },
		func(o *Options) { o.Users = 1001 }, func(o *Options) { o.Shards = 0 }, func(o *Options) { o.Shards = maxShards + 1 }, func(o *Options) { o.Visits = 0 },
		func(o *Options) { o.VastSamples = 0 }, func(o *Options) { o.Uniques = 0 }, func(o *Options) { o.Redis.Shards = 3 }, func(o *Options) { o.DuckDB.Samples = 0 },
	} {
		o := Short()
		change(&o)
		if _, err := Run(t.Context(), o); err == nil {
			t.Errorf("%+v was taken", o)
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
