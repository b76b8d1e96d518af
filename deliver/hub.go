package deliver

import (
	"context"
	"errors"
	"sync"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// hub knows the shards whose users have sessions here.
type hub struct {
	b      *broker.Broker
	mu     sync.RWMutex
	shards map[shardKey]*shard
}

type shardKey struct {
	app push.AppID
	id  push.Shard
}

func newHub(b *broker.Broker) *hub { return &hub{b: b, shards: map[shardKey]*shard{}} }

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
		s = &shard{
			app: app, id: id, connected: roaring.New(), sessions: map[uint32]*session{},
			acks: acks{}, publishing: acks{},
		}
		h.shards[shardKey{app, id}] = s // before asking, so that nothing falls between
	}
	h.mu.Unlock()
	s.start.Lock()
	defer s.start.Unlock()
	if s.started {
		return s, nil
	}
	m, err := h.b.Last(ctx, wire.AudiencesStream, wire.AudienceFilter(app, id))
	if err != nil && !errors.Is(err, broker.ErrNotFound) {
		return nil, err
	}
	if err == nil {
		s.mu.Lock()
		s.dispatched = max(s.dispatched, m.Seq)
		s.mu.Unlock()
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
	app push.AppID
	id  push.Shard

	start   sync.Mutex // held while the first login asks the broker
	started bool       // guarded by start

	mu         sync.Mutex
	connected  *roaring.Bitmap     // places with a session
	sessions   map[uint32]*session // by place: the newest, which leads to the others
	dispatched uint64              // sequence in AUDIENCES of the last one that was dispatched here

	// Receipts, see receipts.go.
	ackMu      sync.Mutex
	acks       acks       // not published yet
	publishing acks       // being published
	published  uint64     // sequence in RECEIPTS of our last one
	publish    sync.Mutex // held while publishing
}

// join registers a session for live pushes and gives the last audience that it will not see live. When the account has
// more than limit sessions, surplus is the oldest.
func (s *shard) join(se *session, limit int) (dispatched uint64, surplus *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	se.next = s.sessions[se.local]
	s.sessions[se.local] = se
	s.connected.Add(se.local)
	n := 0
	for o := se; o != nil; o = o.next {
		n++
		surplus = o
	}
	if n <= limit {
		surplus = nil
	}
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
