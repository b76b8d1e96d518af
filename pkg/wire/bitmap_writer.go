package wire

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// BitmapWriter lays out a set of places in roaring's portable format as EncodeBitmap does, from pieces of 65,536 places
// in ascending order, for those who have it in pieces and not as a bitmap. Each piece takes the shortest of the format's
// three forms. The zero value is an empty set; after Reset it is one again and keeps its memory.
type BitmapWriter struct {
	pieces []bitmapPiece
	body   []byte
	users  int
	runs   bool // a piece is runs
}

type bitmapPiece struct {
	key   uint16
	n     uint32 // places, from 1 to 65,536
	start int    // in the body
	runs  bool
}

const (
	bitmapCookie     = 12346 // then the number of pieces
	bitmapCookieRuns = 12347 // in the low half; the high half is the number of pieces less one
	bitmapArray      = 4096  // the most places of a piece whose form is an array
	bitmapOffsets    = 4     // the fewest pieces at which offsets follow, where a piece is runs
	bitmapWords      = 1024
)

// Reset makes the set empty.
func (w *BitmapWriter) Reset() {
	w.pieces, w.body, w.users, w.runs = w.pieces[:0], w.body[:0], 0, false
}

// Users is how many places were added.
func (w *BitmapWriter) Users() int { return w.users }

func (w *BitmapWriter) begin(key uint16, n int, runs bool) {
	w.pieces = append(w.pieces, bitmapPiece{key, uint32(n), len(w.body), runs})
	w.users += n
	w.runs = w.runs || runs
}

// Array adds a piece of ascending places, if there are any.
func (w *BitmapWriter) Array(key uint16, places []uint16) {
	if len(places) == 0 {
		return
	}
	short := min(2*len(places), 8*bitmapWords)
	most := (short - 3) / 4 // runs that are shorter than that: two bytes, and four for each
	if runs := arrayRuns(places, most); runs <= most {
		w.begin(key, len(places), true)
		w.body = binary.LittleEndian.AppendUint16(w.body, uint16(runs))
		for i := 0; i < len(places); {
			first := i
			for i++; i < len(places) && places[i] == places[i-1]+1; i++ {
			}
			w.body = binary.LittleEndian.AppendUint16(w.body, places[first])
			w.body = binary.LittleEndian.AppendUint16(w.body, uint16(i-first-1))
		}
		return
	}
	if len(places) > bitmapArray {
		var bits [bitmapWords]uint64
		for _, p := range places {
			bits[p>>6] |= 1 << (p & 63)
		}
		w.begin(key, len(places), false)
		w.bits(&bits)
		return
	}
	w.begin(key, len(places), false)
	for i, to := 0, w.room(2*len(places)); i < len(places); i++ {
		binary.LittleEndian.PutUint16(to[2*i:], places[i])
	}
}

// arrayRuns counts runs, and stops when there are more than most.
func arrayRuns(places []uint16, most int) int {
	runs := 1
	for i := 1; i < len(places) && runs <= most; i++ {
		if places[i] != places[i-1]+1 {
			runs++
		}
	}
	return runs
}

// Words adds a piece as bits, of which n are set, if any are.
func (w *BitmapWriter) Words(key uint16, words *[bitmapWords]uint64, n int) {
	if n == 0 {
		return
	}
	short := min(2*n, 8*bitmapWords)
	most := (short - 3) / 4
	if runs := wordsRuns(words, most); runs <= most {
		w.begin(key, n, true)
		w.body = binary.LittleEndian.AppendUint16(w.body, uint16(runs))
		writeRuns(w.room(4*runs), words)
		return
	}
	w.begin(key, n, false)
	if n > bitmapArray {
		w.bits(words)
		return
	}
	// Four are written at a time, whether there are as many or not: that is faster than to ask. What is too much is written
	// over, or cut off at the end.
	const four = 8
	to := w.room(2*n + four)
	for i, x := range words {
		for left := bits.OnesCount64(x); left > 0; left -= 4 {
			var places uint64
			for j := range 4 {
				places |= uint64(uint16(i<<6+bits.TrailingZeros64(x))) << (16 * j)
				x &= x - 1
			}
			binary.LittleEndian.PutUint64(to, places)
			to = to[2*min(left, 4):]
		}
	}
	w.body = w.body[:len(w.body)-four]
}

// room makes the body n bytes longer, whatever they are, and gives them.
func (w *BitmapWriter) room(n int) []byte {
	at := len(w.body)
	w.body = slices.Grow(w.body, n)[:at+n]
	return w.body[at:]
}

// wordsRuns counts runs, and stops when there are more than most.
func wordsRuns(words *[bitmapWords]uint64, most int) int {
	const stride = 64 // words between looks at the count
	runs, last := 0, uint64(0)
	for at := 0; at < bitmapWords && runs <= most; at += stride {
		for _, x := range words[at : at+stride] {
			runs += bits.OnesCount64(x &^ (x<<1 | last))
			last = x >> 63
		}
	}
	return runs
}

// writeRuns writes the first place and the length less one of each run. Firsts and lasts are found each by themselves, as
// bits whose neighbour is clear: a last stands where its first was written before.
func writeRuns(to []byte, words *[bitmapWords]uint64) {
	first, last := 0, 0
	for i, x := range words {
		if x == 0 {
			continue
		}
		before, behind := uint64(0), uint64(0)
		if i > 0 {
			before = words[i-1] >> 63
		}
		if i < bitmapWords-1 {
			behind = words[i+1] << 63
		}
		for firsts := x &^ (x<<1 | before); firsts != 0; firsts &= firsts - 1 {
			binary.LittleEndian.PutUint16(to[first:], uint16(i<<6+bits.TrailingZeros64(firsts)))
			first += 4
		}
		for lasts := x &^ (x>>1 | behind); lasts != 0; lasts &= lasts - 1 {
			run := to[last : last+4]
			at := uint16(i<<6 + bits.TrailingZeros64(lasts))
			binary.LittleEndian.PutUint16(run[2:], at-binary.LittleEndian.Uint16(run))
			last += 4
		}
	}
}

// Full adds a piece whose places are all in the set.
func (w *BitmapWriter) Full(key uint16) {
	w.begin(key, 64*bitmapWords, true)
	w.body = append(w.body, 1, 0, 0, 0, 0xff, 0xff)
}

func (w *BitmapWriter) bits(words *[bitmapWords]uint64) {
	to := w.room(8 * bitmapWords)
	for i, x := range words {
		binary.LittleEndian.PutUint64(to[8*i:], x)
	}
}

// Append appends the set's layout.
func (w *BitmapWriter) Append(to []byte) []byte {
	n := len(w.pieces)
	head := 4 + 4*n
	if w.runs {
		head += (n + 7) / 8
	} else {
		head += 4
	}
	offsets := !w.runs || n >= bitmapOffsets
	if offsets {
		head += 4 * n
	}
	if room := head + len(w.body); cap(to)-len(to) < room {
		to = append(make([]byte, 0, len(to)+room), to...)
	}
	if w.runs {
		to = binary.LittleEndian.AppendUint32(to, bitmapCookieRuns|uint32(n-1)<<16)
		at := len(to)
		to = append(to, make([]byte, (n+7)/8)...)
		for i, p := range w.pieces {
			if p.runs {
				to[at+i/8] |= 1 << (i % 8)
			}
		}
	} else {
		to = binary.LittleEndian.AppendUint32(to, bitmapCookie)
		to = binary.LittleEndian.AppendUint32(to, uint32(n))
	}
	for _, p := range w.pieces {
		to = binary.LittleEndian.AppendUint16(to, p.key)
		to = binary.LittleEndian.AppendUint16(to, uint16(p.n-1))
	}
	if offsets {
		for _, p := range w.pieces {
			to = binary.LittleEndian.AppendUint32(to, uint32(head+p.start))
		}
	}
	return append(to, w.body...)
}
