package notify

import (
	"slices"
	"sync"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// waiting are one shard's pushes from when their audience comes until their users are cut into tasks: the fold itself,
// without I/O or clock.
type waiting struct {
	mu     sync.Mutex
	pushes []*candidate // by place, ascending
	newest push.Seq     // of the audiences that have come
	// early are receipts whose audience has not come yet: gateways hear of an audience as soon as we do.
	early map[push.Seq]*early
	at    wire.Position // folded up to here
}

// candidate is a push whose grace time runs, or has run out and it is not cut yet.
type candidate struct {
	seq      push.Seq
	place    uint64 // of its audience in AUDIENCES
	receipts uint64 // a restart must read RECEIPTS from behind this place
	due      time.Time
	expire   time.Time
	revokes  push.Seq        // the push that this one, a revocation, cancels; 0 for others
	users    *roaring.Bitmap // who has not acknowledged it
}

// early are receipts of a push that is not known yet.
type early struct {
	first uint64 // place of the first of them in RECEIPTS
	came  time.Time
	users *roaring.Bitmap
}

// earlyWait is how long receipts are kept for an audience: it is on the broker before anybody can acknowledge it, so that
// one which does not come was cut long ago.
const earlyWait = time.Minute

func newWaiting(at wire.Position) *waiting {
	return &waiting{early: map[push.Seq]*early{}, at: at}
}

// audience takes a push whose lifetime has not passed. Its users become the fold's.
func (w *waiting) audience(c candidate) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.newest = max(w.newest, c.seq)
	if c.place <= w.at.Audiences {
		return
	}
	w.at.Audiences = c.place
	c.receipts = w.at.Receipts
	if e := w.early[c.seq]; e != nil {
		c.users.AndNot(e.users)
		c.receipts = min(c.receipts, e.first-1)
		delete(w.early, c.seq)
	}
	if c.revokes != 0 {
		w.pushes = slices.DeleteFunc(w.pushes, func(o *candidate) bool { return o.seq == c.revokes })
	}
	w.pushes = append(w.pushes, &c)
}

// skip moves on behind an audience that is for nobody here.
func (w *waiting) skip(seq push.Seq, place uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.newest = max(w.newest, seq)
	w.at.Audiences = max(w.at.Audiences, place)
}

// receipt takes who has acknowledged a push.
func (w *waiting) receipt(seq push.Seq, place uint64, users *roaring.Bitmap, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at.Receipts = max(w.at.Receipts, place)
	if i := slices.IndexFunc(w.pushes, func(c *candidate) bool { return c.seq == seq }); i >= 0 {
		w.pushes[i].users.AndNot(users)
		return
	}
	if seq <= w.newest {
		return // cut, or for nobody here
	}
	if e := w.early[seq]; e != nil {
		e.users.Or(users)
		return
	}
	w.early[seq] = &early{first: place, came: now, users: users}
}

// next gives the first push whose time has come, with a copy of its users; and otherwise when the first one's will be,
// zero when there is none.
func (w *waiting) next(now time.Time) (c candidate, ok bool, then time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for seq, e := range w.early {
		if now.Sub(e.came) > earlyWait {
			delete(w.early, seq)
		}
	}
	if len(w.pushes) == 0 {
		return candidate{}, false, time.Time{}
	}
	first := w.pushes[0] // one grace time for all: it is the first to be due, but for differences of the broker's clock
	if first.due.After(now) {
		return candidate{}, false, first.due
	}
	c = *first
	c.users = first.users.Clone()
	return c, true, time.Time{}
}

// cut forgets the pushes up to a place in AUDIENCES: they are cut, here or elsewhere.
func (w *waiting) cut(place uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pushes = slices.DeleteFunc(w.pushes, func(c *candidate) bool { return c.place <= place })
}

// position is where a restart would have to begin, so that no push is left out.
func (w *waiting) position() wire.Position {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := w.at
	for _, c := range w.pushes {
		at.Audiences, at.Receipts = min(at.Audiences, c.place-1), min(at.Receipts, c.receipts)
	}
	for _, e := range w.early {
		at.Receipts = min(at.Receipts, e.first-1)
	}
	return at
}

// size is how many pushes wait.
func (w *waiting) size() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.pushes)
}
