package matcher

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/wire"
)

const (
	// countQueue is the group in which the matchers of a shard share its counts.
	countQueue = "matcher"
	// countWait is how long a count may wait for the log.
	countWait = 5 * time.Second
	// maxWaiting is how many counts of a shard may wait at once; one more is refused.
	maxWaiting = 64
)

// counts answers whom predicates hold for, until ctx ends. It begins when the log has been read, so that a request goes to
// a matcher that can answer, and the shard is ready when the broker knows of it.
func (s *shard) counts(ctx context.Context, ready func()) error {
	var waiting sync.WaitGroup
	err := s.m.b.Serve(ctx, wire.MatchSubject(s.app, s.id), countQueue, ready, func(r *broker.Request) { s.count(ctx, r, &waiting) })
	waiting.Wait()
	return err
}

// count answers at once when the index is folded as far as the request names, and otherwise when it is.
func (s *shard) count(ctx context.Context, r *broker.Request, waiting *sync.WaitGroup) {
	q, nodes, err := readCount(r.Data)
	if err != nil {
		s.refuse(r, resultCorrupt, err.Error())
		return
	}
	if s.has(q.Folded) {
		s.answer(r, nodes)
		return
	}
	select { // never waits: without a slot the request is refused
	case s.waiting <- struct{}{}:
	default:
		s.refuse(r, resultBusy, "too many counts are waiting")
		return
	}
	waiting.Go(func() {
		s.m.waiting.Add(1)
		defer func() { <-s.waiting; s.m.waiting.Add(-1) }()
		wait, cancel := context.WithTimeout(ctx, countWait)
		defer cancel()
		if s.await(wait, q.Folded) != nil {
			s.refuse(r, resultLate, "the log is behind")
			return
		}
		s.answer(r, nodes)
	})
}

func readCount(data []byte) (wire.MatchRequest, []predicate.Node, error) {
	q, err := wire.DecodeMatchRequest(data)
	if err != nil {
		return q, nil, err
	}
	if len(q.Predicates) == 0 {
		return q, nil, fmt.Errorf("a match request without predicates")
	}
	nodes := make([]predicate.Node, len(q.Predicates))
	for i, p := range q.Predicates {
		if nodes[i], err = predicate.Parse(p); err != nil {
			return q, nil, err
		}
	}
	return q, nodes, nil
}

// answer counts. Each count is exact; records that change between two of them are in the later one.
func (s *shard) answer(r *broker.Request, nodes []predicate.Node) {
	reply := wire.MatchReply{Users: s.index.Eval(nodes[0]), Counts: make([]uint64, len(nodes))}
	reply.Counts[0] = reply.Users.GetCardinality()
	for i, n := range nodes[1:] {
		reply.Counts[i+1] = s.index.Count(n)
	}
	data, err := wire.EncodeMatchReply(reply)
	if err == nil {
		err = r.Respond(data)
	}
	if err != nil {
		s.log.Warn("answer a count", "err", err)
		return
	}
	s.m.metrics.counts.WithLabelValues(resultAnswered).Inc()
}

func (s *shard) refuse(r *broker.Request, result, why string) {
	s.m.metrics.counts.WithLabelValues(result).Inc()
	if err := r.Refuse(why); err != nil {
		s.log.Warn("refuse a count", "err", err)
	}
}
