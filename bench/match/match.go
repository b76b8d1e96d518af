// Package match measures how long it takes to find who of a population a condition holds for, against the obvious way: a
// roaring bitmap for each tag and each attribute value.
package match

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/bench/report"
	"github.com/carillon-push/carillon/matcher/index"
	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// Options of a run. Use Default and change what differs.
type Options struct {
	// Users of one shard, with about ten tags and ten attribute values each.
	Users int
	// Samples are the conditions of each form that are drawn in a repeat.
	Samples int
	// Repeats, each with other conditions.
	Repeats int
	// Updates that are applied in a repeat while a reader matches.
	Updates int
}

// Default measures a million users in about a minute.
func Default() Options {
	return Options{Users: 1_000_000, Samples: 1000, Repeats: 3, Updates: 1 << 18}
}

// Short is a run for tests; what it measures means nothing.
func Short() Options { return Options{Users: 20_000, Samples: 20, Repeats: 2, Updates: 256} }

// Validate says what cannot work.
func (o Options) Validate() error {
	if o.Users < 1 || o.Users > int(push.DefaultSharding.Width()) {
		return fmt.Errorf("there are %d users; a shard has from 1 to %d", o.Users, push.DefaultSharding.Width())
	}
	if o.Samples < 1 || o.Repeats < 1 || o.Updates < 1 {
		return errors.New("samples, repeats and updates must be at least 1")
	}
	return nil
}

// batch is how many updates go together, as the matcher has it.
const batch = 64

// Run builds the index and changes it while it is asked, builds the peer, and then asks both of them conditions of every
// form, in turns, so that whatever else the machine does hits both alike. Every answer is compared.
func Run(ctx context.Context, o Options) ([]report.Figure, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("measure matching: %w", err)
	}
	p := population{users: o.Users}
	var m outcome
	var err error
	x := index.New()
	if m.heap, m.build, err = fill(ctx, p, x.ApplyBatch); err != nil {
		return nil, err
	}
	if m.updates, m.beside, err = churn(ctx, p, o, x); err != nil {
		return nil, err
	}
	naive := newPeer()
	if m.peerHeap, m.peerBuild, err = fill(ctx, p, naive.apply); err != nil {
		return nil, err
	}
	for i := range o.Repeats {
		if err := m.sample(ctx, draw(p, o, uint64(i)), x.Eval, naive.eval); err != nil {
			return nil, fmt.Errorf("measure matching: %w", err)
		}
	}
	return figures(o, m), nil
}

// fill gives every user's record to apply, and returns what that took of memory, in bytes, and of time in apply.
func fill(ctx context.Context, p population, apply func([]index.Update)) (heap uint64, took time.Duration, err error) {
	before := allocated()
	updates := make([]index.Update, 0, batch)
	for u := range p.users {
		updates = append(updates, index.Update{Local: uint32(u), Record: p.record(uint32(u))})
		if len(updates) < batch && u < p.users-1 {
			continue
		}
		if err := ctx.Err(); err != nil {
			return 0, 0, err
		}
		start := time.Now()
		apply(updates)
		took += time.Since(start)
		updates = updates[:0]
	}
	return allocated() - before, took, nil
}

// allocated is the live heap in bytes.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// samples of one form in one repeat.
type samples struct {
	evaluate, encode []float64 // milliseconds, in the order of the conditions
}

// take times one answer, and gives how many users it holds.
func (s *samples) take(eval func(predicate.Node) *roaring.Bitmap, n predicate.Node) (uint64, error) {
	start := time.Now()
	users := eval(n)
	evaluated := time.Since(start)
	_, err := wire.EncodeBitmap(users)
	s.evaluate = append(s.evaluate, milliseconds(evaluated))
	s.encode = append(s.encode, milliseconds(time.Since(start)-evaluated))
	return users.GetCardinality(), err
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// draw gives the conditions of one repeat: those of each form, in as many rounds as there are samples, and some rounds
// before them to warm up.
func draw(p population, o Options, repeat uint64) [][]predicate.Node {
	r := rand.New(rand.NewPCG(2, repeat))
	rounds := make([][]predicate.Node, warmRounds+o.Samples)
	for i := range rounds {
		for _, f := range forms {
			rounds[i] = append(rounds[i], f.draw(p, r))
		}
	}
	return rounds
}

// warmRounds are not counted.
const warmRounds = 20

// sample asks both sides, who take turns in being first.
func (m *outcome) sample(ctx context.Context, rounds [][]predicate.Node, ours, theirs func(predicate.Node) *roaring.Bitmap) error {
	a, b := make([]samples, len(forms)), make([]samples, len(forms))
	for i, round := range rounds {
		if err := ctx.Err(); err != nil {
			return err
		}
		if i == warmRounds {
			a, b = make([]samples, len(forms)), make([]samples, len(forms))
		}
		for j, n := range round {
			first, second := func() (uint64, error) { return a[j].take(ours, n) }, func() (uint64, error) { return b[j].take(theirs, n) }
			if i%2 > 0 {
				first, second = second, first
			}
			k, err := first()
			if err != nil {
				return err
			}
			l, err := second()
			if err != nil {
				return err
			}
			if k != l {
				return fmt.Errorf("the index and its peer find %d and %d users for %s", k, l, predicate.String(n))
			}
		}
	}
	m.ours, m.theirs = append(m.ours, a), append(m.theirs, b)
	return nil
}
