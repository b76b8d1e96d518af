// Package dense works on 65,536 places as bits: what an evaluation of a condition and the layout of its audience spend their
// time on. Each function is a plain loop, and beside it, where that is several times as fast, vector instructions of amd64,
// which are used on a processor that has them. Both do the same on any input.
package dense

import (
	"encoding/binary"
	"math/bits"
)

const (
	// Places is how many there are.
	Places = 1 << 16
	// Bytes is how long they are, laid out.
	Bytes = Places / 8

	length = Places / 64
)

// Words are a bit for each place, the lowest first.
type Words = [length]uint64

// Or sets to to what is in a or in b; any of them may be the same.
func Or(to, a, b *Words) { or(to, a, b) }

// And sets to to what is in a and in b; any of them may be the same.
func And(to, a, b *Words) { and(to, a, b) }

// AndNot sets to to what is in a but not in b; any of them may be the same.
func AndNot(to, a, b *Words) { andNot(to, a, b) }

// Copy lays out the words, little endian, and counts the places that are set, and the runs of places one behind another.
func Copy(to *[Bytes]byte, from *Words) (set, runs int) { return copyWords(to, from) }

// Runs counts the runs of an ascending array.
func Runs(array []uint16) int { return arrayRuns(array) }

// CopyArray lays out an array, little endian, of two bytes each, into room for it.
func CopyArray(to []byte, array []uint16) { copyArray(to, array) }

// Slack is how many bytes behind what List writes it may write over.
const Slack = 128

// List lays out the places that are set, as CopyArray does it. The room must be for all of them, and Slack.
func List(to []byte, from *Words) { list(to, from) }

// Add sets the places of an ascending array. It goes through the array in four parts beside one another: neighbours are often of
// one word, where each would wait until the one before it is written.
func Add(to *Words, array []uint16) { add(to, array) }

// Remove clears the places of an ascending array, as Add sets them.
func Remove(to *Words, array []uint16) {
	n := len(array) / 4
	a, b, c, d := array[:n], array[n:2*n], array[2*n:3*n], array[3*n:]
	for i, u := range a {
		to[u>>6] &^= 1 << (u & 63)
		v := b[i]
		to[v>>6] &^= 1 << (v & 63)
		w := c[i]
		to[w>>6] &^= 1 << (w & 63)
		x := d[i]
		to[x>>6] &^= 1 << (x & 63)
	}
	for _, u := range d[n:] {
		to[u>>6] &^= 1 << (u & 63)
	}
}

func plainAdd(to *Words, array []uint16) {
	n := len(array) / 4
	a, b, c, d := array[:n], array[n:2*n], array[2*n:3*n], array[3*n:]
	for i, u := range a {
		to[u>>6] |= 1 << (u & 63)
		v := b[i]
		to[v>>6] |= 1 << (v & 63)
		w := c[i]
		to[w>>6] |= 1 << (w & 63)
		x := d[i]
		to[x>>6] |= 1 << (x & 63)
	}
	for _, u := range d[n:] {
		to[u>>6] |= 1 << (u & 63)
	}
}

func plainOr(to, a, b *Words) {
	for i := 0; i < length; i += 4 {
		to[i] = a[i] | b[i]
		to[i+1] = a[i+1] | b[i+1]
		to[i+2] = a[i+2] | b[i+2]
		to[i+3] = a[i+3] | b[i+3]
	}
}

func plainAnd(to, a, b *Words) {
	for i := 0; i < length; i += 4 {
		to[i] = a[i] & b[i]
		to[i+1] = a[i+1] & b[i+1]
		to[i+2] = a[i+2] & b[i+2]
		to[i+3] = a[i+3] & b[i+3]
	}
}

func plainAndNot(to, a, b *Words) {
	for i := 0; i < length; i += 4 {
		to[i] = a[i] &^ b[i]
		to[i+1] = a[i+1] &^ b[i+1]
		to[i+2] = a[i+2] &^ b[i+2]
		to[i+3] = a[i+3] &^ b[i+3]
	}
}

func plainCopy(to *[Bytes]byte, from *Words) (set, runs int) {
	last := uint64(0)
	for i, x := range from {
		binary.LittleEndian.PutUint64(to[8*i:], x)
		set += bits.OnesCount64(x)
		runs += bits.OnesCount64(x &^ (x<<1 | last))
		last = x >> 63
	}
	return set, runs
}

func plainRuns(array []uint16) int {
	runs := min(len(array), 1)
	for i := 1; i < len(array); i++ {
		if array[i] != array[i-1]+1 {
			runs++
		}
	}
	return runs
}

func plainArray(to []byte, array []uint16) {
	to = to[:2*len(array)]
	for i, u := range array {
		binary.LittleEndian.PutUint16(to[2*i:], u)
	}
}

// plainList writes four at a time, whether there are as many or not: that is faster than to ask. What is too much is written
// over, or is in the slack.
func plainList(to []byte, from *Words) {
	for i, x := range from {
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
}
