package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// pingEvery is the time of a round. With maxMissed, a member that dies is struck two to three rounds later; what it worked
// on is in the hands of the next in rank long before.
const pingEvery = time.Second

// Member is this process as a member of a role, and who it knows to be the others. Views differ for a while when
// somebody comes or goes; whoever divides work by them must bear that two, or nobody, do the same for as long.
type Member struct {
	b    *Broker
	role string

	mu      sync.Mutex
	id      string   // of this process in this role; empty until it has joined
	members []string // in order, this one among them; nil until it has looked
	changed chan struct{}
}

// NewMember makes a member that nobody knows of until Run.
func NewMember(b *Broker, role string) *Member {
	return &Member{b: b, role: role, changed: make(chan struct{})}
}

// Members are the ids of all, in order, and a channel that is closed when they are others. They are nil before the first
// look.
func (m *Member) Members() (ids []string, changed <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.members, m.changed
}

// ID of this process among the members; empty before the first look.
func (m *Member) ID() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.id
}

// Rank is this member's place in a shard (Rank), and a channel that is closed when the members are others. It is negative
// before the first look.
func (m *Member) Rank(app push.AppID, shard push.Shard) (rank int, changed <-chan struct{}) {
	ids, changed := m.Members()
	if ids == nil {
		return -1, changed
	}
	return Rank(app, shard, m.ID(), ids), changed
}

// set makes a new view known.
func (m *Member) set(ids []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.members = ids
	close(m.changed)
	m.changed = make(chan struct{})
}

// Run is a member until ctx ends; then it tells the others, so that they need not miss it.
func (m *Member) Run(ctx context.Context) error {
	nc := m.b.nc
	news, pongs := make(chan *nats.Msg, maxMembers), make(chan *nats.Msg, maxMembers) // what is beyond the next round repairs
	newsSub, err := nc.ChanSubscribe(wire.MemberSubject(m.role), news)
	if err != nil {
		return fmt.Errorf("join role %s: %w", m.role, err)
	}
	defer newsSub.Unsubscribe() //nolint:errcheck // the connection may be gone already
	inbox := nats.NewInbox()
	pongSub, err := nc.ChanSubscribe(inbox, pongs)
	if err != nil {
		return fmt.Errorf("join role %s: %w", m.role, err)
	}
	defer pongSub.Unsubscribe() //nolint:errcheck // the connection may be gone already
	svc, err := micro.AddService(nc, micro.Config{Name: m.role, Version: "1.0.0", QueueGroupDisabled: true})
	if err != nil {
		return fmt.Errorf("join role %s: %w", m.role, err)
	}
	defer svc.Stop() //nolint:errcheck // the connection may be gone already
	ping, err := micro.ControlSubject(micro.PingVerb, m.role, "")
	if err != nil {
		return fmt.Errorf("join role %s: %w", m.role, err)
	}

	roll := newRoll(svc.Info().ID)
	m.mu.Lock()
	m.id = roll.me
	m.mu.Unlock()
	m.announce(wire.MemberNews{ID: roll.me})
	defer m.announce(wire.MemberNews{ID: roll.me, Left: true})
	look := func() {
		if err := nc.PublishRequest(ping, inbox, nil); err != nil {
			m.b.log.Warn("look for members; will look again", "role", m.role, "err", err)
		}
	}
	look()
	// The first look is over a while after our own answer has come: then those of the others have, too, however slow things
	// are. Who looked too early would believe to be alone, and begin with everything.
	first := time.NewTimer(pingEvery)
	defer first.Stop()
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	looked, answered := false, false
	for {
		changed := false
		select { // the ends of rounds, answers and announcements wake it, ctx ends it
		case <-ctx.Done():
			return ctx.Err()
		case <-first.C:
			looked, changed = true, true
		case msg := <-pongs:
			changed = m.pong(roll, msg)
			if !answered && roll.heard[roll.me] {
				answered = true
				first.Reset(discoverWait)
			}
		case msg := <-news:
			changed = m.news(roll, msg)
		case <-tick.C:
			for len(pongs) > 0 { // they are of the round that ends
				changed = m.pong(roll, <-pongs) || changed
			}
			changed = roll.round() || changed
			look()
		}
		if changed && looked {
			m.set(roll.members())
		}
	}
}

func (m *Member) announce(n wire.MemberNews) {
	if err := m.b.nc.Publish(wire.MemberSubject(m.role), wire.EncodeJSON(n)); err != nil {
		m.b.log.Warn("announce a member; the others will find out at their next look", "role", m.role, "err", err)
	}
}

// pong notes an answer to a ping, and says whether it is a new member's.
func (m *Member) pong(roll *roll, msg *nats.Msg) bool {
	var p micro.Ping
	if err := json.Unmarshal(msg.Data, &p); err != nil || p.ID == "" { // nobody answered, or not as a service does
		return false
	}
	return roll.hear(p.ID)
}

// news notes an announcement, and says whether the members are others by it.
func (m *Member) news(roll *roll, msg *nats.Msg) bool {
	n, err := wire.DecodeMemberNews(msg.Data)
	if err != nil {
		m.b.log.Warn("an announcement of a member cannot be read", "role", m.role, "err", err)
		return false
	}
	if n.Left {
		return roll.leave(n.ID)
	}
	return roll.hear(n.ID)
}
