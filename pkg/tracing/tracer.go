// Package tracing records the way of a push as spans of OpenTelemetry: one for each role that works on it, and shard. The
// place of a span travels with the push in the headers of the broker's messages, in the form of W3C Trace Context, so that
// spans of all processes are one tree.
//
// Only requests of operators begin a trace: as their caller's traceparent says, or by a ratio. A message of a push that is
// not recorded has no such header, and whoever takes it records nothing. So the decision is made once, and what is not
// recorded costs a look at a map. Nothing is ever recorded per user or session.
//
// A span that has ended goes into a bounded queue, from which Run sends it to an OTLP/HTTP receiver. What does not fit is
// dropped and counted. Nothing else ever waits for the receiver.
//
// A nil *Tracer, and the zero Span, record nothing and allocate nothing.
package tracing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/carillon-push/carillon/pkg/wire"
)

// Config of a tracer.
type Config struct {
	// Endpoint is the URL of an OTLP/HTTP receiver. Without a path it is that of the protocol, /v1/traces.
	Endpoint string
	// Headers go with every request to it, and may be secrets.
	Headers map[string]string
	// Sample is the share of the traces that begin here which is recorded, from 0 to 1. A caller's trace is recorded when
	// the caller's is.
	Sample float64
	// Instance tells this process from others.
	Instance string
	// Queue is how many spans wait for the receiver; more are dropped.
	Queue int
	// Timeout bounds one request to the receiver, and what Run takes to send the rest when it ends.
	Timeout time.Duration
}

// Default has no endpoint.
func Default() Config { return Config{Sample: 1, Queue: 4096, Timeout: 5 * time.Second} }

// Validate says what is wrong, in a sentence.
func (c Config) Validate() error {
	switch u, err := url.Parse(c.Endpoint); {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return errors.New("the endpoint of traces is not a URL such as http://collector:4318")
	case math.IsNaN(c.Sample) || c.Sample < 0 || c.Sample > 1:
		return fmt.Errorf("the share of traces that are recorded is from 0 to 1, not %v", c.Sample)
	case c.Queue < 1:
		return fmt.Errorf("the queue of spans must hold one or more, not %d", c.Queue)
	case c.Timeout <= 0:
		return fmt.Errorf("the receiver of spans must be given some time, not %v", c.Timeout)
	}
	return nil
}

// Tracer begins spans. A nil one records nothing.
type Tracer struct {
	t        trace.Tracer
	provider *sdktrace.TracerProvider
	queue    *queue
}

// New makes a tracer that sends what it records while it Runs.
func New(cfg Config, reg prometheus.Registerer, log *slog.Logger) (*Tracer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	u, err := url.Parse(cfg.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("read the endpoint of traces: %w", err)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/traces"
	}
	// One try a batch: those behind it must not wait for one that a sick receiver does not take.
	x, err := otlptracehttp.New(context.Background(), otlptracehttp.WithEndpointURL(u.String()), otlptracehttp.WithHeaders(cfg.Headers),
		otlptracehttp.WithTimeout(cfg.Timeout), otlptracehttp.WithRetry(otlptracehttp.RetryConfig{}),
		otlptracehttp.WithCompression(otlptracehttp.GzipCompression))
	if err != nil {
		return nil, fmt.Errorf("make the exporter of traces: %w", err)
	}
	return newTracer(cfg, x, reg, log)
}

func newTracer(cfg Config, x sdktrace.SpanExporter, reg prometheus.Registerer, log *slog.Logger) (*Tracer, error) {
	q := newQueue(cfg, x, log.With("component", "tracing"))
	if err := q.register(reg); err != nil {
		return nil, fmt.Errorf("register the metrics of tracing: %w", err)
	}
	p := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(q),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(cfg.Sample))),
		sdktrace.WithResource(resource.NewSchemaless(semconv.ServiceName("carillon"), semconv.ServiceInstanceID(cfg.Instance))))
	return &Tracer{t: p.Tracer("github.com/carillon-push/carillon"), provider: p, queue: q}, nil
}

// Run sends what is recorded until ctx ends, and then the rest for as long as Config.Timeout.
func (t *Tracer) Run(ctx context.Context) error { return t.queue.run(ctx) }

// propagator reads and writes traceparent and tracestate.
var propagator propagation.TraceContext

// Request begins the span of a request of an operator, which the caller's headers may make part of a trace of its own. It
// began at since; name is that of the command. The span is in the context.
func (t *Tracer) Request(ctx context.Context, r *http.Request, name string, since time.Time) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	caller := propagator.Extract(ctx, propagation.HeaderCarrier(r.Header))
	ctx, s := t.t.Start(caller, r.Method+" "+name, trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(since),
		trace.WithAttributes(semconv.HTTPRequestMethodKey.String(r.Method), attribute.String("carillon.command", name)))
	if !s.IsRecording() {
		return ctx, Span{}
	}
	return ctx, Span{s}
}

// Send begins the span of a message that is published to a stream, within the span of the context.
func (t *Tracer) Send(ctx context.Context, stream string) Span {
	if t == nil {
		return Span{}
	}
	return Span{trace.SpanFromContext(ctx)}.Send(t, stream)
}

// Process begins the span of what a role does about the message of a push, within the span that the message's headers name.
// Operation is a word such as "evaluate". The message came from a stream, and concerns a push and a shard.
func (t *Tracer) Process(header map[string]string, operation, stream string, of wire.PushPlace) Span {
	if t == nil || header[wire.HeaderTraceparent] == "" {
		return Span{}
	}
	return t.process(header, operation, stream, of)
}

func (t *Tracer) process(header map[string]string, operation, stream string, of wire.PushPlace) Span {
	ctx := propagator.Extract(context.Background(), propagation.MapCarrier(header))
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		return Span{}
	}
	_, s := t.t.Start(ctx, operation+" "+wire.Family(stream), trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
		append(about(stream, of), semconv.MessagingOperationName(operation), semconv.MessagingOperationTypeProcess)...))
	return Span{s}
}
