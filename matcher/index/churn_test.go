package index

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/push"
)

// churner draws records so that terms cross every form that postings have, both ways.
type churner struct {
	*rand.Rand
	users int
}

// record draws tags that half of the users have, or one in a hundred, or hardly two, scaled by heat from 0 to 1.
func (c churner) record(heat float64) *push.Record {
	rec := &push.Record{}
	if c.Float64() < 0.02 {
		rec.Deleted = true
		return rec
	}
	for i := range 6 {
		if c.Float64() < heat/float64(1+i*i*i) {
			rec.AddTag(fmt.Sprintf("hot%d", i))
		}
	}
	if c.Float64() < heat {
		rec.AddTag(fmt.Sprintf("cool%d", c.IntN(100)))
	}
	rec.AddTag(fmt.Sprintf("rare%d", c.IntN(c.users)))
	rec.Attrs[0] = fmt.Sprint(c.IntN(3))
	rec.Attrs[5] = fmt.Sprint(c.IntN(c.users))
	if c.IntN(2) == 0 {
		rec.Attrs[9] = "x"
	}
	return rec
}

func (c churner) node(depth int) predicate.Node {
	k := c.IntN(10)
	if depth == 0 {
		k %= 6
	}
	switch k {
	case 0, 1:
		return predicate.Tag{Name: fmt.Sprintf("hot%d", c.IntN(6))}
	case 2:
		return predicate.Tag{Name: fmt.Sprintf("cool%d", c.IntN(100))}
	case 3:
		return predicate.Tag{Name: fmt.Sprintf("rare%d", c.IntN(c.users))}
	case 4:
		return predicate.Attr{Slot: 0, Value: fmt.Sprint(c.IntN(3))}
	case 5:
		return predicate.HasAttr{Slot: 9}
	case 6:
		return predicate.Not{Kid: c.node(depth - 1)}
	}
	kids := make([]predicate.Node, 1+c.IntN(4))
	for i := range kids {
		kids[i] = c.node(depth - 1)
	}
	if k == 7 {
		return predicate.And{Kids: kids}
	}
	return predicate.Or{Kids: kids}
}

func TestChurnAgainstOracle(t *testing.T) {
	t.Parallel()
	const users = 12_000
	for name, local := range map[string]func(u int) uint32{
		"spread":                func(u int) uint32 { return uint32(u * 37) },             // over seven spans
		"on both sides":         func(u int) uint32 { return uint32(spanLen - 5000 + u) }, // bits in two spans
		"at the end of a shard": func(u int) uint32 { return uint32(1<<20 - 1 - u) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			churnAgainstOracle(t, users, local)
		})
	}
}

func churnAgainstOracle(t *testing.T, users int, local func(u int) uint32) {
	c := churner{rand.New(rand.NewPCG(1, 2)), users}
	x, o := New(), oracle{}
	for round, heat := range []float64{1, 0.05, 0.8, 0, 1} {
		var batch []Update
		for range 2 * users {
			u, rec := local(c.IntN(users)), c.record(heat)
			batch = append(batch, Update{u, rec})
			o.apply(u, rec)
			if len(batch) == 64 {
				x.ApplyBatch(batch)
				batch = batch[:0]
			}
		}
		x.ApplyBatch(batch)
		checkInvariants(t, x, o)
		for range 12 {
			checkAgainst(t, x, o, c.node(2))
		}
		// What a term has does not depend on the way that the fold came there.
		fresh := New()
		for u, rec := range o {
			fresh.Apply(u, rec)
			fresh.Apply(u, rec)
		}
		if n := c.node(3); !fresh.Eval(n).Equals(x.Eval(n)) {
			t.Fatalf("round %d: folded anew, %s differs", round, predicate.String(n))
		}
	}
	for u := range o {
		x.Apply(u, &push.Record{Deleted: true})
	}
	checkInvariants(t, x, oracle{})
	for i, b := range x.postings.blocks {
		if b != nil {
			t.Errorf("block %d outlived its term", i)
		}
	}
}

func TestChurnWhileReading(t *testing.T) {
	t.Parallel()
	const users = 4000
	c := churner{rand.New(rand.NewPCG(3, 4)), users}
	x, o := New(), oracle{}
	done := make(chan struct{})
	var readers sync.WaitGroup
	for i := range 2 {
		r := churner{rand.New(rand.NewPCG(5, uint64(i))), users}
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				n := r.node(3)
				if got := x.Eval(n); got.GetCardinality() > users {
					t.Errorf("%s: more users than there are", predicate.String(n))
				}
				x.Count(n)
			}
		})
	}
	for i := range 6 * users {
		u, rec := uint32(c.IntN(users)), c.record(float64(i/users%2))
		x.Apply(u, rec)
		o.apply(u, rec)
	}
	close(done)
	readers.Wait()
	for range 20 {
		checkAgainst(t, x, o, c.node(3))
	}
}

// Users whose values are always new, longer by and by, and whose number of tags swings: nothing of the past may stay.
func TestChurnDoesNotLeak(t *testing.T) {
	t.Parallel()
	const users = 3000
	x := New()
	var batch []Update
	round := func(n int) {
		for u := range users {
			rec := &push.Record{}
			rec.Attrs[7] = fmt.Sprintf("%d-%d%s", n, u, strings.Repeat("x", n%40))
			for i := range n % 30 {
				rec.AddTag(fmt.Sprintf("%d-%d", n, (u+i)%(10+n*7%users)))
			}
			batch = append(batch, Update{uint32(u), rec})
			if len(batch) == 64 {
				x.ApplyBatch(batch)
				batch = batch[:0]
			}
		}
	}
	most := 0
	for n := range 60 {
		round(n)
		most = max(most, x.Bytes())
	}
	for n := 60; n < 120; n++ {
		round(n)
		if b := x.Bytes(); b > most*5/4 {
			t.Fatalf("round %d: %d bytes, once at most %d", n, b, most)
		}
	}
	for u := range users {
		x.Apply(uint32(u), &push.Record{Deleted: true})
	}
	checkInvariants(t, x, oracle{})
	if live := x.terms.names.live + x.forward.runs.live + x.postings.tables.live + x.postings.arrays.live; live != 0 {
		t.Errorf("%d elements of the arenas belong to nobody", live)
	}
}
