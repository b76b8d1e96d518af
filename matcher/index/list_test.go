package index

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A list that changes one ordinal at a time is what a sorted slice is, whatever form its term has: single ordinal, list, or
// the table that one makes which lists cannot hold.
func TestListAgainstASortedSlice(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var p postings
		var tm term
		var want []uint32
		ordinal := rapid.Uint32Range(0, rapid.SampledFrom([]uint32{40, listWidth - 1, 2 * listWidth}).Draw(t, "highest"))
		for _, u := range rapid.SliceOfN(ordinal, 0, 400).Draw(t, "ordinals") {
			if i, found := slices.BinarySearch(want, u); found {
				want = slices.Delete(want, i, i+1)
				if left := p.remove(&tm, u); left && len(want) == 0 && tm.n != isTable {
					t.Fatalf("the last ordinal was removed, and some are left")
				}
			} else {
				want = slices.Insert(want, i, u)
				p.add(&tm, u)
				p.add(&tm, u)
			}
			if p.len(&tm) != len(want) {
				t.Fatalf("%d ordinals, want %d", p.len(&tm), len(want))
			}
			if got := p.bitmap(&tm).ToArray(); !slices.Equal(got, want) {
				t.Fatalf("ordinals %v, want %v", got, want)
			}
		}
		for len(want) > 0 {
			p.remove(&tm, want[len(want)/2])
			want = slices.Delete(want, len(want)/2, len(want)/2+1)
			if got := p.bitmap(&tm).ToArray(); !slices.Equal(got, want) {
				t.Fatalf("ordinals %v, want %v", got, want)
			}
		}
		if tm.n != 0 || p.tables.live+p.arrays.live != 0 {
			t.Fatalf("%d elements of the arenas belong to nobody", p.tables.live+p.arrays.live)
		}
	})
}
