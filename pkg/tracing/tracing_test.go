package tracing_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/tracing"
	"github.com/carillon-push/carillon/pkg/tracing/tracingtest"
	"github.com/carillon-push/carillon/pkg/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// running is a tracer that sends to an endpoint until stop.
type running struct {
	*tracing.Tracer
	reg  *prometheus.Registry
	stop func()
}

func start(t *testing.T, endpoint string, change ...func(*tracing.Config)) *running {
	t.Helper()
	cfg := tracing.Default()
	cfg.Endpoint, cfg.Headers = endpoint, map[string]string{"Authorization": "a secret"}
	for _, c := range change {
		c(&cfg)
	}
	reg := prometheus.NewRegistry()
	tr, err := tracing.New(cfg, reg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := tr.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	stop := func() { cancel(); wg.Wait() }
	t.Cleanup(stop)
	return &running{tr, reg, stop}
}

// spans is how many have come to a result.
func (r *running) spans(t *testing.T, result string) int {
	t.Helper()
	all, err := r.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		for _, m := range f.Metric {
			if f.GetName() == "carillon_tracing_spans_total" && m.Label[0].GetValue() == result {
				return int(m.Counter.GetValue())
			}
		}
	}
	return 0
}

func request(traceparent string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/v4/x", nil)
	if traceparent != "" {
		r.Header.Set("traceparent", traceparent)
		r.Header.Set("tracestate", "vendor=1")
	}
	return r
}

const (
	callersTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	callersSpan  = "00f067aa0ba902b7"
	sampled      = "00-" + callersTrace + "-" + callersSpan + "-01"
	unsampled    = "00-" + callersTrace + "-" + callersSpan + "-00"
)

var place = wire.PushPlace{App: 7, Shard: 3, Seq: 9}

// way is that of a push through two processes.
func way(begin, end *tracing.Tracer, traceparent string) (header map[string]string) {
	ctx, request := begin.Request(context.Background(), request(traceparent), "im_push", time.Now())
	sent := begin.Send(ctx, wire.PushesStream)
	header = sent.Inject(nil)
	sent.About(7, 9)
	sent.End(nil)
	request.Int("code", 0)
	request.Status(200)
	request.End(nil)
	done := end.Process(header, "evaluate", wire.UsersStream(7, 3), place)
	out := done.Send(end, wire.AudiencesStream)
	out.End(errors.New("the broker is gone"))
	done.End(nil)
	return header
}

// The spans of two processes are one tree below the caller's span.
func TestOneTree(t *testing.T) {
	t.Parallel()
	receiver := tracingtest.Start(t)
	one, two := start(t, receiver.URL), start(t, receiver.URL)
	header := way(one.Tracer, two.Tracer, sampled)
	if header[wire.HeaderTracestate] != "vendor=1" || !strings.HasPrefix(header[wire.HeaderTraceparent], "00-"+callersTrace) {
		t.Errorf("the message carries %v", header)
	}
	one.stop()
	two.stop()
	spans, got, _ := receiver.Spans()
	if got.Get("Authorization") != "a secret" {
		t.Error("the configured headers were not sent")
	}
	byID := map[string]tracingtest.Span{}
	for _, s := range spans {
		if s.Trace != callersTrace {
			t.Errorf("%s is in trace %s", s.Name, s.Trace)
		}
		byID[s.ID] = s
	}
	parents := map[string]string{}
	for _, s := range spans {
		parents[s.Name] = byID[s.Parent].Name
		if s.Failed != (s.Name == "publish AUDIENCES") {
			t.Errorf("%s failed: %t", s.Name, s.Failed)
		}
	}
	for name, parent := range map[string]string{
		"POST im_push": "", "publish PUSHES": "POST im_push", "evaluate USERS": "publish PUSHES", "publish AUDIENCES": "evaluate USERS",
	} {
		if got, ok := parents[name]; !ok || got != parent {
			t.Errorf("%s is within %q (%t), want %q", name, got, ok, parent)
		}
	}
	for _, s := range spans {
		if s.Name == "evaluate USERS" && (s.Attributes["carillon.push.task_id"] != string(push.NewTaskID(7, 9)) || s.Attributes["carillon.shard"] != int64(3) ||
			s.Attributes["messaging.operation.type"] != "process" || s.Attributes["messaging.destination.name"] != "USERS_7_3") {
			t.Errorf("it says %v", s.Attributes)
		}
	}
	if one.spans(t, "sent") != 2 || two.spans(t, "sent") != 2 {
		t.Errorf("%d and %d spans are counted as sent", one.spans(t, "sent"), two.spans(t, "sent"))
	}
}

// What is not recorded where it begins is recorded nowhere: the ratio decides for a trace of our own, the caller for its own.
func TestTheDecisionTravels(t *testing.T) {
	t.Parallel()
	receiver := tracingtest.Start(t)
	never := start(t, receiver.URL, func(c *tracing.Config) { c.Sample = 0 })
	always := start(t, receiver.URL)
	for _, h := range []map[string]string{
		way(never.Tracer, always.Tracer, ""), way(always.Tracer, always.Tracer, unsampled),
		way(nil, always.Tracer, sampled),
	} {
		if len(h) != 0 {
			t.Errorf("a push that is not recorded carries %v", h)
		}
	}
	always.Process(map[string]string{wire.HeaderTraceparent: unsampled}, "evaluate", "USERS_1_0", place).End(nil)
	always.Process(map[string]string{wire.HeaderTraceparent: "no span at all"}, "evaluate", "USERS_1_0", place).End(nil)
	way(always.Tracer, nil, "")
	always.stop()
	never.stop()
	if spans, _, _ := receiver.Spans(); len(spans) != 2 {
		t.Errorf("recorded: %+v", spans)
	}
}

// A receiver that hangs delays nobody; what does not fit is dropped and counted, and the end is bounded.
func TestAReceiverThatHangs(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(hang) })
	tr := start(t, s.URL, func(c *tracing.Config) { c.Queue, c.Timeout = 8, 50*time.Millisecond })
	const n = 5000
	for range n {
		_, span := tr.Request(context.Background(), request(""), "im_push", time.Now())
		span.End(nil)
	}
	tr.stop()
	dropped, failed := tr.spans(t, "dropped"), tr.spans(t, "failed")
	if dropped == 0 || failed == 0 || dropped+failed != n {
		t.Errorf("of %d spans %d were dropped and %d failed", n, dropped, failed)
	}
	if got, err := testutil.GatherAndCount(tr.reg, "carillon_tracing_queue_spans"); err != nil || got != 1 {
		t.Errorf("%d gauges of the queue, %v", got, err)
	}
}

// What is off, or not recorded, costs no memory.
func TestNothingIsAllocatedForNothing(t *testing.T) {
	on := start(t, tracingtest.Start(t).URL)
	header := map[string]string{wire.HeaderExpire: "0"}
	ctx := context.Background()
	for name, tr := range map[string]*tracing.Tracer{"off": nil, "not recorded": on.Tracer} {
		if n := testing.AllocsPerRun(100, func() {
			span := tr.Process(header, "dispatch", wire.AudiencesStream, place)
			span.Int("sessions", 12345)
			span.About(7, 9)
			out := span.Send(tr, wire.ReceiptsStream)
			out.Inject(header)
			out.End(nil)
			span.End(nil)
			if tr == nil {
				tr.Send(ctx, wire.PushesStream).End(nil)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]func(*tracing.Config){
		"no endpoint": func(c *tracing.Config) { c.Endpoint = "" },
		"no host":     func(c *tracing.Config) { c.Endpoint = "http://" },
		"gRPC":        func(c *tracing.Config) { c.Endpoint = "grpc://collector:4317" },
		"share":       func(c *tracing.Config) { c.Sample = 1.5 },
		"queue":       func(c *tracing.Config) { c.Queue = 0 },
		"timeout":     func(c *tracing.Config) { c.Timeout = 0 },
	} {
		cfg := tracing.Default()
		cfg.Endpoint = "http://collector:4318"
		change(&cfg)
		if _, err := tracing.New(cfg, prometheus.NewRegistry(), slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}
