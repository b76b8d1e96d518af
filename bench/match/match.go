// Package match measures how long it takes to find who of a population a condition holds for: over one shard, ten and a
// hundred; against the obvious way, a roaring bitmap for each tag and each attribute value; against databases, each of which
// is given the same users and asked the same conditions in the same run; and against the physical limit, a plain loop over
// dense bitmaps. Whatever counts users is compared.
package match

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/carillon-push/carillon/bench/report"
	"github.com/carillon-push/carillon/pkg/push"
)

// Options of a run. Use Default and change what differs.
type Options struct {
	// Users of one shard, with about ten tags and ten attribute values each.
	Users int
	// Shards of the large population, each of other users.
	Shards int
	// Visits of every shard make a population that is as many times larger without being in memory.
	Visits int
	// Samples are the conditions of each form that are drawn in a repeat for one shard, ManySamples for all shards, and
	// VastSamples for their visits.
	Samples, ManySamples, VastSamples int
	// Repeats, each with other conditions.
	Repeats int
	// Updates that are applied in a repeat while a reader matches.
	Updates int
	// Uniques are the values that one user each has, to see what such a value takes.
	Uniques int

	PostgreSQL, Redis, DuckDB Share
	// Install says that a database which is not there is to be installed where that is possible; else it is left out.
	Install bool
}

// Share is what a database gets to do.
type Share struct {
	// Shards of users that it is given; 0 leaves it out.
	Shards int
	// Samples are the conditions of each form that it is asked in a repeat.
	Samples int
}

// Default measures for about five minutes on an idle machine.
func Default() Options {
	return Options{
		Users: 1_000_000, Shards: 10, Visits: 10, Samples: 1000, ManySamples: 200, VastSamples: 50, Repeats: 3, Updates: 1 << 18, Uniques: 200_000,
		PostgreSQL: Share{1, 20}, Redis: Share{10, 20}, DuckDB: Share{1, 10}, Install: true,
	}
}

// Long gives all users to every database.
func Long() Options {
	o := Default()
	o.PostgreSQL.Shards, o.Redis.Shards, o.DuckDB.Shards = o.Shards, o.Shards, o.Shards
	o.DuckDB.Samples = 5
	return o
}

// Short is a run for tests; what it measures means nothing. It asks those databases that are there.
func Short() Options {
	return Options{
		Users: 20_000, Shards: 2, Visits: 2, Samples: 20, ManySamples: 10, VastSamples: 5, Repeats: 2, Updates: 256, Uniques: 5000,
		PostgreSQL: Share{1, 3}, Redis: Share{2, 3}, DuckDB: Share{1, 2},
	}
}

// maxShards keeps a run's memory within 12 GiB.
const maxShards = 16

// Validate says what cannot work.
func (o Options) Validate() error {
	if o.Users < 8 || o.Users%8 > 0 || o.Users > int(push.DefaultSharding.Width()) {
		return fmt.Errorf("there are %d users; a shard has from 8 to %d, and a multiple of 8, so that it ends where a byte of a bitmap does", o.Users, push.DefaultSharding.Width())
	}
	if o.Shards < 1 || o.Shards > maxShards || o.Visits < 1 {
		return fmt.Errorf("there are %d shards and %d visits of each; there must be from 1 to %d shards, and a visit", o.Shards, o.Visits, maxShards)
	}
	if min(o.Samples, o.ManySamples, o.VastSamples, o.Repeats, o.Updates, o.Uniques) < 1 {
		return errors.New("samples, repeats, updates and unique values must be at least 1")
	}
	for _, s := range []Share{o.PostgreSQL, o.Redis, o.DuckDB} {
		if s.Shards < 0 || s.Shards > o.Shards || s.Shards > 0 && s.Samples < 1 {
			return fmt.Errorf("a database gets %d samples of %d shards; there are %d shards, and of samples there must be one", s.Samples, s.Shards, o.Shards)
		}
	}
	return nil
}

// outcome is everything that a run has measured.
type outcome struct {
	one, many, vast  comparison // over one shard, over all, and over all visited several times
	build, peerBuild time.Duration
	heap, peerHeap   int64     // bytes
	manyHeap         int64     // bytes, of all shards
	updates, beside  []float64 // a second; milliseconds
	file             file
	unique           float64   // bytes
	bandwidth        []float64 // GB/s
	rivals           []rivalry
}

// Run builds the index of one shard and changes it while it is asked, and asks it and roaring bitmaps in turns, so that
// whatever else the machine does hits both alike. Then it builds the other shards and asks all of them, and in turns with
// them one database after the other.
func Run(ctx context.Context, o Options) ([]report.Figure, error) {
	m, err := measure(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("measure matching: %w", err)
	}
	return slices.Concat(figures(o, m), rivalFigures(o, m)), nil
}

func measure(ctx context.Context, o Options) (m outcome, err error) {
	if err := o.Validate(); err != nil {
		return m, err
	}
	alphabet() // makes all names, which are nobody's memory
	before := allocated()
	x := make(shards, 1, o.Shards)
	if x[0], m.build, err = fill(ctx, o, 0); err != nil {
		return m, err
	}
	m.heap = allocated() - before
	p := population{users: o.Users}
	if m.updates, m.beside, err = churn(ctx, p, o, x[0]); err != nil {
		return m, err
	}
	if err := m.againstRoaring(ctx, o, x); err != nil {
		return m, err
	}
	if m.file, err = snapshot(ctx, o, x[0]); err != nil {
		return m, err
	}
	m.unique = uniqueBytes(o)
	if x, err = fillRest(ctx, o, x); err != nil {
		return m, err
	}
	m.manyHeap = allocated() - before

	p.users *= o.Shards
	limit := newDense(p.users)
	m.bandwidth = limit.bandwidth(o.Repeats)
	if m.many, err = compare(ctx, p, o.ManySamples, o.Repeats, 1<<8, x, limit); err != nil {
		return m, err
	}
	limit = nil
	if m.vast, err = compare(ctx, p, o.VastSamples, o.Repeats, 1<<16, visited{x, o.Visits}, nil); err != nil {
		return m, err
	}
	m.rivals, err = againstRivals(ctx, o, x)
	return m, err
}

// againstRoaring compares one shard with a roaring bitmap a term.
func (m *outcome) againstRoaring(ctx context.Context, o Options, x shards) (err error) {
	before := allocated()
	terms := newRoaring()
	if m.peerBuild, err = apply(ctx, o, 0, terms.apply); err != nil {
		return err
	}
	m.peerHeap = allocated() - before
	m.one, err = compare(ctx, population{users: o.Users}, o.Samples, o.Repeats, 0, x, terms)
	return err
}

// allocated is the live heap in bytes.
func allocated() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
