package index

import (
	"math/bits"

	"github.com/carillon-push/carillon/pkg/dense"
)

// A span is 65,536 consecutive ordinals: what is evaluated at a time, as 8 KiB of bits stay in the first cache through a
// whole predicate, and what a container of roaring's format holds.
const (
	spanBits  = 16
	spanLen   = dense.Places
	spanWords = spanLen / 64
)

// words are a span as bits.
type words [spanWords]uint64

func (w *words) or(a, b *words) { dense.Or((*dense.Words)(w), (*dense.Words)(a), (*dense.Words)(b)) }

func (w *words) and(a, b *words) { dense.And((*dense.Words)(w), (*dense.Words)(a), (*dense.Words)(b)) }

func (w *words) andNot(a, b *words) {
	dense.AndNot((*dense.Words)(w), (*dense.Words)(a), (*dense.Words)(b))
}

func (w *words) count() int {
	n := 0
	for i := 0; i < spanWords; i += 4 {
		n += bits.OnesCount64(w[i]) + bits.OnesCount64(w[i+1]) + bits.OnesCount64(w[i+2]) + bits.OnesCount64(w[i+3])
	}
	return n
}

// add sets the bits of an array, and remove clears them.
func (w *words) add(array []uint16) { dense.Add((*dense.Words)(w), array) }

func (w *words) remove(array []uint16) { dense.Remove((*dense.Words)(w), array) }

func (w *words) has(u uint16) bool { return w[u>>6]>>(u&63)&1 != 0 }

// array writes what is set to into, which has room for it.
func (w *words) array(into []uint16) {
	n := 0
	for i, x := range w {
		for ; x != 0; x &= x - 1 {
			into[n] = uint16(i<<6 + bits.TrailingZeros64(x))
			n++
		}
	}
}

// filter writes to into those of array that are set, or with want 0 those that are not, and gives what it wrote. It has
// no branch that depends on the bits, as these are like coins thrown.
func (w *words) filter(into, array []uint16, want uint64) []uint16 {
	into = into[:len(array)]
	n := 0
	for _, u := range array {
		into[n] = u
		n += int(w[u>>6]>>(u&63)&1 ^ want ^ 1)
	}
	return into[:n]
}

// leap is how many times longer an array must be for another to walk it in leaps.
const leap = 16

// common writes the elements that two ascending arrays both have, of which a is not the longer.
func common(into, a, b []uint16) []uint16 {
	into = into[:len(a)]
	n := 0
	if len(a)*leap < len(b) {
		for _, u := range a {
			var found bool
			if b, found = skip(b, u); found {
				into[n] = u
				n++
			}
		}
		return into[:n]
	}
	for i, j := 0, 0; i < len(a) && j < len(b); {
		x, y := a[i], b[j]
		into[n] = x
		if x == y {
			n++
		}
		if x <= y {
			i++
		}
		if y <= x {
			j++
		}
	}
	return into[:n]
}

// without writes the elements of a that b does not have.
func without(into, a, b []uint16) []uint16 {
	into = into[:len(a)]
	n := 0
	for _, u := range a {
		var found bool
		if b, found = skip(b, u); !found {
			into[n] = u
			n++
		}
	}
	return into[:n]
}

// skip drops what is below u from an ascending array, and says whether u comes next. Steps double, so that a short array
// walks a long one in leaps.
func skip(a []uint16, u uint16) (rest []uint16, found bool) {
	hi := 1
	for hi < len(a) && a[hi-1] < u {
		hi *= 2
	}
	lo := hi / 2
	for hi = min(hi, len(a)); lo < hi; {
		if mid := int(uint(lo+hi) >> 1); a[mid] < u {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return a[lo:], lo < len(a) && a[lo] == u
}

// merged writes what at least one of two ascending arrays has.
func merged(into, a, b []uint16) []uint16 {
	into = into[:len(a)+len(b)]
	n := 0
	for len(a) > 0 && len(b) > 0 {
		x, y := a[0], b[0]
		if x <= y {
			into[n] = x
			a = a[1:]
		} else {
			into[n] = y
		}
		if y <= x {
			b = b[1:]
		}
		n++
	}
	n += copy(into[n:], a)
	n += copy(into[n:], b)
	return into[:n]
}
