package soak

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/carillon-push/carillon/cmd/internal/soak/lab"
)

// offered are the troubles of a cluster, with all that a lab has.
func offered(t *testing.T, cfg ClusterConfig) []Offer {
	t.Helper()
	cfg.Binary, cfg.Broker, cfg.Dir = "carillon", []string{"broker"}, t.TempDir()
	c, err := NewCluster(cfg, t.Errorf)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if cfg.Nodes == 1 {
		return c.Troubles()
	}
	with := Cluster{processes: c.processes, net: new(lab.Network), disks: map[string]*lab.Disk{"broker-3": nil}}
	return with.Troubles()
}

// listing is a schedule as text, an action a line.
func listing(t *testing.T, cfg Config) []string {
	t.Helper()
	var lines []string
	for a := range Schedule(cfg, offered(t, ChaosCluster())) {
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

// Times only grow and end with the duration, every kind of action is there, nobody is disturbed while being disturbed, and
// of the broker's nodes only one at a time, or the two that are meant to be.
func TestSchedule(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		cfg     Config
		cluster ClusterConfig
		whats   []string
	}{
		"one broker":  {Default(), DefaultCluster(), []string{Kill, Term, Stop}},
		"three nodes": {Chaos(), ChaosCluster(), []string{Kill, Term, Stop, CutOff, CutOut, CutIn, Late, DiskFull, DiskSlow}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := test.cfg
			kinds, whats, habits := map[string]int{}, map[string]int{}, map[Habit]int{}
			free := map[string]Moment{}
			pushes, last := 0, Moment(0)
			for a := range Schedule(cfg, offered(t, test.cluster)) {
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
				case a.Remove != nil:
					kinds["remove"]++
				case a.Kick != nil:
					kinds["kick"]++
				case a.Trouble != nil:
					whats[a.Trouble.What]++
					who := a.Trouble.Slot
					if isNode(who) {
						who = Broker
					}
					if free[who] > a.At {
						t.Fatalf("%s is disturbed twice at %v", a.Trouble.Slot, a.At)
					}
					free[who] = a.At + a.Trouble.For + recovery
					if a.Trouble.For > mostCut {
						t.Fatalf("%s is disturbed for %v", a.Trouble.Slot, a.Trouble.For)
					}
				default:
					t.Fatalf("an action that does nothing at %v", a.At)
				}
			}
			if len(habits) != 6 || len(kinds) < 22 || kinds["remove"] == 0 || kinds["kick"] == 0 {
				t.Errorf("not all is tried: %v %v", habits, kinds)
			}
			for _, what := range test.whats {
				if whats[what] == 0 {
					t.Errorf("nothing is disturbed by: %s", what)
				}
			}
			if len(whats) != len(test.whats) {
				t.Errorf("troubles: %v", whats)
			}
		})
	}
}

// The runs of CI are too short to leave to chance what they try.
func TestTheShortRunsTryABitOfEverything(t *testing.T) {
	t.Parallel()
	killed, done := map[string]bool{}, map[string]bool{}
	for a := range Schedule(Short(), offered(t, DefaultCluster())) {
		if a.Trouble != nil && a.Trouble.What == Kill {
			role, _, _ := strings.Cut(a.Trouble.Slot, "-")
			killed[role] = true
		}
	}
	for _, role := range []string{Broker, Ingest, Matcher, Deliver, Offline} {
		if !killed[role] {
			t.Errorf("the soak kills no %s", role)
		}
	}
	for a := range Schedule(ShortChaos(), offered(t, ChaosCluster())) {
		if a.Trouble != nil {
			done[a.Trouble.What] = true
			done[Trouble{Slot: a.Trouble.Slot, What: a.Trouble.What}.label()] = true
		}
	}
	for _, what := range []string{"broker kill -9", CutOff, Late, DiskFull, DiskSlow} {
		if !done[what] {
			t.Errorf("chaos lacks %q: %v", what, done)
		}
	}
}
