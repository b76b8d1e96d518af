package wire

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"
	"pgregory.net/rapid"
)

// piecesOf writes a set as its pieces.
func piecesOf(w *BitmapWriter, b *roaring.Bitmap, asWords bool) {
	for key := range uint32(1 << 5) {
		part := roaring.New()
		part.AddRange(uint64(key)<<16, uint64(key+1)<<16)
		part.And(b)
		n := int(part.GetCardinality())
		var words [1024]uint64
		places := make([]uint16, 0, n)
		for it := part.Iterator(); it.HasNext(); {
			u := uint16(it.Next())
			words[u>>6] |= 1 << (u & 63)
			places = append(places, u)
		}
		switch {
		case n == 1<<16 && key%2 == 0:
			w.Full(uint16(key))
		case n > 1<<15 && key%2 == 0:
			var rest []uint16
			for u := range 1 << 16 {
				if words[u/64]>>(u%64)&1 == 0 {
					rest = append(rest, uint16(u))
				}
			}
			w.Rest(uint16(key), rest)
		case asWords:
			w.Words(uint16(key), &words)
		default:
			w.Array(uint16(key), places)
		}
	}
}

// drawSet has pieces of every form: none, few, many, runs, all, and those at the borders between.
func drawSet(t *rapid.T) *roaring.Bitmap {
	b := roaring.New()
	r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
	for key := range rapid.Uint64Range(0, 9).Draw(t, "pieces") {
		at := key << 16
		switch rapid.IntRange(0, 6).Draw(t, "form") {
		case 0:
		case 1:
			for range rapid.SampledFrom([]int{1, 2, 3, 7, 1000}).Draw(t, "few") {
				b.Add(uint32(at) + r.Uint32N(1<<16))
			}
		case 2: // about the longest array
			for range uint64(rapid.IntRange(4094, 4098).Draw(t, "n")) {
				for !b.CheckedAdd(uint32(at) + r.Uint32N(1<<16)) {
				}
			}
		case 3:
			b.AddRange(at, at+1<<16)
		case 4:
			b.AddRange(at, at+1<<16)
			b.Remove(uint32(at) + r.Uint32N(1<<16))
		case 5: // about as many runs as the bits are long
			for i := range uint64(rapid.IntRange(2045, 2049).Draw(t, "runs")) {
				b.AddRange(at+32*i, at+32*i+5)
			}
		case 6: // pairs, whose runs are as long as the array
			for range 300 {
				u := at + uint64(r.Uint32N(1<<15))*2
				b.AddRange(u, min(u+rapid.SampledFrom([]uint64{2, 3}).Draw(t, "run"), at+1<<16))
			}
		}
	}
	return b
}

func TestBitmapWriterAgainstRoaring(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		set := drawSet(t)
		optimal := set.Clone()
		optimal.RunOptimize()
		want := must(optimal.ToBytes())
		var w BitmapWriter
		w.Begin(nil, 3)
		piecesOf(&w, roaring.BitmapOf(1, 2, 3), true)
		w.End()
		for _, asWords := range []bool{false, true} {
			w.Begin([]byte("before"), 32)
			piecesOf(&w, set, asWords)
			data, whole := bytes.CutPrefix(w.End(), []byte("before"))
			if !whole {
				t.Fatal("what was there before is not")
			}
			if uint64(w.Users()) != set.GetCardinality() {
				t.Fatalf("%d users, want %d", w.Users(), set.GetCardinality())
			}
			got, err := DecodeBitmap(data, 1<<20)
			if err != nil || !got.Equals(set) {
				t.Fatalf("another set: %v", err)
			}
			if len(data) > len(want)+16 { // the head is a few bytes shorter where a piece is runs
				t.Fatalf("%d bytes, roaring's own %d", len(data), len(want))
			}
		}
	})
}

// A set is laid out without allocating, but for the bytes that are asked for.
func TestBitmapWriterDoesNotAllocate(t *testing.T) {
	var w BitmapWriter
	var words [1024]uint64
	for i := range words {
		words[i] = 0x5555
	}
	places := []uint16{1, 2, 3, 9}
	into := make([]byte, 0, 1<<16)
	if n := testing.AllocsPerRun(100, func() {
		w.Begin(into[:0], 4)
		w.Array(0, places)
		w.Words(1, &words)
		w.Full(2)
		w.Rest(3, places)
		into = w.End()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
