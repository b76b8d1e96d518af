package index

import (
	"encoding/binary"
	"hash/maphash"
	"unsafe"
)

// kind tells what a term's name is: a value of the slot with that number, or a tag.
type kind uint8

const (
	tagKind kind = 255
	// noTerm is the kind of an id that no term has.
	noTerm kind = 254
)

// term is a tag or a slot's value that somebody has; its number, the place among all terms, is the term's id.
// Twelve bytes each, because there may be as many terms as users.
type term struct {
	name uint32 // its name in the arena of names
	at   uint32 // where its postings are: see postings
	n    uint16 // how many they are; isTable: more than a list holds
	kind kind
}

const (
	termBits = 10
	termPage = 1 << termBits
)

// slot of the table. What the table's number leaves of the hash stands here and not in the term, so that a probe which
// finds another term does not go and look at it, wherever in memory that is: of a million other terms, one in about sixty
// is looked at for nothing. Six bytes, as there are more slots than terms; so the id is in halves.
type slot struct {
	hash uint16
	low  uint16 // of the id and one
	high uint16
}

func newSlot(h, id uint32) slot { return slot{hashRest(h), uint16(id + 1), uint16((id + 1) >> 16)} }

// id and one; 0 where the slot is empty.
func (s slot) id() uint32 { return uint32(s.low) | uint32(s.high)<<16 }

const (
	tableBits = 10
	tables    = 1 << tableBits
)

// hashRest is what of a hash stands in a slot.
func hashRest(h uint32) uint16 { return uint16(h >> (32 - tableBits - 16)) }

// terms is the dictionary. What has no postings any more is released, and its id given to another. It grows by pieces, so
// that a new term never waits for a copy of all: terms stand in pages, and the table is many by the hash's first bits,
// each of which grows by itself.
type terms struct {
	seed   maphash.Seed
	pages  []*[termPage]term
	n      int             // ids given so far
	freed  []uint32        // ids of released terms
	tables [tables]hashing // by the first bits of the hash
	names  arena[uint8]    // each name with its length in front, as a uvarint
	round  round
}

// hashing is one table: open addressing, linear probing. It is about three quarters full, at most four fifths, or has no slots.
type hashing struct {
	slots []slot
	used  int
}

func newTerms() terms { return terms{seed: maphash.MakeSeed()} }

// hash of a term. The seed is of this process alone, so that nobody can choose names that collide.
func (d *terms) hash(k kind, name string) uint32 {
	h := maphash.String(d.seed, name) + uint64(k)*0x9e3779b97f4a7c15
	return uint32(h>>32) ^ uint32(h)
}

// hashOf is the hash of a term that is known.
func (d *terms) hashOf(id uint32) uint32 { return d.hash(d.at(id).kind, d.text(id)) }

// at is the term of an id.
func (d *terms) at(id uint32) *term { return &d.pages[id>>termBits][id&(termPage-1)] }

// stored is a term's name as the arena has it, with its length in front.
func (d *terms) stored(id uint32) []byte {
	b := d.names.tail(d.at(id).name)
	n, head := binary.Uvarint(b)
	return b[:head+int(n)]
}

// name is a term's name, given where it is.
func (d *terms) name(at uint32) []byte {
	b := d.names.tail(at)
	if n := b[0]; n < 0x80 { // as nearly all are
		return b[1 : 1+int(n)]
	}
	n, head := binary.Uvarint(b)
	return b[head : head+int(n)]
}

// text is a term's name as a string that is good only until the dictionary changes.
func (d *terms) text(id uint32) string {
	return stringOf(d.name(d.at(id).name))
}

// stringOf is bytes as a string that is good only until they change.
func stringOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// is says whether an id is that of a term.
func (d *terms) is(id uint32, k kind, name string) bool {
	t := d.at(id)
	return t.kind == k && string(d.name(t.name)) == name
}

// find gives the id of a term, if it is known.
func (d *terms) find(h uint32, k kind, name string) (id uint32, ok bool) {
	t := &d.tables[h>>(32-tableBits)]
	if len(t.slots) == 0 {
		return 0, false
	}
	rest := hashRest(h)
	for i := t.home(rest); ; i = t.after(i) {
		s := t.slots[i]
		if s.id() == 0 {
			return 0, false
		}
		if s.hash == rest && d.is(s.id()-1, k, name) {
			return s.id() - 1, true
		}
	}
}

// like gives the id of a term that may have the hash, and one; 0 if there is none.
func (d *terms) like(h uint32) uint32 {
	t := &d.tables[h>>(32-tableBits)]
	if len(t.slots) == 0 {
		return 0
	}
	rest := hashRest(h)
	i := t.home(rest)
	for t.slots[i].id() != 0 && t.slots[i].hash != rest {
		i = t.after(i)
	}
	return t.slots[i].id()
}

// intern gives the id of a term, and makes it if it is not known.
func (d *terms) intern(h uint32, k kind, name string) uint32 {
	if id, ok := d.find(h, k, name); ok {
		return id
	}
	return d.add(h, k, name)
}

// next is an id for a term that will be written there.
func (d *terms) next() uint32 {
	if n := len(d.freed); n > 0 {
		id := d.freed[n-1]
		d.freed = d.freed[:n-1]
		return id
	}
	return d.fresh()
}

// fresh is an id that was never given.
func (d *terms) fresh() uint32 {
	if d.n>>termBits == len(d.pages) {
		d.pages = append(d.pages, new([termPage]term))
	}
	d.n++
	return uint32(d.n - 1)
}

// append gives a term an id that was never given. It is for a dictionary that nobody reads yet.
func (d *terms) append(t term) uint32 {
	id := d.fresh()
	*d.at(id) = t
	return id
}

// add makes a term that find did not find, without postings yet.
func (d *terms) add(h uint32, k kind, name string) uint32 {
	var head [binary.MaxVarintLen64]byte
	hn := binary.PutUvarint(head[:], uint64(len(name)))
	off := d.names.alloc(hn + len(name))
	b := d.names.run(off, hn+len(name))
	copy(b, head[:hn])
	copy(b[hn:], name)

	id := d.next()
	t := d.at(id) // it has no postings; where these are is not for a writer to touch: see Index.mu
	t.name, t.kind = off, k
	d.place(h, id)
	return id
}

// place puts a term into its table.
func (d *terms) place(h, id uint32) {
	t := &d.tables[h>>(32-tableBits)]
	if t.used++; t.used > len(t.slots)/5*4 {
		old := t.slots
		t.slots = make([]slot, max(10, (len(old)+len(old)/8+4)/5*5))
		for _, e := range old {
			if e.id() != 0 {
				t.place(e)
			}
		}
	}
	t.place(newSlot(h, id))
}

func (t *hashing) place(s slot) {
	i := t.home(s.hash)
	for t.slots[i].id() != 0 {
		i = t.after(i)
	}
	t.slots[i] = s
}

// home is the slot that the rest of a hash is looked for at first.
func (t *hashing) home(rest uint16) uint32 {
	return uint32(uint64(rest) * uint64(len(t.slots)) >> 16)
}

func (t *hashing) after(i uint32) uint32 {
	if i++; int(i) < len(t.slots) {
		return i
	}
	return 0
}

// from is how many slots behind another one is.
func (t *hashing) from(home, i uint32) uint32 {
	if i < home {
		i += uint32(len(t.slots))
	}
	return i - home
}

// release forgets a term.
func (d *terms) release(id uint32) {
	h := d.hashOf(id)
	t := &d.tables[h>>(32-tableBits)]
	hole := t.home(hashRest(h))
	for t.slots[hole].id() != id+1 {
		hole = t.after(hole)
	}
	// Later entries of the same run move up where the hole would cut them off from their place.
	for i := t.after(hole); t.slots[i].id() != 0; i = t.after(i) {
		if t.from(t.home(t.slots[i].hash), i) >= t.from(hole, i) {
			t.slots[hole] = t.slots[i]
			hole = i
		}
	}
	t.slots[hole] = slot{}
	t.used--
	d.names.release(d.at(id).name, len(d.stored(id)))
	d.at(id).kind = noTerm
	d.freed = append(d.freed, id)
}

func (d *terms) bytes() int {
	n := len(d.pages)*termPage*int(unsafe.Sizeof(term{})) + cap(d.pages)*8 + cap(d.freed)*4 + d.names.bytes()
	for i := range d.tables {
		n += len(d.tables[i].slots) * int(unsafe.Sizeof(slot{}))
	}
	return n
}
