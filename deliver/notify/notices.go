package notify

import (
	"context"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/carillon-push/carillon/deliver/channel"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// notices fetches pushes from the broker by sequence, in the form that phones show.
type notices struct {
	b     *broker.Broker
	cache *lru.Cache[push.Seq, *known]
}

// known is what a worker keeps of a push.
type known struct {
	push   *push.Push      // without its body
	notice *channel.Notice // nil when phones show nothing of it
}

// maxNotices bounds the cache: they are at most some kilobytes each.
const maxNotices = 1024

func newNotices(b *broker.Broker) (*notices, error) {
	c, err := lru.New[push.Seq, *known](maxNotices)
	return &notices{b, c}, err
}

// get gives a push, broker.ErrNotFound when the broker keeps it no more.
func (n *notices) get(ctx context.Context, seq push.Seq) (*known, error) {
	if k, ok := n.cache.Get(seq); ok {
		return k, nil
	}
	m, err := n.b.Get(ctx, wire.PushesStream, uint64(seq))
	if err != nil {
		return nil, err
	}
	p, err := wire.DecodePush(m.Data, seq)
	if err != nil {
		return nil, err
	}
	k := &known{push: p}
	if notice, ok := channel.NewNotice(p); ok && p.Lifetime > 0 && p.Revokes == 0 {
		k.notice = notice
	}
	p.Body = nil
	n.cache.Add(seq, k)
	return k, nil
}
