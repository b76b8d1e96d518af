package index

import (
	"encoding/binary"
	"hash/maphash"
	"unsafe"
)

// kind tells what a term's name is: a value of the slot with that number, or a tag.
type kind uint8

const tagKind kind = 255

// term is a tag or a slot's value that somebody has; its number, the place in the slice of terms, is the term's id.
// Twelve bytes each, because there may be as many terms as users.
type term struct {
	name uint32 // its name in the arena of names
	at   uint32 // where its postings are: see postings
	n    uint16 // how many they are; isBig: more than a list holds
	kind kind
}

// slot of the table. The hash stands here and not in the term, so that a probe which finds another term does not go and
// look at it, wherever in memory that is.
type slot struct {
	hash uint32
	id   uint32 // and one; 0 where the slot is empty
}

// terms is the dictionary. A term without postings is released by the caller at once, and its id given to another.
type terms struct {
	seed  maphash.Seed
	all   []term
	freed []uint32     // ids of released terms
	table []slot       // open addressing, linear probing, a power of two long
	names arena[uint8] // each name with its length in front, as a uvarint
}

func newTerms() terms {
	return terms{seed: maphash.MakeSeed(), table: make([]slot, 16)}
}

// hash of a term. The seed is of this process alone, so that nobody can choose names that collide.
func (d *terms) hash(k kind, name string) uint32 {
	h := maphash.String(d.seed, name) + uint64(k)*0x9e3779b97f4a7c15
	return uint32(h>>32) ^ uint32(h)
}

// hashOf is the hash of a term that is known.
func (d *terms) hashOf(id uint32) uint32 {
	name := d.name(id)
	return d.hash(d.all[id].kind, unsafe.String(unsafe.SliceData(name), len(name)))
}

// stored is a term's name as the arena has it, with its length in front.
func (d *terms) stored(id uint32) []byte {
	b := d.names.tail(d.all[id].name)
	n, head := binary.Uvarint(b)
	return b[:head+int(n)]
}

func (d *terms) name(id uint32) []byte {
	b := d.names.tail(d.all[id].name)
	n, head := binary.Uvarint(b)
	return b[head : head+int(n)]
}

// is says whether an id is that of a term.
func (d *terms) is(id uint32, k kind, name string) bool {
	return d.all[id].kind == k && string(d.name(id)) == name
}

// find gives the id of a term, if it is known.
func (d *terms) find(h uint32, k kind, name string) (id uint32, ok bool) {
	mask := uint32(len(d.table) - 1)
	for i := h & mask; d.table[i].id != 0; i = (i + 1) & mask {
		if d.table[i].hash == h && d.is(d.table[i].id-1, k, name) {
			return d.table[i].id - 1, true
		}
	}
	return 0, false
}

// add makes a term that find did not find, without postings yet.
func (d *terms) add(h uint32, k kind, name string) uint32 {
	var head [binary.MaxVarintLen64]byte
	hn := binary.PutUvarint(head[:], uint64(len(name)))
	off := d.names.alloc(hn + len(name))
	b := d.names.run(off, hn+len(name))
	copy(b, head[:hn])
	copy(b[hn:], name)

	var id uint32
	if n := len(d.freed); n > 0 {
		id, d.freed = d.freed[n-1], d.freed[:n-1]
	} else {
		id = uint32(len(d.all))
		d.all = append(d.all, term{})
	}
	d.all[id] = term{name: off, kind: k}
	if used := len(d.all) - len(d.freed); used > len(d.table)/5*4 {
		d.rehash(2 * len(d.table))
	}
	d.place(h, id)
	return id
}

func (d *terms) rehash(size int) {
	old := d.table
	d.table = make([]slot, size)
	for _, e := range old {
		if e.id != 0 {
			d.place(e.hash, e.id-1)
		}
	}
}

func (d *terms) place(h, id uint32) {
	mask := uint32(len(d.table) - 1)
	i := h & mask
	for d.table[i].id != 0 {
		i = (i + 1) & mask
	}
	d.table[i] = slot{h, id + 1}
}

// release forgets a term.
func (d *terms) release(id uint32) {
	mask := uint32(len(d.table) - 1)
	hole := d.hashOf(id) & mask
	for d.table[hole].id != id+1 {
		hole = (hole + 1) & mask
	}
	// Later entries of the same run move up where the hole would cut them off from their place.
	for i := (hole + 1) & mask; d.table[i].id != 0; i = (i + 1) & mask {
		home := d.table[i].hash & mask
		if (i-home)&mask >= (i-hole)&mask {
			d.table[hole] = d.table[i]
			hole = i
		}
	}
	d.table[hole] = slot{}
	d.names.release(d.all[id].name, len(d.stored(id)))
	d.all[id] = term{}
	d.freed = append(d.freed, id)
}

func (d *terms) bytes() int {
	return cap(d.all)*int(unsafe.Sizeof(term{})) + cap(d.freed)*4 + len(d.table)*int(unsafe.Sizeof(slot{})) + d.names.bytes()
}
