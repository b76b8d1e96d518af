package soak

import (
	"iter"
	"math/rand/v2"
	"time"
)

// Action is one thing to do, at a moment of the schedule. Exactly one of its fields is set.
type Action struct {
	At       Moment
	Presence *Presence
	Edit     *Edit
	Push     *Push
	Revoke   *int // the number of the push
	Trouble  *Disturbance
	Remove   *Removal
	Kick     *int // the account
}

// Presence is a user who comes online, on one device, and stays.
type Presence struct {
	User  int
	Until Moment
	Habit Habit
	// Seed decides the rest: which gateway, how long the pauses, when the connection is cut.
	Seed uint64
}

// Habit is how a client behaves.
type Habit string

// Habits.
const (
	Steady    Habit = "steady"    // reads, answers and acknowledges
	Forgetful Habit = "forgetful" // never acknowledges
	Cutting   Habit = "cutting"   // cuts the connection right after some acknowledgements
	Stalling  Habit = "stalling"  // stops reading for seconds
	HalfOpen  Habit = "half-open" // at some moment neither reads nor answers any more
	Mute      Habit = "mute"      // reads, but answers no ping, and never acknowledges
)

// Edit is one call that changes users.
type Edit struct {
	// Via is the command, or "patch" for the native interface.
	Via   string
	Users []int
	Facts map[Fact]string
}

// Disturbance is something to do to a process.
type Disturbance struct {
	Slot, What string
	// For is how long the process is down, or stopped.
	For time.Duration
}

// Offer is something that may be done to some slots: how often it is drawn against others, and for how long it is done.
type Offer struct {
	What        string
	Slots       []string
	Weight      int
	Least, Most time.Duration
}

// source gives the actions of one kind. Each has random numbers of its own, so that more of one kind does not change
// the others.
type source struct {
	rand *rand.Rand
	next Moment
	gap  func() time.Duration
	make func(at Moment) (Action, bool)
}

// Schedule is everything that is to be done to a service that may be disturbed so, in the order of time. It depends on nothing
// but its arguments.
func Schedule(cfg Config, offers []Offer) iter.Seq[Action] {
	return func(yield func(Action) bool) {
		sources := []*source{cfg.presences(), cfg.edits(), cfg.pushes(), cfg.troubles(offers), cfg.exits()}
		for {
			var first *source
			for _, s := range sources {
				if s.gap != nil && s.next < cfg.Duration && (first == nil || s.next < first.next) {
					first = s
				}
			}
			if first == nil {
				return
			}
			a, any := first.make(first.next)
			a.At = first.next
			first.next += first.gap()
			if any && !yield(a) {
				return
			}
		}
	}
}

func (c Config) rand(kind uint64) *rand.Rand { return rand.New(rand.NewPCG(c.Seed, kind)) }

// around draws a time whose mean is given, at most ten times that.
func around(r *rand.Rand, mean time.Duration) time.Duration {
	return time.Duration(min(r.ExpFloat64(), 10) * float64(mean))
}

func every(perSecond float64) time.Duration { return time.Duration(float64(time.Second) / perSecond) }

// presences fill the sessions in the first seconds, and then keep their number.
func (c Config) presences() *source {
	r := c.rand(1)
	s, n := &source{rand: r}, 0
	ramp := min(c.Duration/5, 15*time.Second)
	s.gap = func() time.Duration {
		if n++; n < c.Sessions {
			return ramp / time.Duration(c.Sessions)
		}
		return around(r, c.Stay/time.Duration(c.Sessions))
	}
	s.make = func(at Moment) (Action, bool) {
		p := &Presence{User: r.IntN(c.Users), Until: at + 200*time.Millisecond + around(r, c.Stay), Habit: c.habit(r), Seed: r.Uint64()}
		if r.IntN(5) == 0 { // some users have several devices
			p.User = r.IntN(1 + c.Users/20)
		}
		return Action{Presence: p}, true
	}
	return s
}

func (c Config) habit(r *rand.Rand) Habit {
	switch n := r.IntN(100); {
	case n < 65:
		return Steady
	case n < 75:
		return Forgetful
	case n < 84:
		return Cutting
	case n < 91:
		return Stalling
	case n < 96:
		return HalfOpen
	}
	return Mute
}

// pushes, and some time later the revocations of some.
func (c Config) pushes() *source {
	r, when := c.rand(3), c.rand(4)
	s, n := &source{rand: r}, 0
	s.gap = func() time.Duration { return around(when, every(c.Pushes+c.Revocations)) }
	s.make = func(Moment) (Action, bool) {
		if n > 0 && r.Float64()*(c.Pushes+c.Revocations) < c.Revocations {
			target := n - 1 - r.IntN(min(n, 20))
			return Action{Revoke: &target}, true
		}
		p := drawPush(r, c.Duration)
		p.N = n
		n++
		return Action{Push: p}, true
	}
	return s
}

// exits are accounts that operators delete, and sessions that they end.
func (c Config) exits() *source {
	r := c.rand(7)
	s := &source{rand: r}
	if c.Removals+c.Kicks == 0 {
		return s
	}
	s.next = min(c.Duration/5, 10*time.Second)
	s.gap = func() time.Duration { return around(r, every(c.Removals+c.Kicks)) }
	s.make = func(Moment) (Action, bool) {
		account := r.IntN(c.Users)
		if r.Float64()*(c.Removals+c.Kicks) < c.Kicks {
			return Action{Kick: &account}, true
		}
		return Action{Remove: &Removal{Account: account, Pause: time.Duration(r.Int64N(int64(5 * time.Second)))}}, true
	}
	return s
}

// Roles of the cluster's processes; a slot is a role and a number.
const (
	Broker  = "broker"
	Ingest  = "ingest"
	Matcher = "matcher"
	Deliver = "deliver"
	Offline = "offline"
)

// recovery is the time that a process is given after it was restarted, before it may be disturbed again. Nodes of the broker
// share it: of three, one may be lost at a time.
const recovery = 5 * time.Second

func (c Config) troubles(offers []Offer) *source {
	r := c.rand(5)
	s := &source{rand: r}
	if c.Troubles == 0 || len(offers) == 0 {
		return s
	}
	all := 0
	for _, o := range offers {
		all += o.Weight
	}
	s.next = min(c.Duration/5, 10*time.Second)
	s.gap = func() time.Duration { return 50*time.Millisecond + around(r, c.Troubles-50*time.Millisecond) }
	free := map[string]Moment{}
	s.make = func(at Moment) (Action, bool) {
		o, n := 0, r.IntN(all)
		for n >= offers[o].Weight {
			n -= offers[o].Weight
			o++
		}
		offer := offers[o]
		d := &Disturbance{Slot: offer.Slots[r.IntN(len(offer.Slots))], What: offer.What, For: offer.Least + time.Duration(r.Int64N(int64(offer.Most-offer.Least)))}
		who := d.Slot
		if isNode(who) {
			who = Broker
		}
		if free[who] > at {
			return Action{}, false
		}
		free[who] = at + d.For + recovery
		return Action{Trouble: d}, true
	}
	return s
}
