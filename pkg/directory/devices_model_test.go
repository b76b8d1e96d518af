package directory_test

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/directory"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// oracle is the naive store of devices: one table of all of an app's, searched from end to end.
type oracle []row

type row struct {
	owner push.Ordinal
	dev   wire.Device
}

func (m oracle) register(owner push.Ordinal, dev wire.Device) oracle {
	if dev.ID == "" {
		dev.ID = wire.TokenHash(dev.Channel, dev.Token)
	}
	dev.At = dev.Seen
	for _, r := range m {
		same := r.dev.ID == dev.ID && r.dev.Channel == dev.Channel && r.dev.Token == dev.Token && r.dev.Platform == dev.Platform
		if r.owner == owner && same && dev.Seen-r.dev.Seen < day {
			return m
		}
	}
	var next, own oracle
	for _, r := range m {
		sameToken := r.dev.Channel == dev.Channel && r.dev.Token == dev.Token
		switch {
		case r.owner != owner && sameToken:
		case r.owner == owner && (sameToken || r.dev.ID == dev.ID):
			dev.At, dev.Seen = min(dev.At, r.dev.At), max(dev.Seen, r.dev.Seen)
		case r.owner == owner:
			own = append(own, r)
		default:
			next = append(next, r)
		}
	}
	slices.SortFunc(own, func(a, b row) int {
		return cmp.Or(cmp.Compare(a.dev.Seen, b.dev.Seen), cmp.Compare(a.dev.ID, b.dev.ID))
	})
	if len(own) == wire.MaxDevices {
		own = own[1:]
	}
	return append(append(next, own...), row{owner, dev})
}

func (m oracle) forget(owner push.Ordinal, which func(wire.Device) bool) oracle {
	return slices.DeleteFunc(slices.Clone(m), func(r row) bool { return r.owner == owner && which(r.dev) })
}

func (m oracle) lists() map[push.Ordinal][]wire.Device {
	lists := map[push.Ordinal][]wire.Device{}
	for _, r := range m {
		lists[r.owner] = append(lists[r.owner], r.dev)
	}
	for _, devices := range lists {
		slices.SortFunc(devices, func(a, b wire.Device) int { return cmp.Compare(a.ID, b.ID) })
	}
	return lists
}

func sameLists(a, b map[push.Ordinal][]wire.Device) bool {
	return maps.EqualFunc(a, b, slices.Equal[[]wire.Device])
}

// step is one change of the store, and of the oracle.
type step struct {
	what   string
	do     func(*directory.Directory) error
	expect func(oracle) oracle
}

// anyStep draws a change: few users and tokens, so that they meet.
func anyStep(t *testing.T, r *rand.Rand, users []push.Ordinal, now int64) step {
	o := users[r.IntN(len(users))]
	dev := wire.Device{Channel: []string{"apns", "fcm"}[r.IntN(2)], Token: fmt.Sprint("t", r.IntN(30)), Seen: now}
	if r.IntN(2) == 0 {
		dev.ID = fmt.Sprint("id", r.IntN(20))
	}
	if r.IntN(8) == 0 {
		dev.Platform = "iPad"
	}
	id := cmp.Or(dev.ID, wire.TokenHash(dev.Channel, dev.Token))
	switch n := r.IntN(100); {
	case n < 90:
		return step{
			fmt.Sprintf("register %v, token %s, with %d", dev, dev.Token, o),
			func(d *directory.Directory) error { return d.RegisterDevice(t.Context(), app, o, dev) },
			func(m oracle) oracle { return m.register(o, dev) },
		}
	case n < 94:
		return step{
			fmt.Sprintf("remove token %s from %d", dev.Token, o),
			func(d *directory.Directory) error {
				return d.RemoveDevice(t.Context(), app, o, dev.Channel, dev.Token)
			},
			func(m oracle) oracle {
				return m.forget(o, func(x wire.Device) bool { return x.Channel == dev.Channel && x.Token == dev.Token })
			},
		}
	case n < 99:
		return step{
			fmt.Sprintf("forget %s of %d", id, o),
			func(d *directory.Directory) error { return d.ForgetDevice(t.Context(), app, o, id) },
			func(m oracle) oracle { return m.forget(o, func(x wire.Device) bool { return x.ID == id }) },
		}
	default:
		return step{
			fmt.Sprintf("forget all of %d", o),
			func(d *directory.Directory) error { return d.DeleteDevices(t.Context(), app, o) },
			func(m oracle) oracle { return m.forget(o, func(wire.Device) bool { return true }) },
		}
	}
}

// Whatever is done, and whenever the process that does it dies, the store has what the oracle has before or after it.
func TestDevicesAreAsTheOracleSays(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			b := start(t)
			r := rand.New(rand.NewPCG(seed, 1))
			users := []push.Ordinal{1, 2, 17}
			now := noon
			var m oracle
			full := false
			for i := range 200 {
				now += r.Int64N(day / 4)
				s := anyStep(t, r, users, now)
				view, died := b, func() bool { return false }
				if r.IntN(4) == 0 {
					view, died = brokertest.Crashing(b, r.IntN(2))
				}
				err := s.do(directory.New(view))
				if err != nil && (!died() || !errors.Is(err, brokertest.ErrCrash)) {
					t.Fatalf("%d, %s: %v", i, s.what, err)
				}
				tokens(t, b, users...)
				got, err2 := directory.New(b).Devices(t.Context(), app, users...)
				if err2 != nil {
					t.Fatal(err2)
				}
				before, after := m, s.expect(m)
				for _, r := range m.lists() {
					full = full || len(r) == wire.MaxDevices
				}
				switch {
				case sameLists(got, after.lists()):
					m = after
				case err == nil || !sameLists(got, before.lists()):
					t.Fatalf("%d, %s, %v: %v, want %v", i, s.what, err, got, after.lists())
				}
			}
			if !full {
				t.Error("no user has had as many devices as may be")
			}
		})
	}
}

// Registrations of the same tokens with several users at once, from two directories, some of which die: nobody ever sees a
// token with two users, and in the end each token is with one of those who registered it.
func TestTokensNeverHaveTwoUsers(t *testing.T) {
	t.Parallel()
	b := start(t)
	users := []push.Ordinal{1, 2, 17, 40, 41}
	const workers, rounds, held = 6, 15, 8 // fewer tokens than a user may have, so that none goes for want of room
	var writers, watcher sync.WaitGroup
	done := make(chan struct{})
	watcher.Go(func() {
		d := directory.New(b)
		for { // each look wakes the next; the end of the writers ends it
			select {
			case <-done:
				return
			default:
			}
			lists, err := d.Devices(t.Context(), app, users...)
			if err != nil {
				t.Error(err)
				return
			}
			owners := map[string]push.Ordinal{}
			for o, devices := range lists {
				for _, dev := range devices {
					if other := owners[dev.Token]; other != 0 {
						t.Errorf("token %s is with users %d and %d", dev.Token, other, o)
					}
					owners[dev.Token] = o
				}
			}
		}
	})
	shared := []*directory.Directory{directory.New(b), directory.New(b.Faulty(func(string) error { return nil }))}
	for w := range workers {
		writers.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 2))
			for range rounds {
				o, token := users[r.IntN(len(users))], fmt.Sprint("t", r.IntN(held))
				d, died := shared[w%2], func() bool { return false }
				if r.IntN(5) == 0 {
					var view *broker.Broker
					view, died = brokertest.Crashing(b, r.IntN(3))
					d = directory.New(view)
				}
				var err error
				if r.IntN(5) == 0 {
					err = d.RemoveDevice(t.Context(), app, o, "apns", token)
				} else {
					err = d.RegisterDevice(t.Context(), app, o, apns(token))
				}
				if err != nil && !died() {
					t.Error(err)
				}
			}
			for i := range held { // a last one that lives, so that each token is somebody's
				if err := shared[w%2].RegisterDevice(t.Context(), app, users[(w+i)%len(users)], apns(fmt.Sprint("t", i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	close(done)
	watcher.Wait()
	if got := tokens(t, b, users...); len(got) != held {
		t.Errorf("%q, want each of %d tokens with one user", got, held)
	}
}
