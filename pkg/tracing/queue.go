package tracing

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// What becomes of a span, a closed set.
const (
	resultSent    = "sent"
	resultDropped = "dropped" // the queue was full, or closed
	resultFailed  = "failed"  // the receiver did not take it
)

const (
	// batch is the most spans that one request carries.
	batch = 512
	// linger is how long a span waits for others to go with.
	linger = time.Second
	// complainEvery is the least time between two lines of the log about a receiver that does not answer.
	complainEvery = time.Minute
)

// queue is where spans that have ended wait to be sent (sdktrace.SpanProcessor). The SDK's own has a goroutine from its
// making on, and does not say what it drops.
type queue struct {
	cfg      Config
	exporter sdktrace.SpanExporter
	log      *slog.Logger
	waiting  chan sdktrace.ReadOnlySpan
	spans    *prometheus.CounterVec
	dropped  prometheus.Counter
	told     time.Time // of the goroutine that runs it
}

func newQueue(cfg Config, x sdktrace.SpanExporter, log *slog.Logger) *queue {
	q := &queue{
		cfg: cfg, exporter: x, log: log, waiting: make(chan sdktrace.ReadOnlySpan, cfg.Queue),
		spans: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carillon_tracing_spans_total",
			Help: "Spans recorded, by result: sent, dropped (the queue was full), failed (the receiver did not take them).",
		}, []string{"result"}),
	}
	q.dropped = q.spans.WithLabelValues(resultDropped)
	return q
}

func (q *queue) register(reg prometheus.Registerer) error {
	if err := reg.Register(q.spans); err != nil {
		return err
	}
	return reg.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "carillon_tracing_queue_spans", Help: "Spans that wait to be sent.",
	}, func() float64 { return float64(len(q.waiting)) }))
}

// OnStart is nothing: a span is of interest when it has ended.
func (*queue) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

// OnEnd takes a span. It never waits.
func (q *queue) OnEnd(s sdktrace.ReadOnlySpan) {
	select { // never waits: without room it is dropped
	case q.waiting <- s:
	default:
		q.dropped.Inc()
	}
}

// Shutdown is nothing: run ends by its context.
func (*queue) Shutdown(context.Context) error { return nil }

// ForceFlush is nothing: run flushes when it ends.
func (*queue) ForceFlush(context.Context) error { return nil }

// run sends batches until ctx ends, and then what waits.
func (q *queue) run(ctx context.Context) error {
	spans := make([]sdktrace.ReadOnlySpan, 0, batch)
	for ctx.Err() == nil {
		select { // a span wakes it, ctx ends it
		case s := <-q.waiting:
			spans = q.gather(ctx, append(spans, s))
			q.send(context.WithoutCancel(ctx), spans)
			clear(spans)
			spans = spans[:0]
		case <-ctx.Done():
		}
	}
	final, cancel := context.WithTimeout(context.WithoutCancel(ctx), q.cfg.Timeout)
	defer cancel()
	for len(q.waiting) > 0 { // nobody else takes from it
		for len(q.waiting) > 0 && len(spans) < batch {
			spans = append(spans, <-q.waiting)
		}
		q.send(final, spans)
		spans = spans[:0]
	}
	_ = q.exporter.Shutdown(final) // it has nothing left: each send has waited for its answer
	return nil
}

// gather waits for more, until the batch is full or the first has waited for long enough.
func (q *queue) gather(ctx context.Context, spans []sdktrace.ReadOnlySpan) []sdktrace.ReadOnlySpan {
	over := time.NewTimer(linger)
	defer over.Stop()
	for len(spans) < batch {
		select { // a span wakes it; the time, or ctx, ends it
		case s := <-q.waiting:
			spans = append(spans, s)
		case <-over.C:
			return spans
		case <-ctx.Done():
			return spans
		}
	}
	return spans
}

// send makes one request. What the receiver does not take is counted and forgotten: it would stand before newer ones.
func (q *queue) send(ctx context.Context, spans []sdktrace.ReadOnlySpan) {
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Timeout)
	defer cancel()
	result := resultSent
	if err := q.exporter.ExportSpans(ctx, spans); err != nil {
		result = resultFailed
		if time.Since(q.told) > complainEvery {
			q.told = time.Now()
			q.log.Warn("send spans; they are lost", "spans", len(spans), "err", err)
		}
	}
	q.spans.WithLabelValues(result).Add(float64(len(spans)))
}
