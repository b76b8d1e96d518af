package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"
)

// Cookies of roaring's portable format.
const (
	cookieRuns   = 12347 // in the low half; the high half is the number of containers less one
	cookieNoRuns = 12346 // then the number of containers
)

// le lays out numbers as little endian: as wide as their type.
func le(numbers ...any) []byte {
	var b bytes.Buffer
	for _, n := range numbers {
		if err := binary.Write(&b, binary.LittleEndian, n); err != nil {
			panic(err)
		}
	}
	return b.Bytes()
}

type (
	u8  = uint8
	u16 = uint16
	u32 = uint32
)

// hostileBitmaps are bytes that no roaring library writes.
func hostileBitmaps() map[string][]byte {
	full := bytes.Repeat([]byte{0xff}, 8192)
	return map[string][]byte{
		"nothing":                             {},
		"an unknown cookie":                   le(u32(1)),
		"a number of containers without them": le(u32(cookieNoRuns), u32(1<<16)),
		"an absurd number of containers":      le(u32(cookieNoRuns), ^u32(0)),
		"runs without containers":             le(u32(0xffff<<16 | cookieRuns)),
		"an array that is missing":            le(u32(cookieNoRuns), u32(1), u16(0), u16(4095), u32(16)),
		"a bitmap that is missing":            le(u32(cookieNoRuns), u32(1), u16(0), u16(4096), u32(16)),
		"runs that are missing":               le(u32(cookieRuns), u8(1), u16(0), u16(9), u16(0xffff)),
		"an unsorted array":                   le(u32(cookieNoRuns), u32(1), u16(0), u16(1), u32(16), u16(7), u16(3)),
		"a repeat in an array":                le(u32(cookieNoRuns), u32(1), u16(0), u16(1), u32(16), u16(7), u16(7)),
		"repeated containers":                 le(u32(cookieNoRuns), u32(2), u16(0), u16(0), u16(0), u16(0), u32(24), u32(26), u16(1), u16(1)),
		"unsorted containers":                 le(u32(cookieNoRuns), u32(2), u16(1), u16(0), u16(0), u16(0), u32(24), u32(26), u16(1), u16(1)),
		"a container outside the shard":       le(u32(cookieNoRuns), u32(1), u16(16), u16(0), u32(16), u16(0)),
		"a bitmap of another cardinality":     append(le(u32(cookieNoRuns), u32(1), u16(0), u16(5000), u32(16)), full...),
		"a run container without runs":        le(u32(cookieRuns), u8(1), u16(0), u16(0), u16(0)),
		"a run past the container":            le(u32(cookieRuns), u8(1), u16(0), u16(9), u16(1), u16(0xfffe), u16(9)),
		"runs that overlap":                   le(u32(cookieRuns), u8(1), u16(0), u16(9), u16(2), u16(1), u16(5), u16(3), u16(5)),
		"runs that touch":                     le(u32(cookieRuns), u8(1), u16(0), u16(9), u16(2), u16(1), u16(1), u16(3), u16(5)),
		"more runs than a bitmap would take":  everyOther(16),
	}
}

// everyOther is a set of every other place in some containers, as runs of one: 131 KB a container.
func everyOther(containers int) []byte {
	b := le(u32(containers-1)<<16|cookieRuns, bytes.Repeat([]byte{0xff}, (containers+7)/8))
	for i := range containers {
		b = append(b, le(u16(i), u16(1<<15-1))...)
	}
	if containers >= 4 {
		b = append(b, make([]byte, 4*containers)...) // offsets, which readers of the whole pass over
	}
	for range containers {
		b = append(b, le(u16(1<<15))...)
		for i := range 1 << 15 {
			b = binary.LittleEndian.AppendUint16(b, u16(2*i))
			b = append(b, 0, 0)
		}
	}
	return b
}

func TestDecodeBitmapRefuses(t *testing.T) {
	t.Parallel()
	for name, b := range hostileBitmaps() {
		if got, err := DecodeBitmap(b, width); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v, %v, want ErrCorrupt", name, got, err)
		}
	}
}

// Bytes that were damaged anywhere either decode to a set within the shard, on which set operations do not panic, or are
// refused.
func TestDecodeBitmapSurvivesDamage(t *testing.T) {
	t.Parallel()
	whole := sampleBitmap()
	sample := must(EncodeBitmap(whole))
	for i := range sample {
		for _, flip := range []byte{0x01, 0x80, 0xff} {
			b := bytes.Clone(sample)
			b[i] ^= flip
			got, err := DecodeBitmap(b, width)
			if err != nil {
				checkRefusal(t, err)
				continue
			}
			if !got.IsEmpty() && got.Maximum() >= width {
				t.Fatalf("byte %d flipped by %x gives %d, outside the shard", i, flip, got.Maximum())
			}
			or, and := roaring.Or(got, whole), roaring.And(got, whole)
			if or.GetCardinality()+and.GetCardinality() != got.GetCardinality()+whole.GetCardinality() {
				t.Fatalf("byte %d flipped by %x gives a set that does not add up", i, flip)
			}
		}
	}
}

func TestDecodeBitmapHoldsTheWidth(t *testing.T) {
	t.Parallel()
	for _, width := range []uint32{16, 1 << 16, 1 << 20} {
		last, beyond := must(EncodeBitmap(roaring.BitmapOf(width-1))), must(EncodeBitmap(roaring.BitmapOf(width)))
		if _, err := DecodeBitmap(last, width); err != nil {
			t.Errorf("the last place of a shard of %d: %v", width, err)
		}
		if _, err := DecodeBitmap(beyond, width); !errors.Is(err, ErrCorrupt) {
			t.Errorf("the first place after a shard of %d: %v, want ErrCorrupt", width, err)
		}
	}
}

func TestDecodeBitmapCopies(t *testing.T) {
	t.Parallel()
	want := sampleBitmap()
	b := must(EncodeBitmap(want))
	got, err := DecodeBitmap(b, width)
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		b[i] = 0xff
	}
	if !got.Equals(want) {
		t.Error("the set changed with the bytes that it came from")
	}
}

// The largest sets of a shard, and those that roaring holds in more runs than are good, still fit what a decoder takes.
func TestEncodeBitmapIsBounded(t *testing.T) {
	t.Parallel()
	full, scattered, runs := roaring.New(), roaring.New(), roaring.New()
	full.AddRange(0, width)
	for i := uint32(0); i < width; i += 2 {
		scattered.Add(i)
	}
	if _, err := runs.ReadFrom(bytes.NewReader(everyOther(16))); err != nil {
		t.Fatal(err)
	}
	before := runs.GetSerializedSizeInBytes()
	for name, want := range map[string]*roaring.Bitmap{"full": full, "scattered": scattered, "runs": runs} {
		b, err := EncodeBitmap(want)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(b) > maxBitmap(width) {
			t.Errorf("%s takes %d bytes, more than %d", name, len(b), maxBitmap(width))
		}
		if got, err := DecodeBitmap(b, width); err != nil || !got.Equals(want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if runs.GetSerializedSizeInBytes() != before {
		t.Error("encoding changed the set")
	}
}

// What a few hostile bytes make a decoder allocate is bounded: not parallel, since it counts the process's allocations.
func TestDecodeBitmapAllocatesLittle(t *testing.T) {
	for name, b := range hostileBitmaps() {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _ = DecodeBitmap(b, width)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("%s: %d bytes allocated for %d", name, n, len(b))
		}
	}
}
