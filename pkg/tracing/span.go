package tracing

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// Keys of attributes that OpenTelemetry has no names for.
const (
	keyApp   = attribute.Key("carillon.app")
	keyShard = attribute.Key("carillon.shard")
	keySeq   = attribute.Key("carillon.push.seq")
	keyTask  = attribute.Key("carillon.push.task_id")
)

// Span is something that a role does about a push. The zero value records nothing.
type Span struct{ s trace.Span }

// Recording says whether there is anything to record.
func (s Span) Recording() bool { return s.s != nil }

// Send begins the span of a message that is published to a stream as a part of this one.
func (s Span) Send(t *Tracer, stream string) Span {
	if t == nil || s.s == nil || !s.s.SpanContext().IsSampled() {
		return Span{}
	}
	const operation = "publish"
	_, out := t.t.Start(trace.ContextWithSpan(context.Background(), s.s), operation+" "+wire.Family(stream), trace.WithSpanKind(trace.SpanKindProducer),
		trace.WithAttributes(semconv.MessagingSystemKey.String("nats"), semconv.MessagingDestinationName(stream),
			semconv.MessagingOperationName(operation), semconv.MessagingOperationTypeSend))
	return Span{out}
}

// Inject puts the span's place into the headers of a message, and makes them if need be. Of the zero value it is nothing.
func (s Span) Inject(header map[string]string) map[string]string {
	if s.s == nil {
		return header
	}
	if header == nil {
		header = map[string]string{}
	}
	propagator.Inject(trace.ContextWithSpan(context.Background(), s.s), propagation.MapCarrier(header))
	return header
}

// About notes which push the span is about.
func (s Span) About(app push.AppID, seq push.Seq) {
	if s.s != nil {
		s.s.SetAttributes(ofPush(app, seq)...)
	}
}

// Int notes a number under a name of ours.
func (s Span) Int(name string, n int) {
	if s.s != nil {
		s.s.SetAttributes(attribute.Int("carillon."+name, n))
	}
}

// Status notes the HTTP status of a request's answer.
func (s Span) Status(code int) {
	if s.s == nil {
		return
	}
	s.s.SetAttributes(semconv.HTTPResponseStatusCode(code))
	if code >= 500 {
		s.s.SetStatus(codes.Error, "")
	}
}

// End ends the span, with the error by which what it is of has failed, or nil.
func (s Span) End(err error) {
	if s.s == nil {
		return
	}
	if err != nil {
		s.s.SetStatus(codes.Error, err.Error())
	}
	s.s.End()
}

// about are the attributes of a message from a stream that is of a push and shard.
func about(stream string, of wire.PushPlace) []attribute.KeyValue {
	return append(ofPush(of.App, of.Seq), keyShard.Int64(int64(of.Shard)), semconv.MessagingSystemKey.String("nats"), semconv.MessagingDestinationName(stream))
}

func ofPush(app push.AppID, seq push.Seq) []attribute.KeyValue {
	return []attribute.KeyValue{
		keyApp.Int64(int64(app)), keySeq.Int64(int64(seq)), keyTask.String(string(push.NewTaskID(app, seq))),
	}
}
