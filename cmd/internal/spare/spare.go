// Package spare gives memory back to the system when a busy time has ended.
//
// Go keeps what a burst of logins, an import or a start has needed until the heap would grow into it again: as a rule as
// much again as what is in use, and for minutes. Once a process has little to do nobody needs that room, so it is worth one
// collection more. While it is busy nothing is given back, since it would be asked for again at once.
package spare

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// look is how often the heap is looked at.
	look = 250 * time.Millisecond
	// quietLooks is how many looks in a row must find little to do.
	quietLooks = 2
	// away is how far the next collection is away, at least, while there is little to do.
	away = 20 * time.Second
	// worth is what must be free before it is given back, in bytes.
	worth = 1 << 20
	// collections that the work itself must have asked for since the last one that was made for this: it never costs more
	// than half as much again.
	collections = 2
)

// usage of a heap at one time.
type usage struct {
	allocated uint64 // bytes since the start
	collected uint64 // collections since the start
	live      uint64 // bytes that the last collection has left
	goal      uint64 // size of the heap at which the next begins
	free      uint64 // bytes that hold nothing and were not given back
}

// Run gives memory back in quiet times until ctx ends.
func Run(ctx context.Context) {
	samples := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/cycles/total:gc-cycles"}, {Name: "/gc/heap/live:bytes"},
		{Name: "/gc/heap/goal:bytes"}, {Name: "/memory/classes/heap/free:bytes"},
	}
	read := func() usage {
		metrics.Read(samples)
		v := func(i int) uint64 { return samples[i].Value.Uint64() }
		return usage{v(0), v(1), v(2), v(3), v(4)}
	}
	k := newKeeper(read())
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select { // the ticker wakes it, ctx ends it
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if k.look(read()) {
			debug.FreeOSMemory()
			k.gave(read())
		}
	}
}

// keeper decides when to give back.
type keeper struct {
	last  usage
	since uint64 // collections when memory was last given back
	quiet int    // looks in a row that found little to do
}

func newKeeper(now usage) *keeper { return &keeper{last: now} }

// look is called every look, and says whether to give back now.
func (k *keeper) look(now usage) bool {
	did := now.allocated - k.last.allocated
	if k.last = now; did*uint64(away/look) > now.goal-min(now.live, now.goal) {
		k.quiet = 0
		return false
	}
	k.quiet++
	return k.quiet >= quietLooks && now.free >= worth && now.collected-k.since >= collections
}

// gave notes that it was done.
func (k *keeper) gave(now usage) { k.last, k.since, k.quiet = now, now.collected, 0 }
