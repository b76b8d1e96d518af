package native

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// counted is the answer to a dry run.
type counted struct {
	Matched      uint64          `json:"matched"`
	Online       uint64          `json:"online"`
	Offline      uint64          `json:"offline"`
	Clauses      []countedClause `json:"clauses"`
	Milliseconds float64         `json:"milliseconds"`
}

// countedClause is the condition, or one within it, by itself.
type countedClause struct {
	Pointer   string          `json:"pointer"`
	Condition json.RawMessage `json:"condition"`
	Matched   uint64          `json:"matched"`
}

// countedAtOnce is how many shards are asked at once; each answer may be a bitmap of 128 KiB for every gateway.
const countedAtOnce = 16

// count asks the matchers of all shards whom the condition holds for, and the gateways who of them is connected.
func (n *Native) count(ctx context.Context, app push.AppID, clauses []clause) (*reply, error) {
	start := time.Now()
	out := counted{Clauses: []countedClause{}}
	predicates := []string{predicate.String(predicate.All{})}
	if len(clauses) > 0 {
		predicates = predicates[:0]
	}
	for _, c := range clauses {
		predicates = append(predicates, predicate.String(predicate.Simplify(c.node)))
		out.Clauses = append(out.Clauses, countedClause{Pointer: c.pointer, Condition: c.raw})
	}
	shards, err := n.b.Shards(ctx, app)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(countedAtOnce)
	for _, shard := range shards {
		g.Go(func() error {
			counts, online, err := n.countShard(gctx, app, shard, predicates)
			if err != nil {
				return fmt.Errorf("count in shard %d of app %d: %w: %w", shard, app, errNow, err)
			}
			mu.Lock()
			defer mu.Unlock()
			out.Matched += counts[0]
			out.Online += online
			for i := range out.Clauses {
				out.Clauses[i].Matched += counts[i]
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	out.Offline = out.Matched - out.Online
	out.Milliseconds = float64(time.Since(start).Microseconds()) / 1000
	return &reply{status: http.StatusOK, body: out}, nil
}

// countShard gives how many users of the shard each predicate holds for, and how many of the first one's are connected.
func (n *Native) countShard(ctx context.Context, app push.AppID, shard push.Shard, predicates []string) (counts []uint64, online uint64, err error) {
	q := wire.MatchRequest{Predicates: predicates}
	// The newest record there is: what this caller, or any other, was told to be written is at it or before it.
	switch m, err := n.b.Last(ctx, wire.UsersStream(app, shard), wire.Users(app, shard).Subjects[0]); {
	case err == nil:
		q.Folded = m.Seq
	case !errors.Is(err, broker.ErrNotFound):
		return nil, 0, err
	}
	raw, err := n.b.Request(ctx, wire.MatchSubject(app, shard), wire.EncodeMatchRequest(q))
	if err != nil {
		return nil, 0, err
	}
	width := n.b.Sharding().Width()
	match, err := wire.DecodeMatchReply(raw, width)
	if err != nil {
		return nil, 0, err
	}
	if len(match.Counts) != len(predicates) {
		return nil, 0, fmt.Errorf("%d counts for %d predicates", len(match.Counts), len(predicates))
	}
	gateways, err := n.b.Gather(ctx, wire.RoleDeliver, wire.SessionConnectedSubject(app), wire.EncodeJSON(wire.ConnectedRequest{Shard: shard}))
	if err != nil {
		return nil, 0, err
	}
	// Taken away one by one, so that who has sessions on two gateways counts once.
	left := match.Users
	for _, raw := range gateways {
		connected, err := wire.DecodeBitmap(raw, width)
		if err != nil {
			return nil, 0, fmt.Errorf("a gateway's answer: %w", err)
		}
		left.AndNot(connected)
	}
	return match.Counts, match.Counts[0] - left.GetCardinality(), nil
}
