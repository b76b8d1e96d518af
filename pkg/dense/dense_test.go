package dense

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
)

// drawn are words of which about one place in odds is set, in some of them; 0 is none and 1 all.
func drawn(r *rand.Rand, odds uint32) *Words {
	var w Words
	for i := range w {
		switch r.Uint32N(8) {
		case 0:
		case 1:
			w[i] = r.Uint64()
		default:
			for bit := range 64 {
				if odds > 0 && r.Uint32N(odds) == 0 {
					w[i] |= 1 << bit
				}
			}
		}
	}
	return &w
}

// places is the oracle's way to know them: one after another.
func places(w *Words) (list []uint16) {
	for u := range Places {
		if w[u/64]>>(u%64)&1 != 0 {
			list = append(list, uint16(u))
		}
	}
	return list
}

func naiveRuns(list []uint16) (runs int) {
	for i, u := range list {
		if i == 0 || list[i-1] != u-1 {
			runs++
		}
	}
	return runs
}

var allOdds = []uint32{0, 1, 2, 3, 16, 100, 1000, 100_000}

// check holds everything for two sets against the oracle, place by place.
func check(t *testing.T, a, b *Words) {
	t.Helper()
	var or, and, less Words
	Or(&or, a, b)
	And(&and, a, b)
	AndNot(&less, a, b)
	var plain [3]Words
	plainOr(&plain[0], a, b)
	plainAnd(&plain[1], a, b)
	plainAndNot(&plain[2], a, b)
	for i := range a {
		if want := [3]uint64{a[i] | b[i], a[i] & b[i], a[i] &^ b[i]}; want != [3]uint64{or[i], and[i], less[i]} || want != [3]uint64{plain[0][i], plain[1][i], plain[2][i]} {
			t.Fatalf("word %d of the sums is wrong", i)
		}
	}
	over := *a // in place, from either side
	if Or(&over, &over, b); over != or {
		t.Fatal("Or over its first is something else")
	}
	over = *b
	if AndNot(&over, a, &over); over != less {
		t.Fatal("AndNot over its second is something else")
	}
	over = *a
	if And(&over, &over, &over); over != *a {
		t.Fatal("And of one is something else")
	}

	list := places(a)
	for name, copied := range map[string]func(*[Bytes]byte, *Words) (int, int){"vector": Copy, "plain": plainCopy} {
		room := make([]byte, Bytes+3) // no vector's border
		set, runs := copied((*[Bytes]byte)(room[1:]), a)
		if set != len(list) || runs != naiveRuns(list) {
			t.Fatalf("%s: %d places in %d runs, want %d in %d", name, set, runs, len(list), naiveRuns(list))
		}
		for i, x := range a {
			if binary.LittleEndian.Uint64(room[1+8*i:]) != x {
				t.Fatalf("%s: word %d is laid out wrong", name, i)
			}
		}
		if room[0] != 0 || room[Bytes+1] != 0 || room[Bytes+2] != 0 {
			t.Fatalf("%s: it wrote beside its room", name)
		}
	}
	for name, count := range map[string]func([]uint16) int{"vector": Runs, "plain": plainRuns} {
		for _, cut := range []int{0, 1, 2, 31, 32, 33, 64, 65, len(list)} {
			if part := list[:min(cut, len(list))]; count(part) != naiveRuns(part) {
				t.Fatalf("%s: %d runs of %d places, want %d", name, count(part), len(part), naiveRuns(part))
			}
		}
	}
	for name, write := range map[string]func([]byte, *Words){"vector": List, "plain": plainList} {
		room := make([]byte, 2*len(list)+Slack+1)
		write(room[:2*len(list)+Slack], a)
		for i, u := range list {
			if binary.LittleEndian.Uint16(room[2*i:]) != u {
				t.Fatalf("%s: place %d is laid out wrong", name, i)
			}
		}
		if room[2*len(list)+Slack] != 0 {
			t.Fatalf("%s: it wrote beside its room", name)
		}
	}
	for name, write := range map[string]func([]byte, []uint16){"vector": CopyArray, "plain": plainArray} {
		room := make([]byte, 2*len(list)+1)
		write(room[:2*len(list)], list)
		for i, u := range list {
			if binary.LittleEndian.Uint16(room[2*i:]) != u {
				t.Fatalf("%s: place %d of an array is laid out wrong", name, i)
			}
		}
	}
	over = *b
	if Add(&over, list); over != or {
		t.Fatal("Add is something else than Or")
	}
	over = *b
	if plainAdd(&over, list); over != or {
		t.Fatal("plain: Add is something else than Or")
	}
	over = *a
	if Remove(&over, places(b)); over != less {
		t.Fatal("Remove is something else than AndNot")
	}
}

func TestAgainstTheOracle(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 1))
	for _, a := range allOdds {
		for _, b := range allOdds {
			check(t, drawn(r, a), drawn(r, b))
		}
	}
	full := new(Words)
	for i := range full {
		full[i] = ^uint64(0)
	}
	check(t, full, new(Words))
	check(t, new(Words), full)
	check(t, full, full)
}

func FuzzAgainstTheOracle(f *testing.F) {
	f.Add([]byte{}, []byte{1})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, []byte{0x80, 7, 0})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		of := func(data []byte) *Words {
			room := slices.Repeat(append(data, 0), Bytes/(len(data)+1)+1)
			var w Words
			for i := range w {
				w[i] = binary.LittleEndian.Uint64(room[8*i:])
			}
			return &w
		}
		if max(len(a), len(b)) < Bytes {
			check(t, of(a), of(b))
		}
	})
}

func TestListNeedsItsRoom(t *testing.T) {
	t.Parallel()
	room := make([]byte, 100+Slack)
	defer func() {
		if recover() == nil {
			t.Error("it wrote beyond its room")
		}
	}()
	List(room, drawn(rand.New(rand.NewPCG(1, 1)), 2))
}

func TestNothingAllocates(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 1))
	a, b := drawn(r, 2), drawn(r, 16)
	few := drawn(r, 100)
	list := places(few)
	into, room := new(Words), make([]byte, 2*len(places(b))+Bytes)
	if n := testing.AllocsPerRun(10, func() {
		Or(into, a, b)
		And(into, a, b)
		AndNot(into, a, b)
		Add(into, list)
		Remove(into, list)
		Copy((*[Bytes]byte)(room), a)
		Runs(list)
		List(room, b)
		CopyArray(room, list)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkDense(b *testing.B) {
	r := rand.New(rand.NewPCG(3, 1))
	half, tenth := drawn(r, 2), drawn(r, 10)
	few := new(Words)
	for range 3000 {
		u := r.Uint32N(Places)
		few[u/64] |= 1 << (u % 64)
	}
	list := places(few)
	into, room := new(Words), make([]byte, 2*Bytes)
	for _, c := range []struct {
		name          string
		vector, plain func()
	}{
		{"Or", func() { Or(into, half, tenth) }, func() { plainOr(into, half, tenth) }},
		{"AndNot", func() { AndNot(into, half, tenth) }, func() { plainAndNot(into, half, tenth) }},
		{"Copy", func() { Copy((*[Bytes]byte)(room), half) }, func() { plainCopy((*[Bytes]byte)(room), half) }},
		{"Runs of 3000", func() { Runs(list) }, func() { plainRuns(list) }},
		{"List of 3000", func() { List(room, few) }, func() { plainList(room, few) }},
		{"Add of 3000", func() { Add(into, list) }, func() {
			for _, u := range list {
				into[u>>6] |= 1 << (u & 63)
			}
		}},
	} {
		b.Run(c.name+"/as it is", func(b *testing.B) {
			for b.Loop() {
				c.vector()
			}
		})
		b.Run(c.name+"/plain", func(b *testing.B) {
			for b.Loop() {
				c.plain()
			}
		})
	}
}
