// Package tracingtest is a receiver of traces in the test's process.
package tracingtest

import (
	"compress/gzip"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	"google.golang.org/protobuf/proto"
)

// Span is one that has arrived. Its ids are hexadecimal, its attributes text or numbers.
type Span struct {
	Name, Trace, ID, Parent string
	Failed                  bool
	Attributes              map[string]any
}

// Receiver takes OTLP/HTTP.
type Receiver struct {
	URL    string
	mu     sync.Mutex
	header http.Header // of the last request
	spans  []Span
	came   chan struct{} // closed and made anew when spans have come
}

// Start listens until the test ends.
func Start(t testing.TB) *Receiver {
	r := &Receiver{came: make(chan struct{})}
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	r.URL = s.URL
	return r
}

// ServeHTTP takes one request.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body := io.Reader(q.Body)
	var err error
	if q.Header.Get("Content-Encoding") == "gzip" {
		body, err = gzip.NewReader(q.Body)
	}
	var data []byte
	if err == nil {
		data, err = io.ReadAll(body)
	}
	var request collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(data, &request)
	}
	if err != nil || q.URL.Path != "/v1/traces" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, of := range request.ResourceSpans {
		for _, scope := range of.ScopeSpans {
			for _, s := range scope.Spans {
				r.spans = append(r.spans, Span{
					Name: s.Name, Trace: hex.EncodeToString(s.TraceId), ID: hex.EncodeToString(s.SpanId), Parent: hex.EncodeToString(s.ParentSpanId),
					Failed: s.Status.GetCode() == 2, Attributes: attributes(s.Attributes),
				})
			}
		}
	}
	r.header = q.Header
	close(r.came)
	r.came = make(chan struct{})
}

func attributes(list []*common.KeyValue) map[string]any {
	m := map[string]any{}
	for _, kv := range list {
		switch v := kv.Value.Value.(type) {
		case *common.AnyValue_StringValue:
			m[kv.Key] = v.StringValue
		case *common.AnyValue_IntValue:
			m[kv.Key] = v.IntValue
		}
	}
	return m
}

// Spans are those that have come, the header of the last request, and a channel that is closed when more have.
func (r *Receiver) Spans() ([]Span, http.Header, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Span(nil), r.spans...), r.header, r.came
}
