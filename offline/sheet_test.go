package offline

import (
	"math/rand/v2"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"
	"pgregory.net/rapid"

	"github.com/carillon-push/carillon/pkg/push"
)

// A sheet and the bitmaps that it was made of are the same, whoever leaves it.
func TestSheetAgainstBitmaps(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		users := rapid.Uint32Range(1, 1<<14).Draw(t, "users")
		draw := func(oneIn uint32) *roaring.Bitmap {
			b := roaring.New()
			for range users / oneIn {
				b.Add(r.Uint32N(users))
			}
			return b
		}
		rows := make([]*roaring.Bitmap, rapid.IntRange(1, sheetRows).Draw(t, "rows"))
		entries := make([]*entry, len(rows))
		for i := range rows {
			switch rapid.IntRange(0, 5).Draw(t, "kind") {
			case 0:
				rows[i] = roaring.New()
			case 1:
				rows[i] = roaring.New()
				rows[i].AddRange(0, uint64(users))
				rows[i].RunOptimize()
			default:
				rows[i] = draw(1 << rapid.IntRange(0, 8).Draw(t, "one in"))
			}
			entries[i] = &entry{seq: push.Seq(i + 1), expire: int64(i), users: rows[i].Clone()}
		}
		s := newSheet(entries)
		check := func() {
			for i, b := range rows {
				if got := s.users(uint8(i)); !got.Equals(b) {
					t.Fatalf("row %d holds %v, want %v", i, got, b)
				}
				if s.left[i] != int(b.GetCardinality()) || s.seqs[i] != entries[i].seq || s.expires[i] != entries[i].expire {
					t.Fatalf("row %d is push %d until %d for %d, want %v for %d", i, s.seqs[i], s.expires[i], s.left[i], entries[i], b.GetCardinality())
				}
			}
			for range 200 {
				u := r.Uint32N(users + 2000)
				var want uint64
				for i, b := range rows {
					if s.there>>i&1 != 0 && b.Contains(u) {
						want |= 1 << i
					}
				}
				if got := s.waiting(u); got != want {
					t.Fatalf("for user %d wait %b, want %b", u, got, want)
				}
			}
			if got := s.waiting(1<<32 - 1); got != 0 {
				t.Fatalf("for a user beyond all wait %b", got)
			}
		}
		check()
		for range rapid.IntRange(0, 20).Draw(t, "removals") {
			i := rapid.IntRange(0, len(rows)-1).Draw(t, "row")
			gone := draw(1 << rapid.IntRange(0, 8).Draw(t, "one in"))
			gone.Add(users + r.Uint32N(1<<20))
			if got, want := s.remove(uint8(i), gone), rows[i].Intersects(gone); got != want {
				t.Fatalf("something was removed: %v, want %v", got, want)
			}
			rows[i].AndNot(gone)
		}
		s.leave(uint8(rapid.IntRange(0, len(rows)-1).Draw(t, "leaves")))
		check()
	})
}

// A sheet takes as much as bitmaps do of users at random, of many and of few, and is wasteful when they have gone.
func TestSheetTakesWhatItsUsersDo(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	const users = 1 << 18
	for _, oneIn := range []int{2, 10, 100, 1000} {
		entries := make([]*entry, sheetRows)
		var bitmaps int
		for i := range entries {
			b := roaring.New()
			for u := range uint32(users) {
				if r.IntN(oneIn) == 0 {
					b.Add(u)
				}
			}
			bitmaps += int(b.GetSizeInBytes())
			entries[i] = &entry{seq: push.Seq(i + 1), users: b}
		}
		s := newSheet(entries)
		if size := s.bytes(); size > bitmaps*11/10 {
			t.Errorf("of one user in %d: %d bytes, and the bitmaps %d", oneIn, size, bitmaps)
		}
		if s.wasteful(0) {
			t.Errorf("of one user in %d: it is wasteful from its beginning", oneIn)
		}
		for row := range uint8(sheetRows * 2 / 3) {
			s.remove(row, s.users(row))
		}
		if !s.wasteful(0) {
			t.Errorf("of one user in %d: it is not wasteful when two thirds have gone", oneIn)
		}
	}
}

// BenchmarkSheet makes one of 64 pushes to every other user of a full shard at random, of as many to one in a hundred, and
// reads a row of it, as a checkpoint does.
func BenchmarkSheet(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		name  string
		oneIn int
	}{{"half", 2}, {"a hundredth", 100}} {
		rows := make([]*roaring.Bitmap, sheetRows)
		for i := range rows {
			rows[i] = roaring.New()
			for u := range uint32(million) {
				if r.IntN(c.oneIn) == 0 {
					rows[i].Add(u)
				}
			}
		}
		var s *sheet
		b.Run("make/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				entries := make([]*entry, sheetRows)
				for i := range entries {
					entries[i] = &entry{seq: push.Seq(i + 1), users: rows[i]}
				}
				s = newSheet(entries)
			}
		})
		b.Run("row/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.users(7)
			}
		})
	}
}
