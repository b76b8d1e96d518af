package index

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

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
	if class, _ := sizeClass(1 << 31); class >= classes || class < exact {
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

// Slots of many lengths, most of which are given back: their chunks are vacated while the rest moves, and give their memory
// back.
func TestArenaVacatesWhatIsWasted(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var a arena[uint16]
		runs := map[int]struct {
			off uint32
			n   int
		}{}
		check := func() {
			live := 0
			for mark, r := range runs {
				_, size := sizeClass(r.n)
				live += size
				for _, v := range a.run(r.off, r.n) {
					if v != uint16(mark) {
						t.Fatalf("run %d was overwritten", mark)
					}
				}
			}
			if a.live != live {
				t.Fatalf("%d live, want %d", a.live, live)
			}
		}
		mark := 0
		add := func(n int) {
			for range n {
				mark++
				length := 1 + mark*7919%rapid.SampledFrom([]int{20, 300, 5000}).Draw(t, "longest")
				off := a.alloc(length)
				for i := range a.run(off, length) {
					a.run(off, length)[i] = uint16(mark)
				}
				runs[mark] = struct {
					off uint32
					n   int
				}{off, length}
			}
		}
		drop := func(share int) {
			for mark, r := range runs {
				if mark%share != 0 {
					a.release(r.off, r.n)
					delete(runs, mark)
				}
			}
		}
		for range rapid.IntRange(1, 4).Draw(t, "rounds") {
			add(rapid.IntRange(1, 200).Draw(t, "n"))
			drop(rapid.IntRange(2, 20).Draw(t, "share"))
			a.vacate()
			between := rapid.IntRange(0, 20).Draw(t, "between")
			for mark, r := range runs {
				r.off = a.moved(r.off, r.n)
				runs[mark] = r
				if between--; between == 0 {
					break
				}
			}
			add(10)
			drop(11)
			for mark, r := range runs {
				r.off = a.moved(r.off, r.n)
				runs[mark] = r
			}
			a.vacated()
			check()
		}
		drop(1 << 30)
		if a.vacate(); a.live != 0 {
			t.Fatalf("%d live of nothing", a.live)
		}
		if a.vacated(); a.bytes() > 1<<14 {
			t.Fatalf("%d bytes of nothing", a.bytes())
		}
	})
}
