package index

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"
	"pgregory.net/rapid"

	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/push"
)

// oracle is the naive index: the records, and predicate.Match for each.
type oracle map[uint32]*push.Record

func (o oracle) apply(u uint32, rec *push.Record) {
	if rec.Deleted {
		delete(o, u)
	} else {
		o[u] = rec
	}
}

func (o oracle) eval(n predicate.Node) *roaring.Bitmap {
	b := roaring.New()
	for u, rec := range o {
		if predicate.Match(n, subject{rec}) {
			b.Add(u)
		}
	}
	return b
}

type subject struct{ *push.Record }

func (s subject) Attr(slot uint8) string {
	if int(slot) >= len(s.Attrs) {
		return ""
	}
	return s.Attrs[slot]
}

func checkAgainst(t interface{ Fatalf(string, ...any) }, x *Index, o oracle, n predicate.Node) {
	want, got := o.eval(n), x.Eval(n)
	if !want.Equals(got) {
		t.Fatalf("%s: %d users, the oracle says %d; differing: %v", predicate.String(n),
			got.GetCardinality(), want.GetCardinality(), roaring.Xor(want, got))
	}
	if c := x.Count(n); c != want.GetCardinality() {
		t.Fatalf("%s: Count %d, the oracle says %d", predicate.String(n), c, want.GetCardinality())
	}
}

// checkInvariants recounts what the index keeps beside the postings.
func checkInvariants(t interface{ Fatalf(string, ...any) }, x *Index, o oracle) {
	terms := make(map[string]bool)
	for _, rec := range o {
		for _, tag := range rec.Tags {
			terms["t"+tag] = true
		}
		for s, v := range rec.Attrs {
			if v != "" {
				terms[fmt.Sprint(s, v)] = true
			}
		}
	}
	if x.Terms() != len(terms) {
		t.Fatalf("%d terms in the dictionary, the users have %d", x.Terms(), len(terms))
	}
	if x.Users() != uint64(len(o)) {
		t.Fatalf("%d users, want %d", x.Users(), len(o))
	}
	entries := 0
	for _, e := range x.terms.table {
		if e != 0 {
			entries++
		}
	}
	if entries != len(terms) {
		t.Fatalf("%d entries in the table for %d terms", entries, len(terms))
	}
	live := 0
	for i := range x.terms.all {
		if tm := &x.terms.all[i]; tm.n > 1 && tm.n != isBig {
			_, size := sizeClass(int(tm.n))
			live += size
		}
	}
	if x.postings.lists.live != live {
		t.Fatalf("the arena of lists says %d elements are in use, the terms use %d", x.postings.lists.live, live)
	}
}

func TestAgainstOracle(t *testing.T) {
	t.Parallel()
	names := []string{"a", "b", "c", "", "\x00", "\xff\xfe", strings.Repeat("long", 80), "z"}
	name := rapid.SampledFrom(names)
	local := rapid.OneOf(rapid.Uint32Range(0, 20), rapid.SampledFrom([]uint32{4095, 4096, 65535, 65536, 1<<20 - 1}))
	var node func(t *rapid.T, depth int) predicate.Node
	node = func(t *rapid.T, depth int) predicate.Node {
		k := rapid.IntRange(0, 8).Draw(t, "kind")
		if depth == 0 {
			k %= 5
		}
		switch k {
		case 0:
			return predicate.Tag{Name: name.Draw(t, "tag")}
		case 1:
			return predicate.Attr{Slot: rapid.SampledFrom([]uint8{0, 1, 9, 10, 255}).Draw(t, "slot"), Value: name.Draw(t, "value")}
		case 2:
			return predicate.HasAttr{Slot: rapid.SampledFrom([]uint8{0, 1, 9, 10, 255}).Draw(t, "slot")}
		case 3:
			return predicate.All{}
		case 4:
			return predicate.None{}
		case 5:
			return predicate.Not{Kid: node(t, depth-1)}
		}
		kids := make([]predicate.Node, rapid.IntRange(0, 4).Draw(t, "kids"))
		for i := range kids {
			kids[i] = node(t, depth-1)
		}
		if k == 6 {
			return predicate.Or{Kids: kids}
		}
		return predicate.And{Kids: kids}
	}
	rapid.Check(t, func(t *rapid.T) {
		x, o := New(), oracle{}
		for range rapid.IntRange(0, 60).Draw(t, "updates") {
			rec := &push.Record{Deleted: rapid.IntRange(0, 5).Draw(t, "deleted") == 0}
			for range rapid.IntRange(0, 5).Draw(t, "tags") {
				rec.AddTag(name.Draw(t, "tag"))
			}
			for _, s := range []int{0, 1, 9} {
				rec.Attrs[s] = name.Draw(t, "value")
			}
			u := local.Draw(t, "local")
			x.Apply(u, rec)
			o.apply(u, rec)
		}
		checkInvariants(t, x, o)
		for range 10 {
			checkAgainst(t, x, o, node(t, 3))
		}
	})
}

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
	const users = 6000
	c := churner{rand.New(rand.NewPCG(1, 2)), users}
	x, o := New(), oracle{}
	for round, heat := range []float64{1, 0.05, 0.8, 0, 1} {
		var batch []Update
		for range 2 * users {
			u, rec := uint32(c.IntN(users)*17), c.record(heat)
			batch = append(batch, Update{u, rec})
			o.apply(u, rec)
			if len(batch) == 64 {
				x.ApplyBatch(batch)
				batch = batch[:0]
			}
		}
		x.ApplyBatch(batch)
		checkInvariants(t, x, o)
		for range 60 {
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
	for i, b := range x.postings.bigs {
		if b.bits != nil {
			t.Errorf("bitmap %d outlived its term", i)
		}
	}
}

func TestTheResultIsTheCallers(t *testing.T) {
	t.Parallel()
	x, o := New(), oracle{}
	for u := range uint32(3000) {
		rec := &push.Record{Tags: []string{"all", "most"}}
		rec.Attrs[0] = "v"
		if u%2 == 0 {
			rec.Tags = []string{"all", "half", "most"}
		}
		if u%100 == 0 {
			rec.AddTag("few")
		}
		if u == 7 {
			rec.AddTag("one")
		}
		x.Apply(u, rec)
		o.apply(u, rec)
	}
	tag := func(s string) predicate.Node { return predicate.Tag{Name: s} }
	few, half, most, one := tag("few"), tag("half"), tag("most"), tag("one")
	forms := []predicate.Node{
		few, half, one, predicate.All{}, predicate.HasAttr{Slot: 0}, predicate.Not{Kid: few}, predicate.Not{Kid: half},
		predicate.Not{Kid: tag("nobody")}, predicate.And{}, predicate.And{Kids: []predicate.Node{few}},
		predicate.And{Kids: []predicate.Node{half}}, predicate.Or{Kids: []predicate.Node{few}},
		predicate.Or{Kids: []predicate.Node{half}}, predicate.Or{Kids: []predicate.Node{half, most}},
		predicate.Or{Kids: []predicate.Node{half, few, one}}, predicate.And{Kids: []predicate.Node{half, most}},
		predicate.And{Kids: []predicate.Node{most, predicate.Not{Kid: few}}},
		predicate.And{Kids: []predicate.Node{few, half, predicate.Not{Kid: one}}},
	}
	for _, n := range forms {
		got := x.Eval(n)
		got.Flip(0, 5000)
		got.RemoveRange(100, 2000)
	}
	for _, n := range forms {
		checkAgainst(t, x, o, n)
	}
}

func TestABatchIsSeenWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	x := New()
	records := []*push.Record{{Tags: []string{"a"}}, {Tags: []string{"b"}}}
	for i := range records {
		records[i].Attrs[3] = fmt.Sprint(i)
	}
	batch := make([]Update, 3000)
	fill := func(round int) {
		for u := range batch {
			batch[u] = Update{uint32(u), records[round%2]}
		}
		x.ApplyBatch(batch)
	}
	fill(0)
	either := predicate.Or{Kids: []predicate.Node{
		predicate.And{Kids: []predicate.Node{predicate.Tag{Name: "a"}, predicate.Attr{Slot: 3, Value: "0"}}},
		predicate.And{Kids: []predicate.Node{predicate.Tag{Name: "b"}, predicate.Attr{Slot: 3, Value: "1"}}},
	}}
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				if a := x.Eval(predicate.Tag{Name: "a"}).GetCardinality(); a != 0 && a != 3000 {
					t.Errorf("a batch half applied: %d", a)
				}
				if n := x.Count(either); n != 3000 {
					t.Errorf("%d users have one of the two records", n)
				}
				if i%16 == 0 {
					x.Bytes()
				}
			}
		})
	}
	for round := range 40 {
		fill(round + 1)
	}
	close(done)
	readers.Wait()
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
	for n := 60; n < 180; n++ {
		round(n)
		if b := x.Bytes(); b > most*5/4 {
			t.Fatalf("round %d: %d bytes, once at most %d", n, b, most)
		}
	}
	for u := range users {
		x.Apply(uint32(u), &push.Record{Deleted: true})
	}
	checkInvariants(t, x, oracle{})
	if live := x.terms.names.live + x.forward.runs.live + x.postings.lists.live; live != 0 {
		t.Errorf("%d elements of the arenas belong to nobody", live)
	}
}

func TestAValueWithOneUserCostsBytes(t *testing.T) {
	t.Parallel()
	const users = 100_000
	x := New()
	for u := range uint32(users) {
		x.Apply(u, &push.Record{})
	}
	before := x.Bytes()
	for u := range uint32(users) {
		rec := &push.Record{}
		rec.Attrs[4] = fmt.Sprintf("id-%08d", u)
		x.Apply(u, rec)
	}
	if each := (x.Bytes() - before) / users; each > 80 {
		t.Errorf("a value of one user costs %d bytes", each)
	}
}

func TestUpdatesOfListsDoNotAllocate(t *testing.T) {
	x := New()
	records := make([]*push.Record, 2)
	for i := range records {
		records[i] = &push.Record{Tags: []string{"a", "b", "c"}}
		records[i].AddTag(fmt.Sprintf("tag%d", i))
		records[i].Attrs[6] = fmt.Sprintf("city%d", i)
	}
	for u := range uint32(900) {
		x.Apply(u, records[u%2])
	}
	i := 0
	batch := make([]Update, 1)
	toggle := func() {
		for range 2 { // there and back, so that nothing grows
			i++
			batch[0] = Update{77, records[i%2]}
			x.ApplyBatch(batch)
		}
	}
	toggle()
	if n := testing.AllocsPerRun(200, toggle); n != 0 {
		t.Errorf("%v allocations for an update", n)
	}
}

func TestArenaSlotsHoldTheirRuns(t *testing.T) {
	t.Parallel()
	for n := 1; n < 5000; n++ {
		class, size := sizeClass(n)
		if size < n || size > n+n/8+1 || class >= classes {
			t.Fatalf("a run of %d has class %d, size %d", n, class, size)
		}
		if c, s := sizeClass(size); c != class || s != size {
			t.Fatalf("the slot of %d elements has class %d, a run as long %d", size, class, c)
		}
	}
	if class, _ := sizeClass(1 << 31); class >= classes {
		t.Fatalf("class %d", class)
	}
	rapid.Check(t, func(t *rapid.T) {
		var a arena[uint32]
		type run struct {
			off  uint32
			n    int
			mark uint32
		}
		var runs []run
		mark := uint32(0)
		for range rapid.IntRange(0, 80).Draw(t, "steps") {
			if len(runs) > 0 && rapid.Bool().Draw(t, "release") {
				i := rapid.IntRange(0, len(runs)-1).Draw(t, "which")
				a.release(runs[i].off, runs[i].n)
				runs = slices.Delete(runs, i, i+1)
				continue
			}
			n := rapid.OneOf(rapid.IntRange(1, 40), rapid.IntRange(1, 2*chunkLen)).Draw(t, "n")
			mark++
			r := run{a.alloc(n), n, mark}
			for j := range a.run(r.off, n) {
				a.run(r.off, n)[j] = mark
			}
			runs = append(runs, r)
		}
		live := 0
		for _, r := range runs {
			_, size := sizeClass(r.n)
			live += size
			for _, v := range a.run(r.off, r.n) {
				if v != r.mark {
					t.Fatalf("a run was overwritten")
				}
			}
		}
		if a.live != live {
			t.Fatalf("%d live, want %d", a.live, live)
		}
	})
}

// The input is a program: updates of a handful of users, then a predicate in its canonical spelling.
func FuzzIndex(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9}, `(and (tag "a") (not (attr 1 "b")))`)
	f.Add([]byte{0, 255, 1, 0, 255, 0}, `(or (has 1) (tag "c") (not all))`)
	f.Fuzz(func(t *testing.T, program []byte, spelt string) {
		n, err := predicate.Parse(spelt)
		if err != nil {
			return
		}
		x, o := New(), oracle{}
		for ; len(program) >= 3; program = program[3:] {
			rec := &push.Record{Deleted: program[1] == 255}
			for i, name := range []string{"a", "b", "c", "d", ""} {
				if program[1]>>i&1 == 1 {
					rec.AddTag(name)
				}
			}
			rec.Attrs[1] = []string{"", "a", "b", "\x00"}[program[2]&3]
			rec.Attrs[9] = []string{"", "a", "b", "\x00"}[program[2]>>2&3]
			u := uint32(program[0]) * 1021
			x.Apply(u, rec)
			o.apply(u, rec)
		}
		checkInvariants(t, x, o)
		checkAgainst(t, x, o, n)
		checkAgainst(t, x, o, predicate.Simplify(n))
	})
}
