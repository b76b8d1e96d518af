package deliver

import (
	"context"
	"errors"
	"strconv"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"

	"github.com/carillon-push/carillon/deliver/socket"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// known is what a gateway keeps of a push: its frame, built once for all sessions.
type known struct {
	app     push.AppID
	seq     push.Seq
	at      time.Time
	expire  int64    // unix seconds, 0 for online users only
	revokes push.Seq // of a revocation: the push that it cancels, else 0
	frame   *socket.Frame
}

func newKnown(p *push.Push) *known {
	k := &known{app: p.App, seq: p.Seq, at: p.At, expire: p.Expire(), revokes: p.Revokes}
	if p.Revokes != 0 {
		text := wire.AppendRevoke(nil, wire.Revoke{ID: push.NewTaskID(p.App, p.Revokes), Seq: p.Revokes, Ack: p.Seq})
		k.frame = socket.NewFrame(wire.FrameRevoke, uint64(p.Seq), text)
	} else {
		k.frame = socket.NewFrame(wire.FramePush, uint64(p.Seq), wire.AppendPush(nil, p))
	}
	return k
}

// over says whether the push's lifetime had passed at a unix second.
func (k *known) over(now int64) bool { return k.expire != 0 && k.expire <= now }

// pushes fetches pushes from the broker by sequence, each once while it is in use.
type pushes struct {
	b      *broker.Broker
	cache  *lru.Cache[push.Seq, *known]
	flight singleflight.Group
}

// maxPushes bounds the cache: a week of several apps' pushes, at most some 12 KiB each.
const maxPushes = 4096

func newPushes(b *broker.Broker) (*pushes, error) {
	c, err := lru.New[push.Seq, *known](maxPushes)
	if err != nil {
		return nil, err
	}
	return &pushes{b: b, cache: c}, nil
}

// held gives a push if it is here already. It never waits, and does not keep the push here longer.
func (p *pushes) held(seq push.Seq) (*known, bool) { return p.cache.Peek(seq) }

// unreadable says whether asking again is of no use: what the broker has is no push, or one of a later version.
func unreadable(err error) bool {
	return errors.Is(err, wire.ErrCorrupt) || errors.Is(err, wire.ErrVersion)
}

// get gives a push, broker.ErrNotFound when the broker keeps it no more.
func (p *pushes) get(ctx context.Context, seq push.Seq) (*known, error) {
	if k, ok := p.cache.Get(seq); ok {
		return k, nil
	}
	v, err, _ := p.flight.Do(strconv.FormatUint(uint64(seq), 10), func() (any, error) {
		// Others wait for this answer, so it does not end with one of them.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), loginWait)
		defer cancel()
		m, err := p.b.Get(ctx, wire.PushesStream, uint64(seq))
		if err != nil {
			return nil, err
		}
		whole, err := wire.DecodePush(m.Data, seq)
		if err != nil {
			return nil, err
		}
		k := newKnown(whole)
		p.cache.Add(seq, k)
		return k, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*known), nil
}
