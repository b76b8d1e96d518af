package index

import (
	"bytes"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

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

// A value that one user has costs bytes when it appears, when it is changed for another that is as new, and when it goes.
func TestAValueWithOneUserCostsBytes(t *testing.T) {
	const users = 50_000
	x := New()
	batch := make([]Update, 64)
	rec := make([]push.Record, len(batch))
	round := func(value func(u uint32) string) {
		for u := range uint32(users) {
			rec[u%64] = push.Record{}
			rec[u%64].Attrs[4] = value(u)
			if batch[u%64] = (Update{u, &rec[u%64]}); u%64 == 63 || u == users-1 {
				x.ApplyBatch(batch[:u%64+1])
			}
		}
	}
	none := func(uint32) string { return "" }
	round(none)
	before := x.Bytes()
	values := make([]string, users)
	for n := range 12 {
		for u := range values {
			values[u] = fmt.Sprintf("id-%02d-%08d", n, u)
		}
		var from, to runtime.MemStats
		runtime.ReadMemStats(&from)
		round(func(u uint32) string { return values[u] })
		runtime.ReadMemStats(&to)
		if each := (to.TotalAlloc - from.TotalAlloc) / users; each > 200 {
			t.Errorf("round %d: a value that is new allocates %d bytes", n, each)
		}
		if each := (x.Bytes() - before) / users; each > 80 {
			t.Errorf("round %d: a value of one user costs %d bytes", n, each)
		}
	}
	round(none)
	if x.Terms() != 0 {
		t.Errorf("%d terms that nobody has", x.Terms())
	}
	// What is left is what the dictionary had room for; its names and the users' own terms are gone.
	if each := (x.Bytes() - before) / users; each > 40 {
		t.Errorf("a value that is gone costs %d bytes", each)
	}
}

// A user whose records follow one another in one batch is as the last one says.
func TestAUserTwiceInABatch(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		x, o := New(), oracle{}
		for range rapid.IntRange(1, 3).Draw(t, "batches") {
			var batch []Update
			for range rapid.IntRange(1, 150).Draw(t, "updates") {
				u := Update{uint32(rapid.IntRange(0, 4).Draw(t, "user")), &push.Record{Deleted: rapid.IntRange(0, 4).Draw(t, "deleted") == 0}}
				if !u.Record.Deleted {
					for _, tag := range rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "d"}), 0, 5).Draw(t, "tags") {
						u.Record.AddTag(tag)
					}
					u.Record.Attrs[3] = rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "value")
				}
				batch = append(batch, u)
				o.apply(u.Local, u.Record)
			}
			x.ApplyBatch(batch)
		}
		checkInvariants(t, x, o)
		for _, tag := range []string{"a", "b", "c", "d"} {
			checkAgainst(t, x, o, predicate.Not{Kid: predicate.Tag{Name: tag}})
		}
		checkAgainst(t, x, o, predicate.HasAttr{Slot: 3})
		checkAgainst(t, x, o, predicate.Attr{Slot: 3, Value: "x"})
	})
}

// A writer does not wait for who reads; who reads after it sees what it wrote. Terms that come and go meanwhile are
// forgotten when nothing waits any more.
func TestWritersDoNotWaitForReaders(t *testing.T) {
	t.Parallel()
	x, o := New(), oracle{}
	apply := func(u uint32, tags ...string) {
		rec := &push.Record{Tags: tags}
		x.Apply(u, rec)
		o.apply(u, rec)
	}
	apply(1, "a")
	x.mu.RLock() // somebody evaluates
	apply(1, "b")
	apply(2, "a", "c")
	apply(2, "c")
	apply(1, "a")
	if !x.queue.waits.Load() {
		t.Fatal("the changes do not wait for the reader")
	}
	x.mu.RUnlock()
	checkAgainst(t, x, o, predicate.Tag{Name: "a"})
	checkAgainst(t, x, o, predicate.Tag{Name: "b"})
	checkAgainst(t, x, o, predicate.Tag{Name: "c"})
	checkInvariants(t, x, o)

	// The queue is bounded: with too much in it the writer waits after all.
	x.mu.RLock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for u := range uint32(maxQueue) {
			x.Apply(u, &push.Record{Tags: []string{"d", "e"}})
		}
	}()
	for { // until the writer waits, which keeps readers out
		if !x.mu.TryRLock() {
			break
		}
		x.mu.RUnlock()
		runtime.Gosched()
	}
	x.mu.RUnlock()
	<-done
	if n := x.Count(predicate.Tag{Name: "e"}); n != maxQueue {
		t.Fatalf("%d users have the tag, want %d", n, maxQueue)
	}
}

func TestEncodeAllocatesItsResultAlone(t *testing.T) {
	x := sampleIndex(5000)
	n := predicate.And{Kids: []predicate.Node{
		predicate.Or{Kids: []predicate.Node{predicate.Tag{Name: "third"}, predicate.Tag{Name: "own-8"}, predicate.HasAttr{Slot: 1}}},
		predicate.Not{Kid: predicate.Attr{Slot: 3, Value: "1"}},
	}}
	x.Append(nil, n)
	// The race detector takes scratch away at random, as a collection does: then it is made anew. Once is enough.
	least := math.Inf(1)
	for range 1000 {
		least = min(least, testing.AllocsPerRun(1, func() { x.Append(nil, n) }))
	}
	if n := least; n > 1 {
		t.Errorf("%v allocations for an evaluation", n)
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

// Any mixture of array, bits and runs is laid out as one that roaring reads, and with Users, as EncodeBitmap does.
func TestEncodeIsEval(t *testing.T) {
	t.Parallel()
	x := sampleIndex(5000)
	for _, n := range []predicate.Node{
		predicate.All{}, predicate.None{}, predicate.Tag{Name: "third"}, predicate.Tag{Name: "own-7"}, predicate.HasAttr{Slot: 3},
		predicate.Not{Kid: predicate.Tag{Name: "third"}}, predicate.Not{Kid: predicate.All{}},
	} {
		want, err := wire.EncodeBitmap(x.Eval(n))
		if err != nil {
			t.Fatal(err)
		}
		data, users := x.Append(nil, n)
		if !bytes.Equal(data, want) || users != x.Count(n) {
			t.Errorf("%s: %d users in %d bytes; want %d in %d", predicate.String(n), users, len(data), x.Count(n), len(want))
		}
	}
}
