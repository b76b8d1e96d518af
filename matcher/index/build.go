package index

import (
	"slices"

	"github.com/carillon-push/carillon/pkg/push"
)

// Builder makes the index of a log that is read from its beginning, which nobody asks before the end: it keeps the users'
// own terms only, and makes the postings of all of them at once, from these. It is a fold as Index is, of the same records
// to the same index, in a third of the time. A Builder is of one goroutine.
type Builder struct {
	d derivation

	// Of a batch, its terms in the order of their users.
	keys []key
	new  []uint32 // a user's term ids
}

// key is a term of a record, and its id if that was found among the known.
type key struct {
	name string
	hash uint32
	id   uint32 // and one; 0: not found yet
	at   uint32 // of the name that is to be compared
	kind kind
}

// NewBuilder has no users, of a shard of the given width.
func NewBuilder(width uint32) *Builder { return &Builder{d: newDerivation(New(), width)} }

// ApplyBatch applies updates in their order. Their local ordinals are below the width. Records are only read, and not kept.
func (b *Builder) ApplyBatch(batch []Update) {
	x := b.d.x
	b.find(batch)
	keys := b.keys
	for _, u := range batch {
		b.new = b.new[:0]
		if u.Record.Deleted {
			b.d.users.Remove(u.Local)
		} else {
			b.d.users.Add(u.Local)
			n := count(u.Record)
			for i := range keys[:n] {
				k := &keys[i]
				if k.id == 0 { // it may be there since, by a record before this one
					k.id = x.terms.intern(k.hash, k.kind, k.name) + 1
				}
				b.new = append(b.new, k.id-1)
			}
			keys = keys[n:]
			slices.Sort(b.new)
			b.new = slices.Compact(b.new)
		}
		x.forward.put(u.Local, b.new)
	}
	x.forward.tidy(len(b.keys))
}

// count is how many terms a record has, repeats among them.
func count(rec *push.Record) int {
	n := len(rec.Tags)
	for _, value := range rec.Attrs {
		if value != "" {
			n++
		}
	}
	return n
}

// find looks the terms of a batch up in the dictionary. A look-up waits for memory at three places, one behind the other;
// so all make their first step, and then all their second: the waits for one of them pass beside those for the others.
func (b *Builder) find(batch []Update) {
	d := &b.d.x.terms
	b.keys = b.keys[:0]
	for _, u := range batch {
		if u.Record.Deleted {
			continue
		}
		for _, tag := range u.Record.Tags {
			b.keys = append(b.keys, key{name: tag, kind: tagKind, hash: d.hash(tagKind, tag)})
		}
		for slot, value := range u.Record.Attrs {
			if value != "" {
				b.keys = append(b.keys, key{name: value, kind: kind(slot), hash: d.hash(kind(slot), value)})
			}
		}
	}
	for i := range b.keys {
		k := &b.keys[i]
		k.id = d.like(k.hash)
	}
	for i := range b.keys {
		k := &b.keys[i]
		if k.id != 0 {
			t := d.at(k.id - 1)
			if k.at = t.name; t.kind != k.kind {
				k.id = 0 // another with this hash: intern finds out
			}
		}
	}
	for i := range b.keys {
		k := &b.keys[i]
		if k.id != 0 && string(d.name(k.at)) != k.name {
			k.id = 0
		}
	}
}

// Index is what was built. The Builder is used up.
func (b *Builder) Index() *Index {
	d := &b.d
	d.room()
	both(func(half int) { d.count(half) })
	for id, n := range d.n[0] {
		if n+d.n[1][id] == 0 { // a term that a later record of the log has taken from all who had it
			d.x.terms.release(uint32(id))
		}
	}
	d.derive()
	return d.x
}
