package index

import (
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// drawArray is ascending and without repeats.
func drawArray(t *rapid.T, name string) []uint16 {
	r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, name), 3))
	n := rapid.SampledFrom([]int{0, 1, 2, 40, 700, maxArray}).Draw(t, "length of "+name)
	within := rapid.SampledFrom([]uint32{4096, spanLen}).Draw(t, "places of "+name)
	a := []uint16{}
	for range n {
		a = append(a, uint16(spanLen-1-r.Uint32N(within)))
	}
	slices.Sort(a)
	return slices.Compact(a)
}

func bitsOf(a []uint16) *words {
	w := new(words)
	w.add(a)
	return w
}

// listOf is the naive inverse.
func listOf(w *words) []uint16 {
	list := []uint16{}
	for u := range spanLen {
		if w.has(uint16(u)) {
			list = append(list, uint16(u))
		}
	}
	return list
}

func TestOperationsAgainstSets(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawArray(t, "a"), drawArray(t, "b")
		both, either, less := []uint16{}, slices.Concat(a, b), []uint16{}
		in := map[uint16]bool{}
		for _, u := range b {
			in[u] = true
		}
		for _, u := range a {
			if in[u] {
				both = append(both, u)
			} else {
				less = append(less, u)
			}
		}
		slices.Sort(either)
		either = slices.Compact(either)
		room := make([]uint16, len(a)+len(b))
		short, long := a, b
		if len(a) > len(b) {
			short, long = b, a
		}
		var e evaluator
		x, y, w, got := bitsOf(a), bitsOf(b), new(words), make([]uint16, len(a))
		x.array(got)
		if !slices.Equal(got, a) || x.count() != len(a) {
			t.Fatal("an array is not what its bits are")
		}
		for name, c := range map[string]struct{ got, want []uint16 }{
			"common":        {slices.Clone(common(room[:0], short, long)), both},
			"common of two": {slices.Clone(e.common(a, b)), both},
			"without":       {slices.Clone(without(room[:0], a, b)), less},
			"merged":        {slices.Clone(merged(room[:0], a, b)), either},
			"filter":        {slices.Clone(y.filter(room[:0], a, 1)), both},
			"filter out":    {slices.Clone(y.filter(room[:0], a, 0)), less},
			"and":           {listOf(func() *words { w.and(x, y); return w }()), both},
			"or":            {listOf(func() *words { w.or(x, y); return w }()), either},
			"andNot":        {listOf(func() *words { w.andNot(x, y); return w }()), less},
			"remove":        {listOf(func() *words { *w = *x; w.remove(b); return w }()), less},
		} {
			if !slices.Equal(c.got, c.want) {
				t.Fatalf("%s: %d, want %d", name, len(c.got), len(c.want))
			}
		}
	})
}
