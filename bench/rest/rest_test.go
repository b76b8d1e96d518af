package rest

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
	if len(list) == 0 {
		t.Error("no figures")
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
		func(o *Options) { o.Users = 150 }, func(o *Options) { o.Users = 0 }, func(o *Options) { o.Callers = 0 },
	} {
		o := Short()
		change(&o)
		if _, err := Run(t.Context(), o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, Short()); !errors.Is(err, context.Canceled) {
		t.Errorf("after the context's end: %v", err)
	}
}

// TestTagging: the bodies are what the figures say of them.
func TestTagging(t *testing.T) {
	t.Parallel()
	n := 0
	for _, u := range tagging.body(names("u", 0))["UserTags"].([]any) {
		tags := u.(map[string]any)["Tags"].([]string)
		seen := map[string]bool{}
		for _, tag := range tags {
			seen[tag] = true
		}
		if len(seen) != len(tags) {
			t.Errorf("a tag is repeated: %v", tags)
		}
		n += len(tags)
	}
	if n != meanTags*together {
		t.Errorf("%d tags", n)
	}
}
