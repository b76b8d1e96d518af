package directory_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/directory"
	"github.com/carillon-push/carillon/pkg/push"
)

func TestMain(m *testing.M) { brokertest.VerifyMain(m) }

const app push.AppID = 7

func start(t *testing.T) *broker.Broker {
	b := brokertest.Start(t, func(c *broker.Config) { c.Sharding = 4 }) // many shards of 16
	if err := b.EnsureApp(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	return b
}

func addTag(account, tag string) directory.Change {
	return directory.Change{Account: account, Apply: func(r *push.Record) error { r.AddTag(tag); return nil }}
}

func TestRegisterIsIdempotentAndDense(t *testing.T) {
	t.Parallel()
	d := directory.New(start(t))
	var names []string
	for i := range 40 {
		names = append(names, fmt.Sprintf("u.%d *>\x00😀", i))
	}
	first, err := d.Register(t.Context(), app, names...)
	if err != nil {
		t.Fatal(err)
	}
	again, err := d.Register(t.Context(), app, append([]string{"new", "new"}, names...)...)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range names {
		if first[n] != push.Ordinal(i+1) || again[n] != first[n] {
			t.Errorf("%q has ordinal %d, then %d: want %d", n, first[n], again[n], i+1)
		}
	}
	if again["new"] != 41 {
		t.Errorf("the new account has ordinal %d, want 41", again["new"])
	}
}

func TestConcurrentRegistersAgree(t *testing.T) {
	t.Parallel()
	d := directory.New(start(t))
	var mu sync.Mutex
	got := map[string]push.Ordinal{}
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := range 20 {
				a, b := fmt.Sprint("u", (i+w)%20), fmt.Sprint("u", (i+w+1)%20)
				o, err := d.Register(context.Background(), app, a, b)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for n, v := range o {
					if old := got[n]; old != 0 && old != v {
						t.Errorf("%s has two ordinals, %d and %d", n, old, v)
					}
					got[n] = v
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

// Concurrent updates of one record lose nothing.
func TestUpdatesOfOneRecordAllCount(t *testing.T) {
	t.Parallel()
	d := directory.New(start(t))
	if _, err := d.Register(t.Context(), app, "u"); err != nil {
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
	users, err := d.Users(t.Context(), app, "u")
	if err != nil || len(users["u"].Record.Tags) != 20 {
		t.Fatalf("%d tags, %v: want 20", len(users["u"].Record.Tags), err)
	}
}

func TestUpdateIsAllOrNothing(t *testing.T) {
	t.Parallel()
	d := directory.New(start(t))
	if _, err := d.Register(t.Context(), app, "a", "b"); err != nil {
		t.Fatal(err)
	}
	err := d.Update(t.Context(), app, []directory.Change{addTag("a", "x"), addTag("nobody", "x"), addTag("b", "x")})
	var missing *directory.AccountError
	if !errors.As(err, &missing) || missing.Account != "nobody" || !errors.Is(err, directory.ErrNoAccount) {
		t.Fatalf("err = %v", err)
	}
	refused := errors.New("refused")
	err = d.Update(t.Context(), app, []directory.Change{addTag("a", "x"), {Account: "b", Apply: func(*push.Record) error { return refused }}})
	if !errors.Is(err, refused) {
		t.Fatalf("err = %v", err)
	}
	users, err := d.Users(t.Context(), app, "a", "b")
	if err != nil || len(users["a"].Record.Tags)+len(users["b"].Record.Tags) != 0 {
		t.Fatalf("something was written: %v, %v", users, err)
	}
}

func TestDeletedAccountComesBackAsAnother(t *testing.T) {
	t.Parallel()
	d := directory.New(start(t))
	before, err := d.Register(t.Context(), app, "u")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Update(t.Context(), app, []directory.Change{addTag("u", "x")}); err != nil {
		t.Fatal(err)
	}
	if o, err := d.Delete(t.Context(), app, "u"); err != nil || o != before["u"] {
		t.Fatalf("deleted %d, %v", o, err)
	}
	if _, err := d.Delete(t.Context(), app, "u"); !errors.Is(err, directory.ErrNoAccount) {
		t.Fatalf("deleted twice: %v", err)
	}
	if users, err := d.Users(t.Context(), app, "u"); err != nil || len(users) != 0 {
		t.Fatalf("still there: %v, %v", users, err)
	}
	after, err := d.Register(t.Context(), app, "u")
	if err != nil || after["u"] == before["u"] {
		t.Fatalf("ordinal %d again, %v", after["u"], err)
	}
	users, err := d.Users(t.Context(), app, "u")
	if err != nil || len(users["u"].Record.Tags) != 0 {
		t.Fatalf("it kept its tags: %v, %v", users, err)
	}
}

// A process that dies at any step of registering leaves nothing that the next one cannot complete: the account exists
// whole or not at all to its reader, and after a repeat it has one ordinal and a record that pushes can match.
func TestCrashWhileRegistering(t *testing.T) {
	t.Parallel()
	b := start(t)
	whole := directory.New(b)
	brokertest.EachCrash(t, b, func(view *broker.Broker, step int) {
		_, err := directory.New(view).Register(t.Context(), app, fmt.Sprint("a", step), fmt.Sprint("b", step))
		if err != nil && !errors.Is(err, brokertest.ErrCrash) {
			t.Errorf("step %d: %v", step, err)
		}
	}, func(step int) {
		names := []string{fmt.Sprint("a", step), fmt.Sprint("b", step)}
		if err := whole.Update(t.Context(), app, []directory.Change{}); err != nil {
			t.Fatal(err)
		}
		ordinals, err := whole.Register(t.Context(), app, names...)
		if err != nil || len(ordinals) != 2 {
			t.Fatalf("step %d: registering again: %v, %v", step, ordinals, err)
		}
		for _, n := range names {
			shard := b.Sharding().Shard(ordinals[n])
			if _, err := b.Last(t.Context(), "USERS_7_"+fmt.Sprint(shard), fmt.Sprintf("user.7.%d.%d", shard, ordinals[n])); err != nil {
				t.Errorf("step %d: %s has no record: %v", step, n, err)
			}
		}
	})
}

// A process that dies at any step of deleting leaves the account whole or deletable, never half of it in sight.
func TestCrashWhileDeleting(t *testing.T) {
	t.Parallel()
	b := start(t)
	whole := directory.New(b)
	name := func(step int) string { return fmt.Sprint("u", step) }
	for step := range 8 {
		if _, err := whole.Register(t.Context(), app, name(step)); err != nil {
			t.Fatal(err)
		}
	}
	brokertest.EachCrash(t, b, func(view *broker.Broker, step int) {
		if _, err := directory.New(view).Delete(t.Context(), app, name(step)); err != nil && !errors.Is(err, brokertest.ErrCrash) {
			t.Errorf("step %d: %v", step, err)
		}
	}, func(step int) {
		if _, err := whole.Delete(t.Context(), app, name(step)); err != nil && !errors.Is(err, directory.ErrNoAccount) {
			t.Errorf("step %d: deleting again: %v", step, err)
		}
		if users, err := whole.Users(t.Context(), app, name(step)); err != nil || len(users) != 0 {
			t.Errorf("step %d: still there: %v, %v", step, users, err)
		}
		if _, err := whole.Register(t.Context(), app, name(step)); err != nil {
			t.Errorf("step %d: registering anew: %v", step, err)
		}
	})
}

func TestAttrNames(t *testing.T) {
	t.Parallel()
	d := directory.New(start(t))
	if err := d.SetAttrNames(t.Context(), app, map[uint8]string{0: "sex", 3: "city"}); err != nil {
		t.Fatal(err)
	}
	if err := d.SetAttrNames(t.Context(), app, map[uint8]string{3: "town"}); err != nil {
		t.Fatal(err)
	}
	if err := d.SetAttrNames(t.Context(), app, map[uint8]string{4: "sex"}); !errors.Is(err, directory.ErrAttrName) {
		t.Fatalf("one name for two slots: %v", err)
	}
	names, err := d.AttrNames(t.Context(), app)
	if err != nil || names[0] != "sex" || names[3] != "town" {
		t.Fatalf("names %q, %v", names, err)
	}
	if s, ok := names.Slot("town"); s != 3 || !ok {
		t.Errorf("town is in slot %d, %v", s, ok)
	}
	if _, ok := names.Slot(""); ok {
		t.Error("an empty name has a slot")
	}
}
