package match

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/carillon-push/carillon/pkg/push"
)

// tags that there are; which of them users have follows Zipf's law with exponent 1.
const tags = 100_000

// cardinalities of the attributes, by slot; values follow Zipf's law with exponent 0.8.
var cardinalities = [push.AttrSlots]int{2, 5, 10, 50, 100, 350, 1000, 10_000, 100_000, 1_000_000}

const (
	tagPrefix   = "tag-"
	valuePrefix = "value-"
)

// names of all tags and values, by their ranks: made once, as most of a record's cost would be making its strings.
var names = sync.OnceValues(func() (ofTags, ofValues []string) {
	return numbered(tagPrefix, tags), numbered(valuePrefix, slices.Max(cardinalities[:]))
})

// alphabet gives each tag's place among the sorted names: to compare numbers is far cheaper.
var alphabet = sync.OnceValue(func() []uint32 {
	ofTags, _ := names()
	sorted := make([]uint32, tags)
	for i := range sorted {
		sorted[i] = uint32(i)
	}
	slices.SortFunc(sorted, func(a, b uint32) int { return strings.Compare(ofTags[a], ofTags[b]) })
	places := make([]uint32, tags)
	for place, t := range sorted {
		places[t] = uint32(place)
	}
	return places
})

func numbered(prefix string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = prefix + strconv.Itoa(i)
	}
	return list
}

// population makes the same user for the same number each time.
type population struct{ users int }

// person is one user in numbers: the ranks of the tags, without repeats, and of the value in each slot.
type person struct {
	tags   []uint32
	values [push.AttrSlots]uint32
}

// maker makes persons, of whom each is good until the next is asked for. It is of one goroutine.
type maker struct {
	source *rand.PCG
	r      *rand.Rand
	person person
}

func newMaker() *maker {
	source := rand.NewPCG(0, 0)
	return &maker{source: source, r: rand.New(source)}
}

// make a person with 1 to 100 tags, about ten on average, and a value in each slot.
func (m *maker) make(u uint32) *person {
	m.source.Seed(uint64(u), 41)
	who := &m.person
	who.tags = who.tags[:0]
	for range min(1+int(m.r.ExpFloat64()*9.5), push.MaxTags) {
		if t := tagRank(m.r); !slices.Contains(who.tags, t) {
			who.tags = append(who.tags, t)
		}
	}
	for slot := range who.values {
		who.values[slot] = valueRank(m.r, slot)
	}
	return who
}

// record is the same person as matching knows them.
func (m *maker) record(u uint32) *push.Record {
	ofTags, ofValues := names()
	places := alphabet()
	who := m.make(u)
	slices.SortFunc(who.tags, func(a, b uint32) int { return cmp.Compare(places[a], places[b]) })
	rec := &push.Record{Account: "u" + strconv.Itoa(int(u)), Tags: make([]string, len(who.tags))}
	for i, t := range who.tags {
		rec.Tags[i] = ofTags[t]
	}
	for slot, v := range who.values {
		rec.Attrs[slot] = ofValues[v]
	}
	return rec
}

// Record is that of one user of the population: 1 to 100 tags, about ten on average, and a value in each slot, always the
// same.
func Record(u uint32) *push.Record { return newMaker().record(u) }

// someone is the record of a random user.
func (p population) someone(r *rand.Rand) *push.Record { return Record(r.Uint32N(uint32(p.users))) }

func (p population) tag(r *rand.Rand) string {
	ofTags, _ := names()
	return ofTags[tagRank(r)]
}

func (p population) value(r *rand.Rand, slot int) string {
	_, ofValues := names()
	return ofValues[valueRank(r, slot)]
}

// Ranks are drawn from 0 to n-1 with a weight of about 1/(rank+1)^s: by the inverse of the density's integral, which
// math/rand's Zipf cannot do for s up to 1. What of it does not change from draw to draw is computed here.
var (
	tagScale   = math.Log(tags + 1)
	valueScale = func() (scale [push.AttrSlots]float64) {
		for slot, n := range cardinalities {
			scale[slot] = math.Pow(float64(n+1), 1-0.8) - 1
		}
		return scale
	}()
)

// tagRank is of exponent 1.
func tagRank(r *rand.Rand) uint32 {
	return uint32(min(int(math.Exp(r.Float64()*tagScale))-1, tags-1))
}

// valueRank is of exponent 0.8, so that the inverse is a fifth power.
func valueRank(r *rand.Rand, slot int) uint32 {
	x := 1 + r.Float64()*valueScale[slot]
	return uint32(min(int(x*x*x*x*x)-1, cardinalities[slot]-1))
}
