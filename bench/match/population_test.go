package match

import (
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

// TestPopulation: the numbers of users that the forms are drawn by.
func TestPopulation(t *testing.T) {
	t.Parallel()
	p := population{users: 5000}
	first, tagged, values := 0, 0, map[string]int{}
	for u := range uint32(p.users) {
		rec := Record(u)
		tagged += len(rec.Tags)
		if rec.HasTag("tag-0") {
			first++
		}
		values[rec.Attrs[0]]++
	}
	if mean := tagged / p.users; mean < 8 || mean > 12 {
		t.Errorf("%d tags a user", mean)
	}
	if share := first * 100 / p.users; share < 20 || share > 70 {
		t.Errorf("%d %% have the most frequent tag", share)
	}
	if len(values) != cardinalities[0] {
		t.Errorf("values of the first attribute: %v", values)
	}
}

// TestRecord: a maker gives each user as if it made nobody else, and the tags as records have them.
func TestRecord(t *testing.T) {
	t.Parallel()
	m := newMaker()
	for u := range uint32(500) {
		rec := m.record(u)
		if !reflect.DeepEqual(rec, Record(u)) {
			t.Fatalf("user %d is %v, and alone %v", u, rec, Record(u))
		}
		if !slices.IsSorted(rec.Tags) || len(slices.Compact(slices.Clone(rec.Tags))) != len(rec.Tags) {
			t.Fatalf("user %d has the tags %q", u, rec.Tags)
		}
	}
}

// TestRanks: the oracle is the formula, of which parts are computed once.
func TestRanks(t *testing.T) {
	t.Parallel()
	oracle := func(r *rand.Rand, n int, s float64) int {
		x := float64(n + 1)
		if s == 1 {
			x = math.Pow(x, r.Float64())
		} else {
			x = math.Pow(1+r.Float64()*(math.Pow(x, 1-s)-1), 1/(1-s))
		}
		return min(int(x)-1, n-1)
	}
	ours, theirs := rand.New(rand.NewPCG(1, 1)), rand.New(rand.NewPCG(1, 1))
	differ := 0
	for i := range 100_000 {
		slot := i % len(cardinalities)
		if int(tagRank(ours)) != oracle(theirs, tags, 1) {
			differ++
		}
		if int(valueRank(ours, slot)) != oracle(theirs, cardinalities[slot], 0.8) {
			differ++
		}
	}
	if differ > 10 { // the last digit may round another way
		t.Errorf("%d of 200000 draws differ", differ)
	}
}
