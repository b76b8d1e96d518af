package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carillon-push/carillon/pkg/push"
)

// zipf is the weight of the stock of a rank, from 0.
func zipf(rank int) float64 { return math.Pow(float64(rank+1), -exponent) }

// Attributes of the app, by slot.
const (
	cityAttr  = "city"
	levelAttr = "level"
)

// lifetime of the pushes in seconds.
const lifetime = 86_400

// use is one push as an operator makes it, and what becomes of it.
type use struct {
	name      string
	condition map[string]any // of im_push; nil: everybody
	body      json.RawMessage
	// wants is the naive filter: whether the person must get the push.
	wants func(*person) bool

	task     push.TaskID
	accepted time.Duration // until im_push was answered
	toLast   string        // from the call until the last online user had it
	matched  uint64        // by the service's own count
	pending  int           // bytes that the broker keeps for those who were offline
	live     arrivals
}

// arrivals are those of one push at sessions that were online when it was made.
type arrivals struct {
	want int64 // online accounts that must get it
	got  atomic.Int64
	once sync.Once
	last time.Time     // of the last one, once all is closed
	all  chan struct{} // closed when as many have come as are wanted
}

// arrived notes one that is wanted.
func (a *arrivals) arrived() {
	if a.got.Add(1) >= a.want {
		a.once.Do(func() { a.last = time.Now(); close(a.all) })
	}
}

// wait returns when all have come, or after the limit.
func (a *arrivals) wait(ctx context.Context, limit time.Duration) error {
	if a.want == 0 {
		return nil
	}
	select { // the last arrival, the limit or ctx's end wakes it
	case <-a.all:
	case <-time.After(limit):
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// lastAfter says when, after the begin of the push, the last wanted one came.
func (a *arrivals) lastAfter(begin time.Time) string {
	if a.want == 0 {
		return "-"
	}
	select { // never waits
	case <-a.all:
		return brief(a.last.Sub(begin))
	default:
		return "never"
	}
}

// The stocks of the push by tag, by rank from 0: one that many follow and one that few do.
const (
	popular = 19
	niche   = 199
)

// newUses makes the three uses that operators have.
func newUses(c *crowd) ([]*use, error) {
	a, b := stock(popular), stock(niche)
	city := platinumCity(c)
	label := c.cities[city].Label()
	uses := []*use{
		{
			name:  "everyone",
			wants: func(*person) bool { return true },
		},
		{
			name:      fmt.Sprintf("followers of %s or %s", a, b),
			condition: map[string]any{"TagsOr": []string{a, b}},
			wants: func(p *person) bool {
				for _, rank := range p.follows {
					if rank == popular || rank == niche {
						return true
					}
				}
				return false
			},
		},
		{
			name:      fmt.Sprintf("platinum members in %s", label),
			condition: map[string]any{"AttrsAnd": map[string]string{levelAttr: levels[platinum].name, cityAttr: label}},
			wants:     func(p *person) bool { return p.level == platinum && p.city == city },
		},
	}
	texts := []string{
		"Happy new year! 新年快乐 🎆", "The price of a stock that you follow has moved, 涨幅 5 %", "An evening for our platinum members in your city, à bientôt",
	}
	for i, u := range uses {
		var err error
		if u.body, err = json.Marshal([]any{
			map[string]any{"MsgType": "TIMTextElem", "MsgContent": map[string]string{"Text": texts[i]}},
			map[string]any{"MsgType": "TIMCustomElem", "MsgContent": map[string]string{"Data": u.name, "Desc": "demo", "Ext": "", "Sound": ""}},
		}); err != nil {
			return nil, fmt.Errorf("lay out the message for %s: %w", u.name, err)
		}
		u.live.all = make(chan struct{})
	}
	return uses, nil
}

// platinumCity is the city with the most platinum members, among those where one is online if there is such a city.
func platinumCity(c *crowd) uint32 {
	members, seen := map[uint32]int{}, map[uint32]bool{}
	for i := range c.people {
		if p := &c.people[i]; p.level == platinum {
			members[p.city]++
			seen[p.city] = seen[p.city] || p.online
		}
	}
	inSight := map[uint32]int{}
	for city, n := range members {
		if seen[city] {
			inSight[city] = n
		}
	}
	if len(inSight) > 0 {
		members = inSight
	}
	return mostIn(members)
}

// request is the body of im_push.
func (u *use) request(random uint32) map[string]any {
	m := map[string]any{"MsgRandom": random, "MsgLifeTime": lifetime, "MsgBody": u.body}
	if u.condition != nil {
		m["Condition"] = u.condition
	}
	return m
}
