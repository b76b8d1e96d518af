package index

import (
	"math/bits"

	"github.com/carillon-push/carillon/pkg/push"
)

// writing is the scratch of a batch.
type writing struct {
	changes  []change
	ats      []uint32 // where the users' own terms are, then where the names of these are
	ids      []uint32 // the users' own terms
	ends     []int    // where each user's end
	old, new []uint32
	tags     tagSet
	touched  byte
}

// Apply sets what is known of one user. A record that is a tombstone takes the user out.
func (x *Index) Apply(local uint32, rec *push.Record) {
	x.ApplyBatch([]Update{{local, rec}})
}

// ApplyBatch applies updates in their order; readers see all of them or none. Batches of about 64 cost little each and are
// short to wait for. Records are only read, and not kept.
func (x *Index) ApplyBatch(batch []Update) {
	x.writer.Lock()
	defer x.writer.Unlock()
	x.writing.changes = x.writing.changes[:0]
	for len(batch) > 0 {
		some := batch[:min(len(batch), 64)]
		batch = batch[len(some):]
		x.touch(some)
		from, seen := 0, [16]uint64{}
		for i, u := range some {
			end := x.writing.ends[i]
			old := x.writing.ids[from:end]
			from = end
			place := u.Local * 0x9e3779b1 >> 22
			if bit := uint64(1) << (place & 63); seen[place>>6]&bit == 0 {
				seen[place>>6] |= bit
			} else { // the user may have changed in this batch already
				x.writing.old = x.forward.get(u.Local, x.writing.old[:0])
				old = x.writing.old
			}
			x.compare(u.Local, u.Record, old)
		}
	}
	if len(x.writing.changes) == 0 {
		return
	}
	waiting := x.queue.push(x.writing.changes)
	free := x.mu.TryLock()
	if !free && waiting > maxQueue {
		x.mu.Lock()
		free = true
	}
	if free {
		x.settle()
		x.mu.Unlock()
	}
	x.forget()
	x.tidy(len(x.writing.changes))
	if cap(x.writing.changes) > maxSpare {
		x.writing.changes = nil
	}
}

// touch finds the users' own terms, and looks at everything that comparing a batch with them will look at. It waits for memory at four places, each
// behind the one before; so all users make their first step, and then all their second: the waits pass beside one another.
func (x *Index) touch(batch []Update) {
	w, f, d := &x.writing, &x.forward, &x.terms
	w.ats, w.ids = w.ats[:0], w.ids[:0]
	for _, u := range batch {
		w.ats = append(w.ats, f.at(u.Local))
	}
	sum := byte(0)
	for _, at := range w.ats {
		if at != 0 {
			sum += f.runs.tail(at - 1)[0]
		}
	}
	w.ends = w.ends[:0]
	for _, at := range w.ats {
		if at != 0 {
			w.ids = f.ids(at-1, w.ids)
		}
		w.ends = append(w.ends, len(w.ids))
	}
	w.ats = w.ats[:0]
	for _, id := range w.ids {
		w.ats = append(w.ats, d.at(id).name)
	}
	for _, at := range w.ats {
		sum += d.names.tail(at)[0]
	}
	w.touched = sum // so that the loads are made
}

// compare finds out what a record changes of a user who has the old terms, and notes it: at once in the forward store and
// the dictionary, and for the postings as changes.
func (x *Index) compare(u uint32, rec *push.Record, old []uint32) {
	w, d := &x.writing, &x.terms
	w.new = w.new[:0]
	if rec.Deleted {
		had := uint(0)
		for _, id := range old {
			if k := d.at(id).kind; k != tagKind {
				had |= 1 << k
			}
			w.changes = append(w.changes, change{id | goes, u})
		}
		x.changeSets(u, had, 0)
		w.changes = append(w.changes, change{allUsers | goes, u})
		x.forward.put(u, nil)
		return
	}
	w.tags.fill(rec.Tags)
	kept, had, now := uint(0), uint(0), uint(0)
	for _, id := range old {
		t := d.at(id)
		name := d.name(t.name)
		if t.kind == tagKind {
			if w.tags.keep(rec.Tags, name) {
				w.new = append(w.new, id)
				continue
			}
		} else {
			had |= 1 << t.kind
			if rec.Attrs[t.kind] == string(name) {
				kept |= 1 << t.kind
				w.new = append(w.new, id)
				continue
			}
		}
		w.changes = append(w.changes, change{id | goes, u})
	}
	same := len(w.new)
	for i, tag := range rec.Tags {
		if w.tags.wanted[i] {
			x.gain(u, tagKind, tag)
		}
	}
	for s, value := range rec.Attrs {
		if value != "" {
			if now |= 1 << s; kept>>s&1 == 0 {
				x.gain(u, kind(s), value)
			}
		}
	}
	if len(old) == 0 { // of whom nothing is known may be new
		w.changes = append(w.changes, change{allUsers, u})
	}
	if same == len(old) && same == len(w.new) {
		return
	}
	x.changeSets(u, had, now)
	x.forward.put(u, w.new)
}

// gain notes a term that the user did not have.
func (x *Index) gain(u uint32, k kind, name string) {
	w, h := &x.writing, x.terms.hash(k, name)
	id, ok := x.terms.find(h, k, name)
	if !ok {
		x.names.Lock()
		id = x.terms.add(h, k, name)
		x.names.Unlock()
	}
	w.changes = append(w.changes, change{id, u})
	w.new = append(w.new, id)
	for i := len(w.new) - 1; i > 0 && w.new[i-1] > id; i-- {
		w.new[i-1], w.new[i] = id, w.new[i-1]
	}
}

// changeSets notes the slots in which the user has a value only now, or no more.
func (x *Index) changeSets(u uint32, had, now uint) {
	for diff := had ^ now; diff != 0; diff &= diff - 1 {
		s := bits.TrailingZeros(diff)
		c := change{firstSet + uint32(s), u}
		if now>>s&1 == 0 {
			c.id |= goes
		}
		x.writing.changes = append(x.writing.changes, c)
	}
}

func (w *writing) bytes() int {
	return cap(w.changes)*8 + (cap(w.ats)+cap(w.ids)+cap(w.old)+cap(w.new))*4
}

// tagSet is the tags of one record, for finding out which of them the user has already.
type tagSet struct {
	slots  []uint32 // by key: index of the tag, and one; a power of two long, twice the tags at least
	wanted []bool   // the tag is not known of the user yet, and stands there the first time
}

func (s *tagSet) fill(tags []string) {
	size := 16
	for size < 2*len(tags) {
		size *= 2
	}
	if cap(s.slots) < size {
		s.slots = make([]uint32, size)
	}
	s.slots, s.wanted = s.slots[:size], s.wanted[:0]
	clear(s.slots)
	for i, tag := range tags {
		slot := s.find(tags, tag)
		first := s.slots[slot] == 0
		if first {
			s.slots[slot] = uint32(i + 1)
		}
		s.wanted = append(s.wanted, first)
	}
}

// key of a tag: its length and last bytes, as beginnings are often alike. It is no hash that an adversary could not fill
// with his own; but a record has few tags, and to compare each with each is bearable.
func tagKey(tag string) uint32 {
	k := uint32(len(tag))
	for i := max(0, len(tag)-5); i < len(tag); i++ {
		k = k<<5 ^ k>>27 ^ uint32(tag[i])
	}
	return k * 0x9e3779b1 >> 16
}

// find gives the slot where a tag stands, or would.
func (s *tagSet) find(tags []string, tag string) uint32 {
	mask := uint32(len(s.slots) - 1)
	i := tagKey(tag) & mask
	for s.slots[i] != 0 && tags[s.slots[i]-1] != tag {
		i = (i + 1) & mask
	}
	return i
}

// keep says whether a name is among the tags, and that it need not be looked up.
func (s *tagSet) keep(tags []string, name []byte) bool {
	i := s.slots[s.find(tags, stringOf(name))]
	if i == 0 {
		return false
	}
	s.wanted[i-1] = false
	return true
}
