package broker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// Whatever comes and goes between two pages of a list, what is there all the while is in it, once.
func TestPagesMissNothing(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		limit := 2 + r.IntN(20)
		there := map[string]bool{}
		lasting := map[string]bool{}
		for range r.IntN(100) {
			s := fmt.Sprintf("%03d", r.IntN(1000))
			there[s], lasting[s] = true, r.IntN(2) == 0
		}
		ever := map[string]bool{}
		for s := range there {
			ever[s] = true
		}
		asked := 0
		got, err := joined(func(offset int) ([]string, int, error) {
			if asked++; asked < 50 {
				for s := range there {
					if !lasting[s] && r.IntN(8) == 0 {
						delete(there, s)
					}
				}
				for range r.IntN(4) {
					s := fmt.Sprintf("%03d", r.IntN(1000))
					there[s], ever[s] = true, true
				}
			}
			var sorted []string
			for s := range there {
				sorted = append(sorted, s)
			}
			slices.Sort(sorted)
			from := min(offset, len(sorted))
			return sorted[from:min(from+limit, len(sorted))], len(sorted), nil
		})
		if err != nil || !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
			t.Fatalf("seed %d: %v, %v", seed, got, err)
		}
		for s, lasts := range lasting {
			if lasts && !slices.Contains(got, s) {
				t.Fatalf("seed %d: %s is missing in %v", seed, s, got)
			}
		}
		for _, s := range got {
			if !ever[s] {
				t.Fatalf("seed %d: %s never was", seed, s)
			}
		}
	}
}
