package match

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
	if want := len(forms) + 4; len(list) != want {
		t.Errorf("%d figures, want %d", len(list), want)
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
	for _, change := range []func(*Options){
		func(o *Options) { o.Users = 0 }, func(o *Options) { o.Users = 1 << 21 }, func(o *Options) { o.Samples = 0 },
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

// TestPopulation: the numbers of users that the forms are drawn by.
func TestPopulation(t *testing.T) {
	t.Parallel()
	p := population{users: 5000}
	first, tagged, values := 0, 0, map[string]int{}
	for u := range uint32(p.users) {
		rec := Record(u)
		tagged += len(rec.Tags)
		if rec.HasTag("tag-0") {
			first++
		}
		values[rec.Attrs[0]]++
	}
	if mean := tagged / p.users; mean < 8 || mean > 12 {
		t.Errorf("%d tags a user", mean)
	}
	if share := first * 100 / p.users; share < 20 || share > 70 {
		t.Errorf("%d %% have the most frequent tag", share)
	}
	if len(values) != cardinalities[0] {
		t.Errorf("values of the first attribute: %v", values)
	}
}
