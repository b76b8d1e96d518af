package soak

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

// listing is a schedule as text, an action a line.
func listing(t *testing.T, cfg Config) []string {
	t.Helper()
	var lines []string
	for a := range Schedule(cfg, []string{Broker, "deliver-1", "deliver-2"}) {
		b, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(b))
	}
	return lines
}

func TestASeedGivesOneSchedule(t *testing.T) {
	t.Parallel()
	cfg := Short()
	first := listing(t, cfg)
	if !slices.Equal(first, listing(t, cfg)) {
		t.Error("the same seed gives another schedule")
	}
	cfg.Seed++
	if slices.Equal(first, listing(t, cfg)) {
		t.Error("another seed gives the same schedule")
	}
}

// Times only grow and end with the duration, every kind of action is there, and nobody is disturbed while being disturbed.
func TestSchedule(t *testing.T) {
	t.Parallel()
	cfg := Default()
	kinds, whats, habits := map[string]int{}, map[string]int{}, map[Habit]int{}
	free := map[string]Moment{}
	pushes, last := 0, Moment(0)
	for a := range Schedule(cfg, []string{Broker, "deliver-1", "deliver-2", "matcher-1"}) {
		if a.At < last || a.At >= cfg.Duration {
			t.Fatalf("an action at %v, after one at %v", a.At, last)
		}
		last = a.At
		switch {
		case a.Presence != nil:
			kinds["presence"]++
			habits[a.Presence.Habit]++
			if a.Presence.User >= cfg.Users || a.Presence.Until <= a.At {
				t.Fatalf("%+v at %v", a.Presence, a.At)
			}
		case a.Edit != nil:
			kinds[a.Edit.Via]++
			if len(a.Edit.Users) == 0 || len(a.Edit.Facts) == 0 {
				t.Fatalf("%+v changes nothing", a.Edit)
			}
		case a.Push != nil:
			kinds[a.Push.Kind]++
			if a.Push.N != pushes {
				t.Fatalf("push %d after %d pushes", a.Push.N, pushes)
			}
			pushes++
		case a.Revoke != nil:
			kinds["revoke"]++
			if *a.Revoke >= pushes {
				t.Fatalf("push %d is revoked after %d pushes", *a.Revoke, pushes)
			}
		case a.Trouble != nil:
			whats[a.Trouble.What]++
			if free[a.Trouble.Slot] > a.At {
				t.Fatalf("%s is disturbed twice at %v", a.Trouble.Slot, a.At)
			}
			free[a.Trouble.Slot] = a.At + a.Trouble.For + recovery
			if a.Trouble.For > 4*time.Second {
				t.Fatalf("%s is down for %v", a.Trouble.Slot, a.Trouble.For)
			}
		default:
			t.Fatalf("an action that does nothing at %v", a.At)
		}
	}
	if len(whats) != 3 || len(habits) != 6 || len(kinds) < 20 {
		t.Errorf("not all is tried: %v %v %v", whats, habits, kinds)
	}
}

// The run of CI is too short to leave to chance what it kills.
func TestTheShortRunKillsEveryRole(t *testing.T) {
	t.Parallel()
	cluster, err := NewCluster(func() ClusterConfig {
		c := DefaultCluster()
		c.Binary, c.Broker, c.Dir = "carillon", []string{"broker"}, t.TempDir()
		return c
	}(), t.Errorf)
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	killed := map[string]bool{}
	for a := range Schedule(Short(), cluster.Slots()) {
		if a.Trouble != nil && a.Trouble.What == Kill {
			role, _, _ := strings.Cut(a.Trouble.Slot, "-")
			killed[role] = true
		}
	}
	for _, role := range []string{Broker, Ingest, Matcher, Deliver, Offline} {
		if !killed[role] {
			t.Errorf("no %s is killed", role)
		}
	}
}
