package index

import (
	"math/bits"
	"slices"
	"unsafe"
)

// arena keeps very many short runs of T in a few large allocations, so that a run costs its bytes and the garbage
// collector sees chunks, not runs. A run's slot is of its length's size class, so whoever knows a run's length and offset
// can give it back: no header is kept for it. Slots given back wait for runs of their class. Once too much waits, the
// chunks with the most of it are vacated: the owner of the runs goes through them, some at a time, and moves (moved) those
// that stand in one; then the chunks are given back (vacated).
type arena[T uint8 | uint16 | uint32] struct {
	chunks [][]T
	free   [classes][]uint32 // offsets of slots to use again, by class
	use    []int             // elements in slots that are in use, by chunk
	gone   []uint32          // numbers of chunks that were given back
	last   int               // the chunk that new slots come from
	live   int               // elements in slots that are in use
	idle   int               // elements in slots that wait
	leave  []bool            // by chunk: it is being vacated; nil when none is
}

const (
	chunkBits = 16
	chunkLen  = 1 << chunkBits
	exact     = 64
	classes   = 288
	// Below this many idle elements, collecting them is not worth the while.
	idleFloor = chunkLen
)

// sizeClass gives the class of runs of n elements, and the length of its slots. Up to 64 each length is its own class;
// above there are eight to a doubling, so that a slot is at most an eighth longer than its run.
func sizeClass(n int) (class, size int) {
	if n <= exact {
		return n, n
	}
	shift := bits.Len(uint(n-1)) - 4
	eighths := (n - 1) >> shift // 8 to 15
	return exact + 8*(shift-3) + eighths - 7, (eighths + 1) << shift
}

// alloc finds a slot for a run of n elements, n > 0. Its contents are whatever was there.
func (a *arena[T]) alloc(n int) uint32 {
	class, size := sizeClass(n)
	a.live += size
	if waiting := a.free[class]; len(waiting) > 0 {
		off := waiting[len(waiting)-1]
		a.free[class] = waiting[:len(waiting)-1]
		a.idle -= size
		a.use[off>>chunkBits] += size
		return off
	}
	if len(a.chunks) == 0 || a.chunks[a.last] == nil || a.leaving(a.last) || len(a.chunks[a.last])+size > max(chunkLen, cap(a.chunks[a.last])) {
		a.grow(size)
	}
	chunk := a.chunks[a.last]
	pos := len(chunk)
	if pos+size > cap(chunk) {
		chunk = append(make([]T, 0, min(chunkLen, 2*(pos+size))), chunk...)
	}
	a.chunks[a.last] = chunk[:pos+size]
	a.use[a.last] += size
	return uint32(a.last<<chunkBits | pos)
}

// grow begins another chunk. The first one starts small and grows, for the many indexes that stay small. A run longer than
// a chunk gets one of its own.
func (a *arena[T]) grow(size int) {
	room := size
	if len(a.chunks) > 0 {
		room = max(size, chunkLen)
	}
	if n := len(a.gone); n > 0 {
		a.last, a.gone = int(a.gone[n-1]), a.gone[:n-1]
	} else {
		a.last = len(a.chunks)
		a.chunks, a.use = append(a.chunks, nil), append(a.use, 0)
		if a.leave != nil {
			a.leave = append(a.leave, false)
		}
	}
	a.chunks[a.last] = make([]T, 0, room)
}

// release gives back the slot of a run of n elements.
func (a *arena[T]) release(off uint32, n int) {
	class, size := sizeClass(n)
	a.live -= size
	a.use[off>>chunkBits] -= size
	if !a.leaving(int(off >> chunkBits)) {
		a.free[class] = append(a.free[class], off)
		a.idle += size
	}
}

// run is the n elements at off. It is the arena's memory: valid until the run is released or moved.
func (a *arena[T]) run(off uint32, n int) []T {
	return a.tail(off)[:n:n]
}

// tail is what the chunk has from off on, for runs that say themselves how long they are.
func (a *arena[T]) tail(off uint32) []T {
	return a.chunks[off>>chunkBits][off&(chunkLen-1):]
}

// wasteful says that over a quarter of the arena waits for runs that do not come.
func (a *arena[T]) wasteful() bool { return a.idle > idleFloor && a.idle > a.live/3 }

// vacate chooses the chunks to be left: those of which a quarter or more is not in use.
func (a *arena[T]) vacate() {
	a.leave = make([]bool, len(a.chunks))
	for i, c := range a.chunks {
		a.leave[i] = c != nil && a.use[i] <= len(c)/4*3
	}
	for class, waiting := range a.free {
		kept := slices.DeleteFunc(waiting, func(off uint32) bool { return a.leave[off>>chunkBits] })
		if cap(kept) > 2*len(kept)+64 {
			kept = slices.Clone(kept)
		}
		a.free[class] = kept
	}
	a.idle = 0
	for i, c := range a.chunks {
		if !a.leave[i] {
			a.idle += len(c) - a.use[i]
		}
	}
}

// leaving says whether a chunk is being vacated.
func (a *arena[T]) leaving(chunk int) bool { return a.leave != nil && a.leave[chunk] }

// moved gives where a run of n elements stands that stood at off: elsewhere, if its chunk is being vacated.
func (a *arena[T]) moved(off uint32, n int) uint32 {
	if !a.leaving(int(off >> chunkBits)) {
		return off
	}
	to := a.alloc(n)
	copy(a.run(to, n), a.run(off, n))
	a.release(off, n)
	return to
}

// vacated gives back the chunks that nobody uses any more; every run was asked whether it must move.
func (a *arena[T]) vacated() {
	for i, leave := range a.leave {
		if leave {
			a.chunks[i] = nil
			a.gone = append(a.gone, uint32(i))
		}
	}
	a.leave = nil
}

func (a *arena[T]) bytes() int {
	n := len(a.chunks) * 32
	for _, c := range a.chunks {
		n += cap(c) * int(unsafe.Sizeof(*new(T)))
	}
	for _, f := range a.free {
		n += cap(f) * 4
	}
	return n
}
