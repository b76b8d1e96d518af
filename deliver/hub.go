package deliver

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// hub knows the shards whose users have sessions here.
type hub struct {
	d       *Deliver
	handled atomic.Uint64 // sequence in AUDIENCES up to which everything has been dispatched and written
	mu      sync.RWMutex
	shards  map[shardKey]*shard
}

type shardKey struct {
	app push.AppID
	id  push.Shard
}

func newHub(d *Deliver) *hub { return &hub{d: d, shards: map[shardKey]*shard{}} }

func newShard(d *Deliver, app push.AppID, id push.Shard) *shard {
	return &shard{
		d: d, app: app, id: id, connected: roaring.New(), sessions: map[uint32]*session{}, acks: newAcks(),
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
	s.mu.Lock()
	s.dispatched = max(s.dispatched, m.Seq)
	s.mu.Unlock()
	if place, err := wire.ParsePushPlace(m.Subject); err == nil && m.Seq <= h.handled.Load() {
		s.wrote(place.Seq)
	}
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

// shard is who of one shard is connected here, and what they have acknowledged.
type shard struct {
	d   *Deliver
	app push.AppID
	id  push.Shard

	start   sync.Mutex // held while the first login asks the broker
	started bool       // guarded by start

	mu         sync.Mutex
	connected  *roaring.Bitmap     // places with a session
	sessions   map[uint32]*session // by place: the newest, which leads to the others
	dispatched uint64              // sequence in AUDIENCES of the last one that was dispatched here
	written    push.Seq            // the newest push that was dispatched here and written to everybody

	// Receipts, see receipts.go.
	ackMu      sync.Mutex
	acks       *acks         // not published yet
	publishing *acks         // being published
	published  uint64        // sequence in RECEIPTS of our last one
	publish    chan struct{} // capacity 1: full while somebody publishes
}

// join registers a session for live pushes and gives the last audience that it will not see live. What the account has
// beyond limit sessions is taken out, the newest of it first: the caller closes it.
func (s *shard) join(se *session, limit int) (dispatched uint64, surplus []*session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	se.next = s.sessions[se.local]
	s.sessions[se.local] = se
	s.connected.Add(se.local)
	last := se
	for n := 1; n < limit && last.next != nil; n++ {
		last = last.next
	}
	for o := last.next; o != nil; o = o.next {
		surplus = append(surplus, o)
	}
	last.next = nil
	return s.dispatched, surplus
}

// leave takes a session out; one that has left already is no error.
func (s *shard) leave(se *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
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

// audience appends the sessions that an audience reaches here, and notes that it was dispatched: who joins later finds it
// in the inbox.
func (s *shard) audience(users *roaring.Bitmap, place uint64, into []*session) []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dispatched = max(s.dispatched, place)
	users.And(s.connected)
	it := users.Iterator()
	for it.HasNext() {
		for se := s.sessions[it.Next()]; se != nil; se = se.next {
			into = append(into, se)
		}
	}
	return into
}

// wrote notes that a push's live sessions have it: it does not come live again.
func (s *shard) wrote(seq push.Seq) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written = max(s.written, seq)
}

// newest is the last push that does not come live again. Audiences of a shard come in the order of their pushes.
func (s *shard) newest() push.Seq {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.written
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
