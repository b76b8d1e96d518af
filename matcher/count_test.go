package matcher

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// folded is the place in a shard's log behind which nothing was changed.
func (h *bench) folded(s push.Shard) uint64 {
	h.Helper()
	m, err := h.b.Last(h.Context(), wire.UsersStream(app, s), wire.Users(app, s).Subjects[0])
	if errors.Is(err, broker.ErrNotFound) {
		return 0
	}
	if err != nil {
		h.Fatal(err)
	}
	return m.Seq
}

// count asks until a matcher serves the shard.
func (h *bench) count(s push.Shard, q wire.MatchRequest) (wire.MatchReply, error) {
	h.Helper()
	ctx, cancel := context.WithTimeout(h.Context(), 20*time.Second)
	defer cancel()
	for {
		raw, err := h.b.Request(ctx, wire.MatchSubject(app, s), wire.EncodeMatchRequest(q))
		if errors.Is(err, broker.ErrUnavailable) && ctx.Err() == nil {
			continue // it is still reading its log
		}
		if err != nil {
			return wire.MatchReply{}, err
		}
		return wire.DecodeMatchReply(raw, h.b.Sharding().Width())
	}
}

// expected is the oracle's answer: whom a node holds for by the last version of each record.
func (h *bench) expected(s push.Shard, n predicate.Node) *roaring.Bitmap {
	users := roaring.New()
	for o, versions := range h.versions {
		r := versions[len(versions)-1]
		if h.b.Sharding().Shard(o) == s && !r.Deleted && predicate.Match(n, subject{&r}) {
			users.Add(h.b.Sharding().Local(o))
		}
	}
	return users
}

// Every change that was acknowledged before the question is in its answer.
func TestCountsAgainstTheOracle(t *testing.T) {
	t.Parallel()
	h := newBench(t, 0, 3)
	h.change(0, 40)
	h.run(h.b)
	h.run(h.b) // they share the questions
	for round := range 40 {
		s := h.shards[round%2]
		h.change(s, 1+h.rand.IntN(100))
		nodes, q := make([]predicate.Node, 1+h.rand.IntN(5)), wire.MatchRequest{Folded: h.folded(s)}
		for i := range nodes {
			nodes[i] = h.node(3)
			q.Predicates = append(q.Predicates, predicate.String(nodes[i]))
		}
		got, err := h.count(s, q)
		if err != nil {
			t.Fatal(err)
		}
		if want := h.expected(s, nodes[0]); !got.Users.Equals(want) {
			t.Errorf("%s: users %v, want %v", q.Predicates[0], got.Users, want)
		}
		for i, n := range nodes {
			if want := h.expected(s, n).GetCardinality(); got.Counts[i] != want {
				t.Errorf("%s: %d, want %d", q.Predicates[i], got.Counts[i], want)
			}
		}
	}
}

func TestCountsOfAnEmptyShard(t *testing.T) {
	t.Parallel()
	h := newBench(t, 2)
	h.run(h.b)
	got, err := h.count(2, wire.MatchRequest{Folded: h.folded(2), Predicates: []string{"all", "none"}})
	if err != nil || fmt.Sprint(got.Counts) != "[0 0]" || !got.Users.IsEmpty() {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestCountsThatAreRefused(t *testing.T) {
	t.Parallel()
	h := newBench(t, 0)
	h.run(h.b)
	for what, q := range map[string]wire.MatchRequest{
		"predicate":          {Predicates: []string{"(tag"}},
		"without predicates": {},
	} {
		if _, err := h.count(0, q); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%+v: %v", q, err)
		}
	}
	if _, err := h.b.Request(t.Context(), wire.MatchSubject(app, 0), nil); err == nil {
		t.Error("a request of no bytes was answered")
	}
}
