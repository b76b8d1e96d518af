package index

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/push"
)

// benchUsers fill one shard of the default width almost wholly. Each has about ten tags of 100,000 (Zipf, s = 1) and a
// value in all ten slots, of 2 to 1,000,000 (Zipf, s = 0.8).
const benchUsers = 1_000_000

const benchTags = 100_000

var benchValues = [push.AttrSlots]int{2, 5, 10, 50, 100, 350, 1000, 10_000, 100_000, 1_000_000}

// zipf draws by inverting the continuous distribution; near enough to the discrete one for an index's shape.
func zipf(r *rand.Rand, n int, s float64) int {
	u := r.Float64()
	if s == 1 {
		return int(math.Pow(float64(n+1), u)) - 1
	}
	top := math.Pow(float64(n+1), 1-s)
	return int(math.Pow(1+u*(top-1), 1/(1-s))) - 1
}

func benchTag(r *rand.Rand) string { return "tag-" + strconv.Itoa(zipf(r, benchTags, 1)) }

func benchValue(r *rand.Rand, slot int) string {
	return "value-" + strconv.Itoa(zipf(r, benchValues[slot], 0.8))
}

// benchRecord is the record of user u, always the same.
func benchRecord(u uint32) *push.Record {
	r := rand.New(rand.NewPCG(uint64(u), 17))
	rec := &push.Record{Account: "u" + strconv.Itoa(int(u))}
	for range min(push.MaxTags, 1+int(r.ExpFloat64()*9.5)) {
		rec.AddTag(benchTag(r))
	}
	for s := range rec.Attrs {
		rec.Attrs[s] = benchValue(r, s)
	}
	return rec
}

type shard struct {
	*Index
	heap uint64 // bytes, measured
	took time.Duration
}

// fullShard is folded once for all benchmarks; those that change it put back what was.
var fullShard = sync.OnceValue(func() shard {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	x := New()
	batch := make([]Update, 0, 64)
	var took time.Duration
	for u := range uint32(benchUsers) {
		batch = append(batch, Update{u, benchRecord(u)})
		if len(batch) == cap(batch) {
			t := time.Now()
			x.ApplyBatch(batch)
			took += time.Since(t)
			batch = batch[:0]
		}
	}
	x.ApplyBatch(batch)
	runtime.GC()
	runtime.ReadMemStats(&after)
	return shard{x, after.HeapAlloc - before.HeapAlloc, took}
})

func BenchmarkFold(b *testing.B) {
	s := fullShard()
	for b.Loop() {
	}
	b.ReportMetric(benchUsers/s.took.Seconds(), "users/s")
	b.ReportMetric(float64(s.heap)/benchUsers, "heap-B/user")
	b.ReportMetric(float64(s.Bytes())/benchUsers, "Bytes()-B/user")
	b.ReportMetric(float64(s.terms.bytes())/benchUsers, "terms-B/user")
	b.ReportMetric(float64(s.postings.bytes())/benchUsers, "postings-B/user")
	b.ReportMetric(float64(s.forward.bytes())/benchUsers, "forward-B/user")
	b.ReportMetric(float64(s.Terms()), "terms")
}

// BenchmarkBuild is the same by a Builder.
func BenchmarkBuild(b *testing.B) {
	for b.Loop() {
		x := NewBuilder(1 << 20)
		batch := make([]Update, 0, 64)
		var took time.Duration
		for u := range uint32(benchUsers) {
			batch = append(batch, Update{u, benchRecord(u)})
			if len(batch) == cap(batch) || u == benchUsers-1 {
				t := time.Now()
				x.ApplyBatch(batch)
				took += time.Since(t)
				batch = batch[:0]
			}
		}
		t := time.Now()
		users := x.Index().Users()
		took += time.Since(t)
		if users != benchUsers {
			b.Fatal(users)
		}
		b.ReportMetric(benchUsers/took.Seconds(), "users/s")
	}
}

type form struct {
	name string
	draw func(r *rand.Rand) predicate.Node
}

func tagsOf(n int, draw func(*rand.Rand) string) func(*rand.Rand) []predicate.Node {
	return func(r *rand.Rand) []predicate.Node {
		var kids []predicate.Node
		for len(kids) < n {
			if k := predicate.Node(predicate.Tag{Name: draw(r)}); !slices.Contains(kids, k) {
				kids = append(kids, k)
			}
		}
		return kids
	}
}

func topTag(n int) func(*rand.Rand) string {
	return func(r *rand.Rand) string { return "tag-" + strconv.Itoa(r.IntN(n)) }
}

// ofUser draws n terms of one user, so that their conjunction holds for somebody.
func ofUser(r *rand.Rand, n int) []predicate.Node {
	for {
		rec := benchRecord(uint32(r.IntN(benchUsers)))
		if len(rec.Tags) < n {
			continue
		}
		var kids []predicate.Node
		for _, i := range r.Perm(len(rec.Tags))[:n] {
			kids = append(kids, predicate.Tag{Name: rec.Tags[i]})
		}
		return kids
	}
}

func benchAttr(r *rand.Rand, slot int) predicate.Node {
	return predicate.Attr{Slot: uint8(slot), Value: benchValue(r, slot)}
}

var forms = []form{
	{"Tag", func(r *rand.Rand) predicate.Node { return predicate.Tag{Name: benchTag(r)} }},
	{"RareValue", func(r *rand.Rand) predicate.Node { return benchAttr(r, 9) }},
	{"TagsAnd2", func(r *rand.Rand) predicate.Node { return predicate.And{Kids: ofUser(r, 2)} }},
	{"TagsAnd2Top50", func(r *rand.Rand) predicate.Node { return predicate.And{Kids: tagsOf(2, topTag(50))(r)} }},
	{"TagsAnd10", func(r *rand.Rand) predicate.Node { return predicate.And{Kids: ofUser(r, 10)} }},
	{"TagsOr2", func(r *rand.Rand) predicate.Node { return predicate.Or{Kids: tagsOf(2, benchTag)(r)} }},
	{"TagsOr10", func(r *rand.Rand) predicate.Node { return predicate.Or{Kids: tagsOf(10, benchTag)(r)} }},
	{"TagsOr10Top20", func(r *rand.Rand) predicate.Node { return predicate.Or{Kids: tagsOf(10, topTag(20))(r)} }},
	{"TagsOr10And10", func(r *rand.Rand) predicate.Node {
		return predicate.And{Kids: append(ofUser(r, 10), predicate.Or{Kids: tagsOf(10, topTag(50))(r)})}
	}},
	{"AttrsAnd2", func(r *rand.Rand) predicate.Node {
		rec := benchRecord(uint32(r.IntN(benchUsers)))
		return predicate.And{Kids: []predicate.Node{
			predicate.Attr{Slot: 6, Value: rec.Attrs[6]}, predicate.Attr{Slot: 1, Value: rec.Attrs[1]}}}
	}},
	{"AttrsAnd2Dense", func(r *rand.Rand) predicate.Node {
		return predicate.And{Kids: []predicate.Node{benchAttr(r, 0), benchAttr(r, 2)}}
	}},
	{"AttrsOr10", func(r *rand.Rand) predicate.Node {
		var kids []predicate.Node
		for s := range push.AttrSlots {
			kids = append(kids, benchAttr(r, s))
		}
		return predicate.Or{Kids: kids}
	}},
	{"HasAttr", func(r *rand.Rand) predicate.Node { return predicate.HasAttr{Slot: uint8(r.IntN(10))} }},
	{"All", func(*rand.Rand) predicate.Node { return predicate.All{} }},
	{"Not", func(r *rand.Rand) predicate.Node { return predicate.Not{Kid: predicate.Tag{Name: benchTag(r)}} }},
	{"Nested", func(r *rand.Rand) predicate.Node {
		t := tagsOf(4, benchTag)(r)
		return predicate.Or{Kids: []predicate.Node{
			predicate.And{Kids: []predicate.Node{
				predicate.Or{Kids: t[:2]}, predicate.Not{Kid: t[2]},
				predicate.Or{Kids: []predicate.Node{benchAttr(r, 6), benchAttr(r, 6), benchAttr(r, 6)}}}},
			predicate.And{Kids: []predicate.Node{benchAttr(r, 1), t[3]}}}}
	}},
}

func BenchmarkEval(b *testing.B) {
	benchmarkForms(b, func(x *Index, n predicate.Node) { x.Eval(n) })
}

func BenchmarkCount(b *testing.B) {
	benchmarkForms(b, func(x *Index, n predicate.Node) { x.Count(n) })
}

func BenchmarkEncode(b *testing.B) {
	benchmarkForms(b, func(x *Index, n predicate.Node) { x.Append(nil, n) })
}

// manyShards are ten full shards, ten million users; a tenth of that with -short. Their users are the same, but not the
// memory that these are in.
var manyShards = sync.OnceValue(func() []*Index {
	n := 10
	if testing.Short() {
		n = 1
	}
	var file bytes.Buffer
	if err := fullShard().Write(&file); err != nil {
		panic(err)
	}
	shards := make([]*Index, n)
	for i := range shards {
		x, err := Read(bytes.NewReader(file.Bytes()), 1<<20)
		if err != nil {
			panic(err)
		}
		shards[i] = x
	}
	return shards
})

// BenchmarkEncodeShards asks one shard after another.
func BenchmarkEncodeShards(b *testing.B) {
	shards := manyShards()
	benchmarkForms(b, func(_ *Index, n predicate.Node) {
		for _, x := range shards {
			x.Append(nil, n)
		}
	})
}

func benchmarkForms(b *testing.B, ask func(*Index, predicate.Node)) {
	x := fullShard().Index
	for _, f := range forms {
		b.Run(f.name, func(b *testing.B) {
			r := rand.New(rand.NewPCG(9, 9))
			nodes := make([]predicate.Node, 256)
			for i := range nodes {
				nodes[i] = f.draw(r)
			}
			took := make([]time.Duration, 0, 1<<16)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				t := time.Now()
				ask(x, nodes[i%len(nodes)])
				took = append(took, time.Since(t))
			}
			reportPercentiles(b, took)
		})
	}
}

func reportPercentiles(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// benchUpdates are records of random users with one thing changed, and what puts them back; each one changes the index.
func benchUpdates(change func(r *rand.Rand, rec *push.Record), n int) []Update {
	r := rand.New(rand.NewPCG(4, 2))
	var there, back []Update
	seen := make(map[uint32]bool)
	for len(there) < n {
		u := uint32(r.IntN(benchUsers))
		if seen[u] {
			continue
		}
		seen[u] = true
		was := benchRecord(u)
		is := was.Clone()
		change(r, &is)
		there, back = append(there, Update{u, &is}), append(back, Update{u, was})
	}
	return append(there, back...)
}

func BenchmarkApply(b *testing.B) {
	for _, kind := range []struct {
		name   string
		change func(r *rand.Rand, rec *push.Record)
	}{
		{"Value", func(r *rand.Rand, rec *push.Record) { rec.Attrs[6] = benchValue(r, 6) }},
		{"Tag", func(r *rand.Rand, rec *push.Record) { rec.AddTag(benchTag(r)) }},
		{"Same", func(*rand.Rand, *push.Record) {}},
	} {
		updates := benchUpdates(kind.change, 1<<16)
		b.Run(kind.name, func(b *testing.B) {
			applyAll(b, fullShard().Index, updates)
		})
	}
}

// BenchmarkApplyWhileEval has one reader ask all forms in turn; p99 is the reader's.
func BenchmarkApplyWhileEval(b *testing.B) {
	x := fullShard().Index
	updates := benchUpdates(func(r *rand.Rand, rec *push.Record) { rec.Attrs[6] = benchValue(r, 6) }, 1<<16)
	r := rand.New(rand.NewPCG(9, 9))
	var nodes []predicate.Node
	for range 64 {
		for _, f := range forms {
			nodes = append(nodes, f.draw(r))
		}
	}
	done := make(chan struct{})
	var took []time.Duration
	var reader sync.WaitGroup
	reader.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			t := time.Now()
			x.Eval(nodes[i%len(nodes)])
			took = append(took, time.Since(t))
		}
	})
	applyAll(b, x, updates)
	close(done)
	reader.Wait()
	reportPercentiles(b, took)
}

// applyAll applies the updates round and round in batches of 64, and leaves the index as it was.
func applyAll(b *testing.B, x *Index, updates []Update) {
	const batch = 64
	at := 0
	b.ReportAllocs()
	for b.Loop() {
		// One iteration is one update; a batch is applied once for 64 of them.
		if at++; at%batch == 0 {
			x.ApplyBatch(updates[at-batch : at])
		}
		if at == len(updates) {
			at = 0
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "updates/s")
	x.ApplyBatch(updates[len(updates)/2:])
}

func ExampleIndex() {
	x := New()
	x.ApplyBatch([]Update{
		{1, &push.Record{Tags: []string{"cats", "dogs"}}},
		{2, &push.Record{Tags: []string{"cats"}}},
	})
	fmt.Println(x.Eval(predicate.And{Kids: []predicate.Node{
		predicate.Tag{Name: "cats"}, predicate.Not{Kid: predicate.Tag{Name: "dogs"}},
	}}).ToArray())
	// Output: [2]
}
