package dense

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

// What the processor has, of what is used in vector_amd64.s. The machine's system must save the registers, too: that is
// in what cpu says.
var (
	has256 = cpu.X86.HasAVX2 && cpu.X86.HasBMI2
	has512 = cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VPOPCNTDQ && cpu.X86.HasAVX512VBMI2
)

//go:noescape
func or256(to, a, b *Words)

//go:noescape
func and256(to, a, b *Words)

//go:noescape
func andNot256(to, a, b *Words)

//go:noescape
func copy512(to *[Bytes]byte, from *Words) (set, runs int)

// breaks512 counts for 32n elements those that do not follow the one that stands before them in memory.
//
//go:noescape
func breaks512(first *uint16, n int) int

// list512 writes no word's places behind the last byte, and says whether it has written all; Slack bytes must follow the last.
//
//go:noescape
func list512(to, last *byte, from *Words) bool

// addQuarters sets 4n places, n > 0.
//
//go:noescape
func addQuarters(to *Words, first *uint16, n int)

func or(to, a, b *Words) {
	if has256 {
		or256(to, a, b)
		return
	}
	plainOr(to, a, b)
}

func and(to, a, b *Words) {
	if has256 {
		and256(to, a, b)
		return
	}
	plainAnd(to, a, b)
}

func andNot(to, a, b *Words) {
	if has256 {
		andNot256(to, a, b)
		return
	}
	plainAndNot(to, a, b)
}

func copyWords(to *[Bytes]byte, from *Words) (set, runs int) {
	if has512 {
		return copy512(to, from)
	}
	return plainCopy(to, from)
}

func arrayRuns(array []uint16) int {
	if n := (len(array) - 1) / 32; has512 && n > 0 {
		// The last of the vectors' elements is the first of the rest, and a run there.
		return breaks512(&array[1], n) + plainRuns(array[32*n:])
	}
	return plainRuns(array)
}

func copyArray(to []byte, array []uint16) {
	if len(array) > 0 { // its bytes are in their order already
		copy(to[:2*len(array)], unsafe.Slice((*byte)(unsafe.Pointer(&array[0])), 2*len(array)))
	}
}

func list(to []byte, from *Words) {
	if !has512 {
		plainList(to, from)
		return
	}
	if !list512(&to[0], &to[len(to)-Slack], from) {
		panic("there is no room for the places that are set")
	}
}

func add(to *Words, array []uint16) {
	if n := len(array) / 4; has256 && n > 0 {
		addQuarters(to, &array[0], n)
		array = array[4*n:]
	}
	plainAdd(to, array)
}
