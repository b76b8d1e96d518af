package match

import (
	"math"
	"math/rand/v2"
	"strconv"

	"github.com/carillon-push/carillon/pkg/push"
)

// tags that there are; which of them users have follows Zipf's law with exponent 1.
const tags = 100_000

// cardinalities of the attributes, by slot; values follow Zipf's law with exponent 0.8.
var cardinalities = [push.AttrSlots]int{2, 5, 10, 50, 100, 350, 1000, 10_000, 100_000, 1_000_000}

// population makes the same user for the same number each time.
type population struct{ users int }

// record has 1 to 100 tags, about ten on average, and a value in each slot.
func (p population) record(u uint32) *push.Record {
	r := rand.New(rand.NewPCG(uint64(u), 41))
	rec := &push.Record{Account: "u" + strconv.Itoa(int(u))}
	for range min(1+int(r.ExpFloat64()*9.5), push.MaxTags) {
		rec.AddTag(p.tag(r))
	}
	for slot := range rec.Attrs {
		rec.Attrs[slot] = p.value(r, slot)
	}
	return rec
}

// Record is that of one user of the population: 1 to 100 tags, about ten on average, and a value in each slot, always the
// same.
func Record(u uint32) *push.Record { return population{}.record(u) }

// someone is the record of a random user.
func (p population) someone(r *rand.Rand) *push.Record { return p.record(r.Uint32N(uint32(p.users))) }

func (p population) tag(r *rand.Rand) string { return "tag-" + strconv.Itoa(rank(r, tags, 1)) }

func (p population) value(r *rand.Rand, slot int) string {
	return "value-" + strconv.Itoa(rank(r, cardinalities[slot], 0.8))
}

// rank draws from 0 to n-1 with a weight of about 1/(rank+1)^s: the inverse of the density's integral, which math/rand's
// Zipf cannot do for s up to 1.
func rank(r *rand.Rand, n int, s float64) int {
	x := float64(n + 1)
	if s == 1 {
		x = math.Pow(x, r.Float64())
	} else {
		x = math.Pow(1+r.Float64()*(math.Pow(x, 1-s)-1), 1/(1-s))
	}
	return min(int(x)-1, n-1)
}
