// Package index answers which users of one shard a condition holds for. It is a fold over the shard's user records: Apply
// them in the order of the log, and Eval gives the audience as a bitmap of local ordinals. A record replaces all that
// was known of its user, so a record applied twice, or a fold begun again at any earlier place, comes to the same index.
//
// # Layout
//
// A term is a tag, or a value of an attribute's slot. Most terms are rare and most postings belong to few terms, so a
// term's postings have three forms: a single ordinal stands in the dictionary's entry, up to about a thousand are a
// sorted list in an arena, and more are a roaring bitmap. A term that nobody has any more leaves nothing behind. For each
// slot there is a bitmap of the users that have any value in it. Beside this inverted side stands the forward store:
// each user's own terms as ids, which is what an update compares the new record with, so that it touches only the
// postings that differ.
//
// The forward store is all of it that a log's past needs: a Builder keeps nothing else while it folds, and makes the inverted
// side at the end, as Read does of a file.
//
// # Concurrency
//
// Writers take turns; readers run beside one another and see a batch whole or not at all. Copying an arena to get rid of
// its holes goes on beside the readers, and shuts them out only to put the copy in place.
package index

import (
	"slices"
	"sync"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/pkg/push"
)

// Index of one shard. Its zero value is not usable: see New.
type Index struct {
	writer sync.Mutex   // held through a batch and the compaction after it; taken before mu
	mu     sync.RWMutex // guards what readers read: terms, postings, all, has

	terms    terms
	postings postings
	all      *roaring.Bitmap
	has      [push.AttrSlots]*roaring.Bitmap

	// Of the writer alone.
	forward  forward
	old, new []uint32 // a user's term ids, before and after
	hashes   []uint32
}

// New is an index without users.
func New() *Index {
	x := &Index{terms: newTerms(), all: roaring.New()}
	for i := range x.has {
		x.has[i] = roaring.New()
	}
	return x
}

// Update is one user's record, by the user's place within the shard (push.Sharding.Local).
type Update struct {
	Local  uint32
	Record *push.Record
}

// Apply sets what is known of one user. A record that is a tombstone takes the user out.
func (x *Index) Apply(local uint32, rec *push.Record) {
	x.ApplyBatch([]Update{{local, rec}})
}

// ApplyBatch applies updates in their order; readers see all of them or none. Batches of about 64 keep readers from
// waiting long and the lock from costing much. Records are only read, and not kept.
func (x *Index) ApplyBatch(batch []Update) {
	x.writer.Lock()
	defer x.writer.Unlock()
	x.mu.Lock()
	for _, u := range batch {
		x.apply(u.Local, u.Record)
	}
	x.mu.Unlock()
	x.compact()
}

func (x *Index) apply(u uint32, rec *push.Record) {
	x.old = x.forward.get(u, x.old[:0])
	x.new = x.new[:0]
	if rec.Deleted {
		x.all.Remove(u)
	} else {
		x.all.Add(u)
		x.lookup(rec)
	}
	if slices.Equal(x.old, x.new) {
		return
	}
	// Both are ascending: walk them together. What is new comes first, for a term must not be released and made again.
	for i, j := 0, 0; j < len(x.new); j++ {
		for i < len(x.old) && x.old[i] < x.new[j] {
			i++
		}
		if i == len(x.old) || x.old[i] != x.new[j] {
			x.addPosting(x.new[j], u)
		}
	}
	for i, j := 0, 0; i < len(x.old); i++ {
		for j < len(x.new) && x.new[j] < x.old[i] {
			j++
		}
		if j == len(x.new) || x.new[j] != x.old[i] {
			x.removePosting(x.old[i], u, rec)
		}
	}
	x.forward.put(u, x.new)
}

// lookup fills new with the ids of a record's terms, ascending and without repeats. Terms that are not known are made.
func (x *Index) lookup(rec *push.Record) {
	x.hashes = x.hashes[:0]
	for _, tag := range rec.Tags {
		x.hashes = append(x.hashes, x.terms.hash(tagKind, tag))
	}
	for slot, value := range rec.Attrs {
		x.hashes = append(x.hashes, x.terms.hash(kind(slot), value))
	}
	for i, tag := range rec.Tags {
		x.new = append(x.new, x.intern(x.hashes[i], tagKind, tag))
	}
	for slot, value := range rec.Attrs {
		if value != "" {
			x.new = append(x.new, x.intern(x.hashes[len(rec.Tags)+slot], kind(slot), value))
		}
	}
	x.sortNew()
}

func (x *Index) sortNew() {
	slices.Sort(x.new)
	x.new = slices.Compact(x.new)
}

func (x *Index) intern(h uint32, k kind, name string) uint32 {
	if id, ok := x.terms.find(h, k, name); ok {
		return id
	}
	return x.terms.add(h, k, name)
}

func (x *Index) addPosting(id, u uint32) {
	t := &x.terms.all[id]
	x.postings.add(t, u)
	if t.kind != tagKind {
		x.has[t.kind].Add(u)
	}
}

// removePosting undoes a term that the user's new record does not have.
func (x *Index) removePosting(id, u uint32, rec *push.Record) {
	t := &x.terms.all[id]
	if t.kind != tagKind && (rec.Deleted || rec.Attrs[t.kind] == "") {
		x.has[t.kind].Remove(u)
	}
	if !x.postings.remove(t, u) {
		x.terms.release(id)
	}
}

// compact copies the arenas that have grown holes. Only the writer changes anything, so the copy is made while readers
// go on reading; they wait only while it is put in place.
func (x *Index) compact() {
	if x.forward.runs.wasteful() {
		x.forward = x.forward.compacted()
	}
	lists, names := x.postings.lists.wasteful(), x.terms.names.wasteful()
	if !lists && !names {
		return
	}
	all := slices.Clone(x.terms.all)
	var newLists arena[uint32]
	var newNames arena[uint8]
	for i := range all {
		t := &all[i]
		if lists && t.n > 1 && t.n != isBig {
			list := x.postings.lists.run(t.at, int(t.n))
			t.at = newLists.alloc(len(list))
			copy(newLists.run(t.at, len(list)), list)
		}
		if names && t.n > 0 {
			name := x.terms.stored(uint32(i))
			t.name = newNames.alloc(len(name))
			copy(newNames.run(t.name, len(name)), name)
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.terms.all = all
	if lists {
		x.postings.lists = newLists
	}
	if names {
		x.terms.names = newNames
	}
}

// Users is the number of users.
func (x *Index) Users() uint64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.all.GetCardinality()
}

// Terms is the number of tags and attribute values that at least one user has.
func (x *Index) Terms() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.terms.all) - len(x.terms.freed)
}

// Bytes estimates the memory that the index holds. It walks the bitmaps and keeps writers waiting meanwhile: for metrics
// now and then.
func (x *Index) Bytes() int {
	x.writer.Lock()
	defer x.writer.Unlock()
	n := x.terms.bytes() + x.postings.bytes() + x.forward.bytes() + bitmapBytes(x.all)
	for _, h := range x.has {
		n += bitmapBytes(h)
	}
	return n
}
