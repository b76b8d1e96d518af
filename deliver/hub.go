package deliver

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// hub knows the shards whose users have sessions here.
type hub struct {
	d       *Deliver
	handled broker.Progress // sequence in AUDIENCES up to which everything has been dispatched and written
	mu      sync.RWMutex
	shards  map[shardKey]*shard
}

type shardKey struct {
	app push.AppID
	id  push.Shard
}

func newHub(d *Deliver) *hub { return &hub{d: d, shards: map[shardKey]*shard{}} }

func newShard(d *Deliver, app push.AppID, id push.Shard) *shard {
	asks := newAsks(func(ctx context.Context, q wire.InboxRequest) ([]byte, error) { return d.askInboxes(ctx, app, id, q) })
	return &shard{
		d: d, app: app, asks: asks, id: id, connected: roaring.New(), sessions: map[uint32]*session{}, devices: map[*session]string{}, acks: newAcks(),
		publishing: newAcks(), publish: make(chan struct{}, 1),
	}
}

// find gives a shard that somebody has logged in to, else nil.
func (h *hub) find(app push.AppID, id push.Shard) *shard {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.shards[shardKey{app, id}]
}

// shard gives a shard for a login. The first time it asks the broker for the shard's newest audience: that and what is
// before it is the inbox's, whether it was dispatched here or not; what is behind it will be dispatched to the shard.
func (h *hub) shard(ctx context.Context, app push.AppID, id push.Shard) (*shard, error) {
	h.mu.Lock()
	s := h.shards[shardKey{app, id}]
	if s == nil {
		s = newShard(h.d, app, id)
		h.shards[shardKey{app, id}] = s // before asking, so that nothing falls between
	}
	h.mu.Unlock()
	s.start.Lock()
	defer s.start.Unlock()
	if s.started {
		return s, nil
	}
	m, err := h.d.b.Last(ctx, wire.AudiencesStream, wire.AudienceFilter(app, id))
	if errors.Is(err, broker.ErrNotFound) {
		s.started = true
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	place, err := wire.ParsePushPlace(m.Subject)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.from = m.Seq
	s.dispatched, s.newest = max(s.dispatched, m.Seq), max(s.newest, place.Seq)
	s.started = true
	return s, nil
}

// all sessions of this process.
func (h *hub) all() []*session {
	var all []*session
	for _, s := range h.list() {
		s.mu.Lock()
		for _, first := range s.sessions {
			for se := first; se != nil; se = se.next {
				all = append(all, se)
			}
		}
		s.mu.Unlock()
	}
	return all
}

func (h *hub) list() []*shard {
	h.mu.RLock()
	defer h.mu.RUnlock()
	shards := make([]*shard, 0, len(h.shards))
	for _, s := range h.shards {
		shards = append(shards, s)
	}
	return shards
}

// receipts is how many are not on the broker yet.
func (h *hub) receipts() (n int) {
	for _, s := range h.list() {
		s.ackMu.Lock()
		n += len(s.acks.of) + len(s.publishing.of)
		s.ackMu.Unlock()
	}
	return n
}

// shard is who of one shard is connected here, and what they have acknowledged.
type shard struct {
	d   *Deliver
	app push.AppID
	id  push.Shard

	asks *asks // of logins, for their inboxes

	start   sync.Mutex // held while the first login asks the broker
	started bool       // guarded by start

	mu         sync.Mutex
	connected  *roaring.Bitmap     // places with a session
	sessions   map[uint32]*session // by place: the newest, which leads to the others
	turnover   uint64              // how often a session has come or gone
	devices    map[*session]string // what clients call their devices; the others are not in it
	from       uint64              // sequence in AUDIENCES behind which they are dispatched: before, nobody was here
	dispatched uint64              // sequence in AUDIENCES of the last one that was dispatched here
	newest     push.Seq            // the push of that audience: those of a shard come in the order of their pushes

	// Receipts, see receipts.go.
	ackMu      sync.Mutex
	acks       *acks         // not published yet
	publishing *acks         // being published
	published  uint64        // sequence in RECEIPTS of our last one
	publish    chan struct{} // capacity 1: full while somebody publishes
}

// join registers a session for live pushes, of a client that calls its device so (or not at all), and gives the last
// audience that it will not get live. What the account has beyond limit sessions is taken out: those of the same device
// first, which are what a client that comes back has left behind, and then the oldest. The caller closes them.
func (s *shard) join(se *session, device string, limit int) (dispatched uint64, surplus []*session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turnover++
	se.login = &login{after: s.newest}
	se.next = s.sessions[se.local]
	s.sessions[se.local] = se
	s.connected.Add(se.local)
	if device != "" {
		s.devices[se] = device
	}
	n := 0
	for o := se; o != nil; o = o.next {
		n++
	}
	for before := se; n > limit && device != "" && before.next != nil; {
		if o := before.next; s.devices[o] == device {
			before.next = o.next
			surplus = append(surplus, o)
			n--
		} else {
			before = o
		}
	}
	last := se
	for i := 1; i < limit && last.next != nil; i++ {
		last = last.next
	}
	for o := last.next; o != nil; o = o.next {
		surplus = append(surplus, o)
	}
	last.next = nil
	return s.dispatched, surplus
}

// has says whether a session has joined and not left.
func (s *shard) has(se *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.sessions[se.local]
	for o != nil && o != se {
		o = o.next
	}
	return o != nil
}

// leave takes a session out; one that has left already is no error.
func (s *shard) leave(se *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turnover++
	delete(s.devices, se)
	first := s.sessions[se.local]
	if first == se {
		if se.next != nil {
			s.sessions[se.local] = se.next
		} else {
			delete(s.sessions, se.local)
			s.connected.Remove(se.local)
		}
		return
	}
	for o := first; o != nil; o = o.next {
		if o.next == se {
			o.next = se.next
			return
		}
	}
}

// name notes what a session calls its device.
func (s *shard) name(se *session, device string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.devices[se] = device
}

// nameOf is what a session calls its device, "" when it has not said.
func (s *shard) nameOf(se *session) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.devices[se]
}

// audiences appends the sessions that a batch of audiences reaches here, by place, and leaves in each batch entry who of
// it is here. It notes that they were dispatched: who joins later finds them in the inbox. There are at most maxBatch.
func (s *shard) audiences(batch []live, into []target) []target {
	list, _ := s.audiencesLike(nil, nil, batch, into)
	return list
}

// addressees is whom a list of sessions was made for: users who were here, in one state of a shard.
type addressees struct {
	users    *roaring.Bitmap // nil: they are not known
	turnover uint64
}

// audiencesLike is audiences, but for a list of sessions that there is already, for the batch's audiences of before. When it
// was made for the same users, and nobody has come or gone since, it is the answer: same is true, and nothing is appended. A
// burst goes to the same people as a rule. What it was made for is noted when there is none yet, and when it is no more, unless of is nil.
func (s *shard) audiencesLike(of *addressees, before, batch []live, into []target) (_ []target, same bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range batch {
		l := &batch[i]
		s.dispatched, s.newest = max(s.dispatched, l.place), max(s.newest, l.seq)
		if l.place <= s.from {
			l.users = roaring.New()
		}
		l.users.And(s.connected)
	}
	users := batch[0].users
	alike := !slices.ContainsFunc(batch[1:], func(l live) bool { return !l.users.Equals(users) })
	if alike && of != nil && of.users != nil && of.turnover == s.turnover && of.users.Equals(users) {
		return into, true
	}
	if of != nil {
		*of = addressees{}
	}
	if alike {
		if of != nil && len(before) == 0 {
			*of = addressees{users.Clone(), s.turnover} // who is not sent something is taken out of the audiences themselves
		}
		for it := users.Iterator(); it.HasNext(); {
			into = s.reach(it.Next(), 1<<len(batch)-1, into)
		}
		return into, false
	}
	its := make([]roaring.IntPeekable, len(batch))
	all := roaring.New()
	for i, l := range batch {
		its[i] = l.users.Iterator()
		all.Or(l.users)
	}
	for it := all.Iterator(); it.HasNext(); {
		local, mask := it.Next(), uint64(0)
		for i, users := range its {
			if users.HasNext() && users.PeekNext() == local {
				users.Next()
				mask |= 1 << i
			}
		}
		into = s.reach(local, mask, into)
	}
	return into, false
}

// reach appends the sessions of one user. Called with mu held.
func (s *shard) reach(local uint32, mask uint64, into []target) []target {
	for se := s.sessions[local]; se != nil; se = se.next {
		into = append(into, target{se, mask})
	}
	return into
}

// of gives the sessions of one user.
func (s *shard) of(local uint32) []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*session
	for se := s.sessions[local]; se != nil; se = se.next {
		all = append(all, se)
	}
	return all
}
