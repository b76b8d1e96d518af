package index

import (
	"math/bits"
	"unsafe"
)

// arena keeps very many short runs of T in a few large allocations, so that a run costs its bytes and the garbage
// collector sees chunks, not runs. A run's slot is of its length's size class, so whoever knows a run's length and offset
// can give it back: no header is kept for it. Slots given back wait for runs of their class; once too much waits
// (wasteful), the owner of the runs copies what lives into a new arena.
type arena[T uint8 | uint32] struct {
	chunks [][]T
	free   [classes][]uint32 // offsets of slots to use again, by class
	live   int               // elements in slots that are in use
	idle   int               // elements in slots that wait
}

const (
	chunkBits = 16
	chunkLen  = 1 << chunkBits
	classes   = 256
	// Below this many idle elements, collecting them is not worth a copy.
	idleFloor = chunkLen
)

// sizeClass gives the class of runs of n elements, and the length of its slots. Up to 16 each length is its own class;
// above there are eight to a doubling, so that a slot is at most an eighth longer than its run.
func sizeClass(n int) (class, size int) {
	if n <= 16 {
		return n, n
	}
	shift := bits.Len(uint(n-1)) - 4
	eighths := (n - 1) >> shift // 8 to 15
	return 8*shift + eighths + 1, (eighths + 1) << shift
}

// alloc finds a slot for a run of n elements, n > 0. Its contents are whatever was there.
func (a *arena[T]) alloc(n int) uint32 {
	class, size := sizeClass(n)
	a.live += size
	if waiting := a.free[class]; len(waiting) > 0 {
		off := waiting[len(waiting)-1]
		a.free[class] = waiting[:len(waiting)-1]
		a.idle -= size
		return off
	}
	last := len(a.chunks) - 1
	if last < 0 || len(a.chunks[last])+size > chunkLen {
		// The first chunk starts small and grows, for the many indexes that stay small. A run longer than a chunk
		// gets one of its own.
		room := size
		if last >= 0 {
			room = max(size, chunkLen)
		}
		a.chunks = append(a.chunks, make([]T, 0, room))
		last++
	}
	chunk := a.chunks[last]
	pos := len(chunk)
	if pos+size > cap(chunk) {
		chunk = append(make([]T, 0, min(chunkLen, 2*(pos+size))), chunk...)
	}
	a.chunks[last] = chunk[:pos+size]
	return uint32(last<<chunkBits | pos)
}

// release gives back the slot of a run of n elements.
func (a *arena[T]) release(off uint32, n int) {
	class, size := sizeClass(n)
	a.free[class] = append(a.free[class], off)
	a.live -= size
	a.idle += size
}

// run is the n elements at off. It is the arena's memory: valid until the run is released or the arena replaced.
func (a *arena[T]) run(off uint32, n int) []T {
	return a.tail(off)[:n:n]
}

// tail is what the chunk has from off on, for runs that say themselves how long they are.
func (a *arena[T]) tail(off uint32) []T {
	return a.chunks[off>>chunkBits][off&(chunkLen-1):]
}

// wasteful says that over a third of the arena waits for runs that do not come.
func (a *arena[T]) wasteful() bool { return a.idle > idleFloor && a.idle > a.live/2 }

func (a *arena[T]) bytes() int {
	n := 0
	for _, c := range a.chunks {
		n += cap(c) * int(unsafe.Sizeof(*new(T)))
	}
	for _, f := range a.free {
		n += cap(f) * 4
	}
	return n
}
