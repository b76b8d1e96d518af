package deliver

import (
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/tracing"
	"github.com/carillon-push/carillon/pkg/wire"
)

// traces are the dispatches that were recorded and whose first receipts are still to come, so that those are a part of the
// same trace. A nil one has none.
type traces struct {
	tracer *tracing.Tracer
	of     *lru.Cache[wire.PushPlace, tracing.Span]
}

// maxTraces bounds them. One that falls out lacks the span of its receipts.
const maxTraces = 1024

func newTraces(t *tracing.Tracer) (*traces, error) {
	if t == nil {
		return nil, nil
	}
	c, err := lru.New[wire.PushPlace, tracing.Span](maxTraces)
	if err != nil {
		return nil, err
	}
	return &traces{t, c}, nil
}

// dispatched notes the span of a dispatch that has ended.
func (t *traces) dispatched(s *shard, seq push.Seq, span tracing.Span) {
	if t != nil {
		t.of.Add(wire.PushPlace{App: s.app, Shard: s.id, Seq: seq}, span)
	}
}

// receipts begins the span of the first receipts of a push from a shard that say that somebody has it.
func (t *traces) receipts(s *shard, seq push.Seq, r *wire.Receipt) tracing.Span {
	if t == nil || r.Received.IsEmpty() && r.Opened.IsEmpty() {
		return tracing.Span{}
	}
	place := wire.PushPlace{App: s.app, Shard: s.id, Seq: seq}
	of, ok := t.of.Peek(place)
	if !ok {
		return tracing.Span{}
	}
	t.of.Remove(place)
	span := of.Send(t.tracer, wire.ReceiptsStream)
	span.About(s.app, seq)
	span.Int("shard", int(s.id))
	span.Int("users", int(r.Received.GetCardinality()))
	return span
}
