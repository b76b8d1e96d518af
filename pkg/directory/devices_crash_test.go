package directory_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/directory"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// A process that dies at any step of moving a token, with a replaced and an evicted one beside it, has moved it or has not:
// it is never with two users, and registering again completes it.
func TestCrashWhileRegisteringADevice(t *testing.T) {
	t.Parallel()
	b := start(t)
	whole := directory.New(b)
	former, latter := func(step int) push.Ordinal { return push.Ordinal(100 + step) }, func(step int) push.Ordinal { return push.Ordinal(200 + step) }
	moving := func(step int) wire.Device { return seen(noon+9, named("pad", apns(fmt.Sprint("moving", step)))) }
	for step := range 3 { // what a run needs before it; EachCrash ends with the third
		register(t, whole, former(step), apns(fmt.Sprint("kept", step)), named("pad", apns(fmt.Sprint("moving", step))))
		for i := range wire.MaxDevices {
			register(t, whole, latter(step), seen(noon+int64(i), apns(fmt.Sprint("old", step, "-", i))))
		}
	}
	steps := 0
	brokertest.EachCrash(t, b, func(view *broker.Broker, step int) {
		steps++
		err := directory.New(view).RegisterDevice(t.Context(), app, latter(step), moving(step))
		if err != nil && !errors.Is(err, brokertest.ErrCrash) {
			t.Errorf("step %d: %v", step, err)
		}
	}, func(step int) {
		before, after := fmt.Sprintf("%d:moving%d", former(step), step), fmt.Sprintf("%d:moving%d", latter(step), step)
		got := tokens(t, b, former(step), latter(step))
		if slices.Contains(got, before) == slices.Contains(got, after) {
			t.Errorf("step %d left %q, want it with one of the two", step, got)
		}
		if err := whole.RegisterDevice(t.Context(), app, latter(step), moving(step)); err != nil {
			t.Errorf("step %d: registering again: %v", step, err)
		}
		got = tokens(t, b, former(step), latter(step))
		if slices.Contains(got, before) || !slices.Contains(got, after) || len(got) != 1+wire.MaxDevices {
			t.Errorf("step %d: %q after registering again", step, got)
		}
		if !isNobodys(t, b, apns(fmt.Sprint("old", step, "-", 0))) {
			t.Errorf("step %d: the token that went is still somebody's", step)
		}
	})
	if steps != 3 {
		t.Errorf("%d runs, want 3: one batch has a step before it and one behind it", steps)
	}
}

// A process that dies at any step of deleting an account leaves nothing that the next Delete or Register does not forget.
func TestCrashWhileDeletingAnAccountWithDevices(t *testing.T) {
	t.Parallel()
	for name, again := range map[string]func(*directory.Directory, string) error{
		"Delete": func(d *directory.Directory, name string) error {
			_, err := d.Delete(t.Context(), app, name)
			return err
		},
		"Register": func(d *directory.Directory, name string) error {
			_, err := d.Register(t.Context(), app, name)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := start(t)
			whole := directory.New(b)
			var user push.Ordinal
			account := func(step int) string { return fmt.Sprint("u", step) }
			brokertest.EachCrash(t, b, func(view *broker.Broker, step int) {
				ordinals, err := whole.Register(t.Context(), app, account(step))
				if err != nil {
					t.Fatal(err)
				}
				user = ordinals[account(step)]
				register(t, whole, user, apns(fmt.Sprint("a", step)), apns(fmt.Sprint("b", step)))
				_, err = directory.New(view).Delete(t.Context(), app, account(step))
				if err != nil && !errors.Is(err, brokertest.ErrCrash) {
					t.Errorf("step %d: %v", step, err)
				}
			}, func(step int) {
				left := tokens(t, b, user)
				users, err := whole.Users(t.Context(), app, account(step))
				if err != nil || len(users) > 0 && len(left) != 2 {
					t.Errorf("step %d: %v and devices %q, %v", step, users, left, err)
				}
				if len(users) > 0 {
					return // the tombstone was not written: the account is whole
				}
				if err := again(whole, account(step)); err != nil && !errors.Is(err, directory.ErrNoAccount) {
					t.Errorf("step %d: again: %v", step, err)
				}
				if left := tokens(t, b, user); len(left) > 0 {
					t.Errorf("step %d: %q are left", step, left)
				}
			})
		})
	}
}
