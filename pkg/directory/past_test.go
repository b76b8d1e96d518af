package directory_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/directory"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// versions are those of an ordinal, oldest first.
func versions(t *testing.T, b *broker.Broker, o push.Ordinal) ([]wire.Version, uint64) {
	t.Helper()
	shard := b.Sharding().Shard(o)
	m, err := b.Last(t.Context(), wire.UsersStream(app, shard), wire.UserSubject(app, shard, o))
	if err != nil {
		t.Fatal(err)
	}
	v, err := wire.DecodeVersion(m.Data, m.Seq, m.Time, m.Header[wire.HeaderBefore])
	if err != nil {
		t.Fatal(err)
	}
	all, before, err := v.Versions()
	if err != nil {
		t.Fatal(err)
	}
	return all, before
}

// Whatever writes a record puts the one before into its past.
func TestEveryWriteRemembers(t *testing.T) {
	t.Parallel()
	b := start(t)
	d := directory.New(b)
	ordinals, err := d.Register(t.Context(), app, "u", "v")
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	set := directory.Change{Account: "u", Apply: func(r *push.Record) error { r.Attrs[3] = "x"; return nil }}
	must(d.Update(t.Context(), app, []directory.Change{addTag("u", "a"), addTag("v", "a"), addTag("u", "b")})) // one write of each
	must(d.Update(t.Context(), app, []directory.Change{addTag("u", "a")}))                                     // none
	must(d.Update(t.Context(), app, []directory.Change{set}))
	if _, err := d.Register(t.Context(), app, "u", "w"); err != nil { // none of u
		t.Fatal(err)
	}
	if _, err := d.Delete(t.Context(), app, "u"); err != nil {
		t.Fatal(err)
	}
	got, before := versions(t, b, ordinals["u"])
	want := []push.Record{
		{Account: "u"}, {Account: "u", Tags: []string{"a", "b"}}, {Account: "u", Tags: []string{"a", "b"}, Attrs: [push.AttrSlots]string{3: "x"}},
		{Account: "u", Deleted: true},
	}
	if len(got) != len(want) || before != 0 {
		t.Fatalf("%+v, before them %d", got, before)
	}
	for i, v := range got {
		if !v.Record.Equal(&want[i]) || i > 0 && (v.Seq <= got[i-1].Seq || v.At.Before(got[i-1].At)) {
			t.Errorf("version %d is %+v, want %+v", i, v, want[i])
		}
	}
	again, err := d.Register(t.Context(), app, "u")
	if err != nil {
		t.Fatal(err)
	}
	if all, before := versions(t, b, again["u"]); len(all) != 1 || before != 0 || again["u"] == ordinals["u"] {
		t.Errorf("registered again as %d: %+v, before them %d", again["u"], all, before)
	}
}

// Of writers that overtake each other, each remembers the one that was before it.
func TestConcurrentWritersForgetNothing(t *testing.T) {
	t.Parallel()
	b := start(t)
	d := directory.New(b)
	ordinals, err := d.Register(t.Context(), app, "u")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if err := d.Update(context.Background(), app, []directory.Change{addTag("u", fmt.Sprint("t", i))}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	all, before := versions(t, b, ordinals["u"])
	if len(all) != 21 || before != 0 {
		t.Fatalf("%d versions, before them %d", len(all), before)
	}
	for i, v := range all {
		if len(v.Record.Tags) != i {
			t.Errorf("version %d has tags %q", i, v.Record.Tags)
		}
		for _, tag := range v.Record.Tags {
			if later := all[min(i+1, 20)].Record; !later.HasTag(tag) {
				t.Errorf("version %d has no tag %q, which the one before it has", i+1, tag)
			}
		}
	}
}
