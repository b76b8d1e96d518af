package offline

import (
	"cmp"
	"maps"
	"math/bits"
	"slices"
	"sync"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/tracing"
	"github.com/carillon-push/carillon/pkg/wire"
)

// pending is what one shard's users have yet to get: the fold itself, without I/O or clock. Times are unix seconds.
//
// Pushes begin as rows, a bitmap each. When enough have gathered they become a sheet, which a login has read sooner. What
// is far shorter as a bitmap stays a row: a push to everybody of which nobody has told yet is a handful of runs.
type pending struct {
	mu     sync.RWMutex
	live   []*entry // by seq, ascending
	rows   []*entry // those that are in no sheet, by seq, ascending
	sheets []*sheet
	long   int // rows that are long, or more: those that go, or become so, count when they are counted anew
	most   int // rows that a sheet begins with
	spare  int // bytes of a sheet that are not worth making it anew
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
	users   *roaring.Bitmap // nil in a sheet
	sheet   *sheet
	row     uint8        // in the sheet
	rev     uint64       // of the entry in the bucket, 0 when it has never been written
	dirty   bool         // users are not what the bucket holds
	span    tracing.Span // from the fold of the audience until the bucket has the entry
}

// is says whether an entry that is in no sheet waits for the user. A revocation does for those who have had what it cancels.
func (e *entry) is(local uint32) bool {
	return e.users.Contains(local) && (e.had == nil || e.had.Contains(local))
}

// waiting is whom the entry waits for, as a bitmap of its own.
func (e *entry) waiting() *roaring.Bitmap {
	if e.sheet != nil {
		return e.sheet.users(e.row)
	}
	return e.users.Clone()
}

// remove takes users from those whom the entry waits for, and says whether one of them was.
func (e *entry) remove(users *roaring.Bitmap) bool {
	if e.sheet != nil {
		return e.sheet.remove(e.row, users)
	}
	if !e.users.Intersects(users) {
		return false
	}
	e.users.AndNot(users)
	return true
}

// count is how many the entry waits for.
func (e *entry) count() int {
	if e.sheet != nil {
		return e.sheet.left[e.row]
	}
	return int(e.users.GetCardinality())
}

// long says whether the entry takes as much as a bitmap as in a sheet, or nearly. A revocation waits for those of two
// bitmaps, and is in no sheet.
func (e *entry) long() bool {
	if e.had != nil {
		return false
	}
	const shorter = 4
	n := e.users.GetCardinality()
	return n == 0 || shorter*e.users.GetSerializedSizeInBytes() > min(2*n, uint64(e.users.Maximum())/8)
}

type early struct {
	first  uint64 // sequence in RECEIPTS of the first of them
	expire int64
	users  *roaring.Bitmap
}

func newPending() *pending {
	return &pending{most: sheetRows, spare: 64 << 10, early: map[push.Seq]*early{}, revoked: map[push.Seq]*entry{}}
}

func (p *pending) find(seq push.Seq) (int, bool) { return find(p.live, seq) }

// find finds a push in a list by seq, or the place where it would be.
func find(list []*entry, seq push.Seq) (int, bool) {
	return slices.BinarySearchFunc(list, seq, func(e *entry, s push.Seq) int { return cmp.Compare(e.seq, s) })
}

// insert takes in an entry whose push is in neither list.
func (p *pending) insert(e *entry) {
	i, _ := find(p.live, e.seq)
	p.live = slices.Insert(p.live, i, e)
	p.aside(e)
}

// aside puts an entry among the rows.
func (p *pending) aside(e *entry) {
	if e.long() {
		p.long++
	}
	i, _ := find(p.rows, e.seq)
	p.rows = slices.Insert(p.rows, i, e)
}

// lift takes an entry out of its sheet; users are whom it waits for then.
func (p *pending) lift(e *entry, users *roaring.Bitmap) {
	if e.users = users; e.sheet != nil {
		e.sheet.leave(e.row)
		e.sheet = nil
		p.aside(e)
	}
}

// pack makes one sheet of long rows, of those with the lowest sequences, when there are enough. A login waits no longer
// than for that one: some milliseconds.
func (p *pending) pack() {
	if p.long < p.most {
		return
	}
	var long []*entry
	for _, e := range p.rows {
		if e.long() {
			long = append(long, e)
		}
	}
	if p.long = len(long); p.long < p.most { // some have gone
		return
	}
	p.long -= p.most
	p.sheets = append(p.sheets, newSheet(long[:p.most]))
	p.rows = slices.DeleteFunc(p.rows, func(e *entry) bool { return e.sheet != nil })
}

// restore takes an entry from the bucket, at its revision. When another worker writes meanwhile, the same entry comes
// again, and what it is then stands.
func (p *pending) restore(seq push.Seq, w wire.Pending, rev uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := &entry{seq: seq, expire: w.Expire, revokes: w.Revokes, users: w.Users, rev: rev}
	if e.revokes != 0 {
		e.had = roaring.New()
		p.revoked[e.revokes] = e
	}
	if i, ok := p.find(seq); ok {
		before := p.live[i]
		p.forget(func(e *entry) bool { return e == before })
	}
	p.insert(e)
	p.pack()
}

// forget lets go of entries.
func (p *pending) forget(which func(*entry) bool) {
	p.rows = slices.DeleteFunc(p.rows, which)
	p.live = slices.DeleteFunc(p.live, func(e *entry) bool {
		gone := which(e)
		if gone && e.sheet != nil {
			e.sheet.leave(e.row)
		}
		return gone
	})
}

// audience folds the audience of a push, the message at place in AUDIENCES, and says whether it made a new entry. The
// bitmap becomes the entry's. A push whose lifetime has passed, or that has none, only moves the position.
func (p *pending) audience(seq push.Seq, expire, now int64, users *roaring.Bitmap, place uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	fresh := p.begin(&entry{seq: seq, expire: expire, users: users, dirty: true}, now, place)
	p.pack()
	return fresh
}

// begin is audience with the entry as it is to be.
func (p *pending) begin(e *entry, now int64, place uint64) bool {
	p.at.Audiences = max(p.at.Audiences, place)
	if e.expire <= now {
		return false
	}
	if _, ok := p.find(e.seq); ok {
		return false // restored from the bucket, receipts and all
	}
	if early := p.early[e.seq]; early != nil {
		e.users.AndNot(early.users)
		delete(p.early, e.seq)
	}
	p.insert(e)
	return true
}

// revocation is audience for the revocation of a push, which waits for nobody from here on. Who has had it waits for the
// revocation: had tells who those are.
func (p *pending) revocation(seq, revokes push.Seq, expire, now int64, users *roaring.Bitmap, place uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := &entry{seq: seq, expire: expire, revokes: revokes, had: roaring.New(), users: users, dirty: true}
	fresh := p.begin(e, now, place)
	if fresh {
		p.revoked[revokes] = e
	}
	if i, ok := p.find(revokes); ok && p.live[i].count() > 0 {
		p.lift(p.live[i], roaring.New())
		p.live[i].dirty = true
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
		if e := p.live[i]; e.remove(users) {
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

// inbox appends what waits for one user, ascending.
func (p *pending) inbox(seqs []push.Seq, local uint32, now int64) []push.Seq {
	p.mu.RLock()
	defer p.mu.RUnlock()
	from := len(seqs)
	for _, s := range p.sheets {
		for rows := s.waiting(local); rows != 0; rows &= rows - 1 {
			if r := bits.TrailingZeros64(rows); s.expires[r] > now {
				seqs = append(seqs, s.seqs[r])
			}
		}
	}
	for _, e := range p.rows {
		if e.expire > now && e.is(local) {
			seqs = append(seqs, e.seq)
		}
	}
	if own := seqs[from:]; !slices.IsSorted(own) {
		slices.Sort(own)
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
	p.forget(func(e *entry) bool { return e.expire <= now })
	maps.DeleteFunc(p.early, func(_ push.Seq, e *early) bool { return e.expire <= now })
	maps.DeleteFunc(p.revoked, func(_ push.Seq, e *entry) bool { return e.expire <= now })
	return len(p.live)
}

// tidy takes one sheet apart that has become wasteful, a row at a time: a login waits for no more than one. Then it makes
// one of what has become long meanwhile.
func (p *pending) tidy() {
	p.mu.Lock()
	i := slices.IndexFunc(p.sheets, func(s *sheet) bool { return s.wasteful(p.spare) })
	var rows []*entry
	if i >= 0 {
		rows = slices.Clone(p.sheets[i].entries)
	}
	p.mu.Unlock()
	for _, e := range rows {
		p.mu.Lock()
		if e != nil && e.sheet != nil { // else it has been revoked
			p.lift(e, e.waiting())
		}
		p.mu.Unlock()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sheets = slices.DeleteFunc(p.sheets, func(s *sheet) bool { return s.there == 0 })
	p.long = len(p.rows)
	p.pack()
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
// away later the bucket's version lacks too. Their users are yet to be read: reads.
func (p *pending) changes(all bool) ([]change, wire.Position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var cs []change
	for _, e := range p.live {
		if e.dirty && (all || e.rev == 0) {
			e.dirty = false
			cs = append(cs, change{e, e.seq, e.rev, wire.Pending{Expire: e.expire, Revokes: e.revokes}})
		}
	}
	at := p.at
	for _, e := range p.early {
		at.Receipts = min(at.Receipts, e.first-1) // a restart must read it again
	}
	return cs, at
}

// reads gives a change its users, as they are by now. That is what they were when it was made, or fewer.
func (p *pending) reads(c *change) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	c.Users = c.entry.waiting()
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
		span.Int("users", p.live[i].count())
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
	ours := c.entry.waiting()
	c.entry.remove(roaring.AndNot(ours, theirs))
	ours.And(theirs)
	return ours
}
