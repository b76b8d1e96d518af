package offline

import (
	"maps"
	"slices"
	"sync"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/tracing"
	"github.com/carillon-push/carillon/pkg/wire"
)

// pending is what one shard's users have yet to get: the fold itself, without I/O or clock. Times are unix seconds.
type pending struct {
	mu   sync.RWMutex
	live []*entry // by seq, ascending
	// early are receipts of pushes whose audience has not come yet: gateways hear of an audience as soon as we do.
	early map[push.Seq]*early
	// revoked are the revocations that live, by the push that they cancel.
	revoked map[push.Seq]*entry
	at      wire.Position // folded up to here
}

// entry is one push that is within its lifetime.
type entry struct {
	seq     push.Seq
	expire  int64
	revokes push.Seq        // the push that this one, a revocation, cancels; 0 for others
	had     *roaring.Bitmap // of a revocation: who has had the push that it cancels, as far as the receipts say
	users   *roaring.Bitmap
	rev     uint64       // of the entry in the bucket, 0 when it has never been written
	dirty   bool         // users are not what the bucket holds
	span    tracing.Span // from the fold of the audience until the bucket has the entry
}

// is says whether the entry waits for the user. A revocation does for those who have had what it cancels.
func (e *entry) is(local uint32) bool {
	return e.users.Contains(local) && (e.had == nil || e.had.Contains(local))
}

type early struct {
	first  uint64 // sequence in RECEIPTS of the first of them
	expire int64
	users  *roaring.Bitmap
}

func newPending() *pending {
	return &pending{early: map[push.Seq]*early{}, revoked: map[push.Seq]*entry{}}
}

func (p *pending) find(seq push.Seq) (int, bool) {
	return slices.BinarySearchFunc(p.live, seq, func(e *entry, s push.Seq) int {
		switch {
		case e.seq < s:
			return -1
		case e.seq > s:
			return 1
		}
		return 0
	})
}

// restore takes an entry from the bucket, at its revision. When another worker writes meanwhile, the same entry comes
// again, and what it is then stands.
func (p *pending) restore(seq push.Seq, w wire.Pending, rev uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i, ok := p.find(seq)
	e := &entry{seq: seq, expire: w.Expire, revokes: w.Revokes, users: w.Users, rev: rev}
	if e.revokes != 0 {
		e.had = roaring.New()
		p.revoked[e.revokes] = e
	}
	if ok {
		p.live[i] = e
		return
	}
	p.live = slices.Insert(p.live, i, e)
}

// audience folds the audience of a push, the message at place in AUDIENCES, and says whether it made a new entry. The
// bitmap becomes the entry's. A push whose lifetime has passed, or that has none, only moves the position.
func (p *pending) audience(seq push.Seq, expire, now int64, users *roaring.Bitmap, place uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at.Audiences = max(p.at.Audiences, place)
	if expire <= now {
		return false
	}
	i, ok := p.find(seq)
	if ok {
		return false // restored from the bucket, receipts and all
	}
	if e := p.early[seq]; e != nil {
		users.AndNot(e.users)
		delete(p.early, seq)
	}
	p.live = slices.Insert(p.live, i, &entry{seq: seq, expire: expire, users: users, dirty: true})
	return true
}

// revocation is audience for the revocation of a push, which waits for nobody from here on. Who has had it waits for the
// revocation: had tells who those are.
func (p *pending) revocation(seq, revokes push.Seq, expire, now int64, users *roaring.Bitmap, place uint64) bool {
	fresh := p.audience(seq, expire, now, users, place)
	p.mu.Lock()
	defer p.mu.Unlock()
	if i, ok := p.find(revokes); ok && !p.live[i].users.IsEmpty() {
		p.live[i].users, p.live[i].dirty = roaring.New(), true
	}
	if i, ok := p.find(seq); ok && fresh {
		e := p.live[i]
		e.revokes, e.had = revokes, roaring.New()
		p.revoked[revokes] = e
	}
	return fresh
}

// revocations are the pushes that are revoked, within what was left of their lifetime.
func (p *pending) revocations() []push.Seq {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return slices.Collect(maps.Keys(p.revoked))
}

// had notes who has had a push, when that is revoked.
func (p *pending) had(seq push.Seq, r wire.Receipt) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.revoked[seq]; e != nil {
		for _, users := range []*roaring.Bitmap{r.Received, r.Opened, r.Sent} {
			e.had.Or(users)
		}
	}
}

// receipt folds who has got a push, the message at place in RECEIPTS.
func (p *pending) receipt(seq push.Seq, expire, now int64, users *roaring.Bitmap, place uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at.Receipts = max(p.at.Receipts, place)
	if expire <= now || users.IsEmpty() {
		return
	}
	if i, ok := p.find(seq); ok {
		e := p.live[i]
		if e.users.Intersects(users) {
			e.users.AndNot(users)
			e.dirty = true
		}
		return
	}
	e := p.early[seq]
	if e == nil {
		p.early[seq] = &early{first: place, expire: expire, users: users}
		return
	}
	e.users.Or(users)
}

// inbox is what waits for one user, ascending.
func (p *pending) inbox(local uint32, now int64) []push.Seq {
	p.mu.RLock()
	defer p.mu.RUnlock()
	var seqs []push.Seq
	for _, e := range p.live {
		if e.expire > now && e.is(local) {
			seqs = append(seqs, e.seq)
		}
	}
	return seqs
}

// pushes is how many there are.
func (p *pending) pushes() int {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return len(p.live)
}

// expired forgets pushes whose lifetime has passed, and gives the number of those that live.
func (p *pending) expired(now int64) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.live = slices.DeleteFunc(p.live, func(e *entry) bool { return e.expire <= now })
	maps.DeleteFunc(p.early, func(_ push.Seq, e *early) bool { return e.expire <= now })
	maps.DeleteFunc(p.revoked, func(_ push.Seq, e *entry) bool { return e.expire <= now })
	return len(p.live)
}

// change is an entry as it is to stand in the bucket.
type change struct {
	entry *entry
	seq   push.Seq
	rev   uint64
	wire.Pending
}

// changes are the entries that the bucket does not hold as they are, and the position that will be true when it does; or
// only those of them that it has never held. They count as written from here on; failed takes that back. What merge takes
// away later the bucket's version lacks too.
func (p *pending) changes(all bool) ([]change, wire.Position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var cs []change
	for _, e := range p.live {
		if e.dirty && (all || e.rev == 0) {
			e.dirty = false
			cs = append(cs, change{e, e.seq, e.rev, wire.Pending{Expire: e.expire, Revokes: e.revokes, Users: e.users.Clone()}})
		}
	}
	at := p.at
	for _, e := range p.early {
		at.Receipts = min(at.Receipts, e.first-1) // a restart must read it again
	}
	return cs, at
}

// written notes an entry's new revision in the bucket.
func (p *pending) written(c change, rev uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.entry.rev = rev
	c.entry.span.End(nil)
	c.entry.span = tracing.Span{}
}

// traced gives an entry that is new the span of its keeping, which ends when the bucket has it. It says whether there is
// such an entry.
func (p *pending) traced(seq push.Seq, span tracing.Span) bool {
	if !span.Recording() {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	i, ok := p.find(seq)
	if ok {
		span.Int("users", int(p.live[i].users.GetCardinality()))
		p.live[i].span = span
	}
	return ok
}

// failed makes an entry wait for the next checkpoint.
func (p *pending) failed(c change) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.entry.dirty = true
}

// merge keeps of an entry what another worker's version holds too, and gives that.
func (p *pending) merge(c change, theirs *roaring.Bitmap) *roaring.Bitmap {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.entry.users.And(theirs)
	return c.entry.users.Clone()
}
