// Package index answers which users of one shard a condition holds for. It is a fold over the shard's user records: Apply
// them in the order of the log, and Eval gives the audience as a bitmap of local ordinals. A record replaces all that
// was known of its user, so a record applied twice, or a fold begun again at any earlier place, comes to the same index.
//
// # Layout
//
// A term is a tag, or a value of an attribute's slot. Most terms are rare and most postings belong to few terms, so a
// term's postings have three forms: a single ordinal stands in the dictionary's entry, some dozens are a short list in
// an arena, and more are a table with a container for each 65,536 ordinals: an array of their low halves in an arena, or
// bits. A term that nobody has any more leaves nothing behind. Everybody, and for each slot those who have any value in
// it, are kept as a term's postings are. Beside this inverted side stands the forward store: each user's own terms as ids,
// which is what an update compares the new record with, so that it looks up and touches only what differs.
//
// An evaluation goes through 65,536 ordinals at a time with the whole predicate, so that what it computes stays in the
// first cache, and lays out what it finds in roaring's format as it goes.
//
// The forward store is all of it that a log's past needs: a Builder keeps nothing else while it folds, and makes the inverted
// side at the end, as Read does of a file.
//
// # Concurrency
//
// Writers take turns; readers run beside one another, and see all batches that were applied before they began, each whole
// or not at all. A writer finds out what a batch changes without keeping readers from anything, and leaves the changes of
// postings in a queue if somebody reads just then; the next reader makes them before it reads. So neither waits for the
// other, but for the turn of a dictionary's entry and for the making of what is in the queue, which is bounded.
package index

import (
	"sync"

	"github.com/carillon-push/carillon/pkg/push"
)

// Index of one shard. Its zero value is not usable: see New.
type Index struct {
	// The locks, in the order in which they are taken.
	writer sync.Mutex   // held through a batch
	mu     sync.RWMutex // guards what evaluations read: the postings, and where each term's are (term.at, term.n)
	names  sync.RWMutex // guards the rest of the dictionary; only the holder of writer changes it, and may read it without

	terms    terms
	postings postings
	users    term
	has      [push.AttrSlots]term
	queue    queue

	// Of the writer alone.
	forward forward
	writing writing
	ofAll   [push.AttrSlots + 1]*term
}

// New is an index without users.
func New() *Index { return &Index{terms: newTerms()} }

// Update is one user's record, by the user's place within the shard (push.Sharding.Local).
type Update struct {
	Local  uint32
	Record *push.Record
}

// Users is the number of users.
func (x *Index) Users() uint64 {
	x.read()
	defer x.mu.RUnlock()
	return uint64(x.postings.len(&x.users))
}

// Terms is the number of tags and attribute values that at least one user has.
func (x *Index) Terms() int {
	x.writer.Lock()
	defer x.writer.Unlock()
	x.settleAll()
	return x.terms.n - len(x.terms.freed)
}

// Bytes estimates the memory that the index holds. It keeps writers waiting meanwhile: for metrics now and then.
func (x *Index) Bytes() int {
	x.writer.Lock()
	defer x.writer.Unlock()
	x.settleAll()
	return x.terms.bytes() + x.postings.bytes() + x.forward.bytes() + x.queue.bytes() + x.writing.bytes()
}
