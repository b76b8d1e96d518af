package index

import (
	"slices"
	"sync"
	"sync/atomic"
)

// change is an ordinal that comes to the postings of a term, or goes from there.
type change struct {
	id uint32 // of the term, or firstSet and above; with goes if it goes
	u  uint32
}

const (
	goes     = 1 << 31
	firstSet = 1 << 30          // has[0], and the other slots behind it
	allUsers = firstSet + 1<<10 // users
	maxQueue = 1 << 11          // changes that may wait for a reader to end
	maxSpare = 4 * maxQueue     // changes whose memory is kept
)

// queue holds the changes of whole batches until the postings are free for them. Whoever reads makes them first, so that
// it sees every batch that was applied before it began.
type queue struct {
	waits atomic.Bool // some wait

	mu      sync.Mutex // taken after any of the index's
	waiting []change
	spare   []change
	making  bool
	emptied []uint32 // ids of terms that have lost their last posting
}

// push adds the changes of a batch, and gives how many wait now.
func (q *queue) push(batch []change) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, batch...)
	q.waits.Store(len(q.waiting) > 0)
	return len(q.waiting)
}

// settle makes the changes that wait. It needs mu held for writing.
func (x *Index) settle() {
	q := &x.queue
	q.mu.Lock()
	if len(q.waiting) == 0 {
		q.mu.Unlock()
		return
	}
	changes := q.waiting
	q.waiting, q.spare, q.making = q.spare[:0], nil, true
	q.waits.Store(false) // who comes now waits for mu
	q.mu.Unlock()

	x.names.RLock()
	pages := x.terms.pages // those of the ids that are in changes stay where they are
	x.names.RUnlock()
	emptied := 0
	for _, c := range changes {
		id := c.id &^ goes
		t := &x.users
		switch {
		case id < firstSet:
			t = &pages[id>>termBits][id&(termPage-1)]
		case id < allUsers:
			t = &x.has[id-firstSet]
		}
		if c.id&goes == 0 {
			x.postings.add(t, c.u)
		} else if !x.postings.remove(t, c.u) && id < firstSet {
			changes[emptied].id = id // this one and those before are made
			emptied++
		}
	}
	x.postings.tidy(pages, len(changes), x.sets())

	q.mu.Lock()
	defer q.mu.Unlock()
	for _, c := range changes[:emptied] {
		q.emptied = append(q.emptied, c.id)
	}
	q.making = false
	if cap(changes) <= maxSpare {
		q.spare = changes[:0]
	}
}

// settled gives the terms that have lost their last posting, if no changes wait or are being made: they may bring it back.
func (q *queue) settled() (emptied []uint32) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.making || len(q.waiting) > 0 || len(q.emptied) == 0 {
		return nil
	}
	emptied, q.emptied = q.emptied, nil
	slices.Sort(emptied)
	return slices.Compact(emptied)
}

func (q *queue) bytes() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return (cap(q.waiting)+cap(q.spare))*8 + cap(q.emptied)*4
}

// read locks the postings for reading, with every batch in them that was applied before.
func (x *Index) read() {
	if x.queue.waits.Load() {
		x.mu.Lock()
		x.settle()
		x.mu.Unlock()
	}
	x.mu.RLock()
}

// settleAll makes all changes, and forgets the terms that nobody has. It needs writer held, and may wait for readers.
func (x *Index) settleAll() {
	x.mu.Lock()
	x.settle()
	x.mu.Unlock()
	x.forget()
}

// forget releases the terms that nobody has any more. It needs writer held: so no changes come meanwhile.
func (x *Index) forget() {
	emptied := x.queue.settled()
	if len(emptied) == 0 {
		return
	}
	x.names.Lock()
	defer x.names.Unlock()
	for _, id := range emptied {
		if x.terms.at(id).n == 0 {
			x.terms.release(id)
		}
	}
}
