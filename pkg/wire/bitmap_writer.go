package wire

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/carillon-push/carillon/pkg/dense"
)

// BitmapWriter lays out a set of places in roaring's portable format as EncodeBitmap does, from pieces of 65,536 places
// in ascending order, for those who have it in pieces and not as a bitmap. Each piece takes the shortest of the format's
// three forms. Between Begin and End the pieces are added.
type BitmapWriter struct {
	pieces []bitmapPiece
	to     []byte
	set    int // where in to the set begins
	body   int // and where its first piece does
	most   int // pieces
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
)

// MaxBitmap is the room that a writer needs at most for so many pieces.
func MaxBitmap(pieces int) int {
	return max(bitmapHead(pieces, false), bitmapHead(pieces, true)) + pieces*dense.Bytes + dense.Slack
}

// Begin makes the set empty, which is appended to what is given. The pieces will be most, or fewer.
func (w *BitmapWriter) Begin(to []byte, most int) {
	w.pieces, w.to, w.set, w.body, w.most, w.users, w.runs = w.pieces[:0], to, len(to), len(to), most, 0, false
}

// Users is how many places were added.
func (w *BitmapWriter) Users() int { return w.users }

func (w *BitmapWriter) add(key uint16, n int, runs bool) {
	w.pieces = append(w.pieces, bitmapPiece{key, uint32(n), len(w.to) - w.body, runs})
	w.users += n
	w.runs = w.runs || runs
}

// room makes it n bytes longer, whatever they are, and gives them.
func (w *BitmapWriter) room(n int) []byte {
	at := len(w.to)
	w.to = slices.Grow(w.to, n)[:at+n]
	return w.to[at:]
}

// first leaves room before the first piece for a head as it will be if there are as many pieces as there may be, and all are like
// that one: then the pieces need not move any more.
func (w *BitmapWriter) first(runs bool) {
	if len(w.pieces) == 0 {
		w.room(bitmapHead(w.most, runs))
		w.body = len(w.to)
	}
}

// shorter says whether so many places of a piece are shortest as that many runs: two bytes, and four for each.
func shorter(runs, places int) bool { return 2+4*runs < min(2*places, dense.Bytes) }

// Array adds a piece of ascending places, if there are any.
func (w *BitmapWriter) Array(key uint16, places []uint16) {
	if len(places) == 0 {
		return
	}
	if runs := dense.Runs(places); shorter(runs, len(places)) {
		w.first(true)
		w.add(key, len(places), true)
		to := w.room(2 + 4*runs)
		binary.LittleEndian.PutUint16(to, uint16(runs))
		for i, at := 0, 2; i < len(places); at += 4 {
			first := i
			for i++; i < len(places) && places[i] == places[i-1]+1; i++ {
			}
			binary.LittleEndian.PutUint16(to[at:], places[first])
			binary.LittleEndian.PutUint16(to[at+2:], uint16(i-first-1))
		}
		return
	}
	if len(places) > bitmapArray {
		var words dense.Words
		dense.Add(&words, places)
		w.Words(key, &words)
		return
	}
	w.first(false)
	w.add(key, len(places), false)
	dense.CopyArray(w.room(2*len(places)), places)
}

// Rest adds a piece of all places but the ascending ones that are given.
func (w *BitmapWriter) Rest(key uint16, places []uint16) {
	if !shorter(len(places)+1, dense.Places-len(places)) {
		var words dense.Words
		for i := range words {
			words[i] = ^uint64(0)
		}
		dense.Remove(&words, places)
		w.Words(key, &words)
		return
	}
	w.first(true)
	w.add(key, dense.Places-len(places), true)
	count := w.room(2 + 4*(len(places)+1))
	to, next := count[2:], 0
	for _, u := range places { // a run that turns out empty is written over
		binary.LittleEndian.PutUint32(to, uint32(next)|(uint32(u)-1-uint32(next))<<16)
		if next < int(u) {
			to = to[4:]
		}
		next = int(u) + 1
	}
	if next < dense.Places {
		binary.LittleEndian.PutUint32(to, uint32(next)|uint32(dense.Places-1-next)<<16)
		to = to[4:]
	}
	w.to = w.to[:len(w.to)-len(to)]
	binary.LittleEndian.PutUint16(count, uint16((len(count)-len(to)-2)/4))
}

// Words adds a piece as bits, if any are set. They are written where they stay, as that is what they are most often, and counted
// on the way; what is shorter in another form is written over.
func (w *BitmapWriter) Words(key uint16, words *dense.Words) {
	w.first(false)
	at := len(w.to)
	n, runs := dense.Copy((*[dense.Bytes]byte)(w.room(dense.Bytes)), words)
	w.to = w.to[:at]
	switch {
	case n == 0:
	case shorter(runs, n):
		w.add(key, n, true)
		to := w.room(2 + 4*runs)
		binary.LittleEndian.PutUint16(to, uint16(runs))
		writeRuns(to[2:], words)
	case n > bitmapArray:
		w.add(key, n, false)
		w.room(dense.Bytes)
	default:
		w.add(key, n, false)
		dense.List(w.room(2*n+dense.Slack), words)
		w.to = w.to[:len(w.to)-dense.Slack]
	}
}

// writeRuns writes the first place and the length less one of each run. Firsts and lasts are found each by themselves, as
// bits whose neighbour is clear: a last stands where its first was written before.
func writeRuns(to []byte, words *dense.Words) {
	first, last := 0, 0
	for i, x := range words {
		if x == 0 {
			continue
		}
		before, behind := uint64(0), uint64(0)
		if i > 0 {
			before = words[i-1] >> 63
		}
		if i < len(words)-1 {
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
func (w *BitmapWriter) Full(key uint16) { w.Rest(key, nil) }

// bitmapHead is the length of the head before so many pieces.
func bitmapHead(pieces int, runs bool) int {
	head := 4 + 4*pieces
	if runs {
		head += (pieces + 7) / 8
	} else {
		head += 4
	}
	if !runs || pieces >= bitmapOffsets {
		head += 4 * pieces
	}
	return head
}

// End gives what Begin was given with the set's layout behind it. It is the caller's, and the writer has no more of it.
func (w *BitmapWriter) End() []byte {
	n := len(w.pieces)
	head, body := bitmapHead(n, w.runs), len(w.to)-w.body
	if left := w.body - w.set; head != left {
		w.room(max(head-left, 0))
		copy(w.to[w.set+head:], w.to[w.body:w.body+body])
	}
	whole := w.to[:w.set+head+body]
	to := whole[:w.set]
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
	if !w.runs || n >= bitmapOffsets {
		for _, p := range w.pieces {
			to = binary.LittleEndian.AppendUint32(to, uint32(head+p.start))
		}
	}
	w.to = nil
	return whole
}
