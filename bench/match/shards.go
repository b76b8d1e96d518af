package match

import (
	"context"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/matcher/index"
	"github.com/carillon-push/carillon/pkg/predicate"
)

// shards of a population: the first has its first users, and so on.
type shards []*index.Index

// ask finds who the condition holds for in one shard after the other, by one goroutine, and lays each shard's audience out as the
// matcher does: the one is not done without the other.
func (s shards) ask(_ context.Context, n predicate.Node) (a answer, err error) {
	var room []byte // one for all, as the matcher uses one again
	for _, x := range s {
		start := time.Now()
		var users uint64
		room, users = x.Append(room[:0], n)
		a.whole += time.Since(start)
		a.users += users
	}
	a.found = a.whole
	return a, nil
}

// visited is shards that are gone through several times for one condition.
type visited struct {
	shards
	times int
}

func (v visited) ask(ctx context.Context, n predicate.Node) (sum answer, err error) {
	for range v.times {
		a, err := v.shards.ask(ctx, n)
		if err != nil {
			return answer{}, err
		}
		sum.users += a.users
		sum.found += a.found
		sum.whole += a.whole
	}
	return sum, nil
}

// batch is how many updates go together, as the matcher has it.
const batch = 64

// fill makes the index of one shard, and returns how long applying the records took.
func fill(ctx context.Context, o Options, shard int) (*index.Index, time.Duration, error) {
	x := index.New()
	took, err := apply(ctx, o, shard, x.ApplyBatch)
	return x, took, err
}

// fillRest makes the shards that are missing, as many at once as there are cores.
func fillRest(ctx context.Context, o Options, have shards) (shards, error) {
	all := make(shards, o.Shards)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.NumCPU())
	for i := copy(all, have); i < len(all); i++ {
		g.Go(func() (err error) {
			all[i], _, err = fill(ctx, o, i)
			return err
		})
	}
	return all, g.Wait()
}

// apply gives every user's record of a shard to f, and returns how long f took.
func apply(ctx context.Context, o Options, shard int, f func([]index.Update)) (took time.Duration, err error) {
	updates := make([]index.Update, 0, batch)
	m := newMaker()
	for u := range o.Users {
		updates = append(updates, index.Update{Local: uint32(u), Record: m.record(uint32(shard*o.Users + u))})
		if len(updates) < batch && u < o.Users-1 {
			continue
		}
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		start := time.Now()
		f(updates)
		took += time.Since(start)
		updates = updates[:0]
	}
	return took, nil
}
