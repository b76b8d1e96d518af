package app

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// patience bounds how long a test waits for an event.
const patience = 20 * time.Second

// lines is a log that can be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lines) logger() *slog.Logger {
	return slog.New(requestLog{slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug})})
}

// serving is a server of a test's own on a free port.
type serving struct {
	*server
	t       *testing.T
	log     *lines
	metrics *Metrics
}

func serveHandler(t *testing.T, h http.Handler, change ...func(*listen)) *serving {
	t.Helper()
	l := listen{
		name: restListener, address: "127.0.0.1:0", handler: h, read: patience, write: patience, idle: patience, connections: 100,
	}
	for _, c := range change {
		c(&l)
	}
	m, err := NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	log := &lines{}
	s, err := newServer(t.Context(), l, m, log.logger())
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.serve() }()
	t.Cleanup(func() {
		_ = s.http.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return &serving{s, t, log, m}
}

// wire is one connection of a client that writes what it wants.
type wire struct {
	net.Conn
	r *bufio.Reader
	t *testing.T
}

func (s *serving) dial() *wire {
	s.t.Helper()
	return dialAddress(s.t, s.l.Addr().String())
}

func dialAddress(t *testing.T, address string) *wire {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &wire{c, bufio.NewReader(c), t}
}

func (w *wire) send(text string) {
	w.t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		w.t.Fatal(err)
	}
}

// receive reads one answer with its body.
func (w *wire) receive() (*http.Response, string) {
	w.t.Helper()
	res, err := http.ReadResponse(w.r, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return res, string(body)
}

// closed waits until the server has closed the connection, without another answer.
func (w *wire) closed() {
	w.t.Helper()
	b, err := w.r.ReadByte()
	var timeout net.Error
	if err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		w.t.Errorf("the connection is open: %q, %v", b, err)
	}
}

// value of a counter or gauge.
func value(t *testing.T, m prometheus.Metric) float64 {
	t.Helper()
	var d dto.Metric
	if err := m.Write(&d); err != nil {
		t.Fatal(err)
	}
	return d.GetCounter().GetValue() + d.GetGauge().GetValue()
}

var ok = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })

const get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

func TestConnectionsOverTheLimitAreClosed(t *testing.T) {
	t.Parallel()
	s := serveHandler(t, ok, func(l *listen) { l.connections = 2 })
	held := []*wire{s.dial(), s.dial()}
	for _, w := range held {
		w.send(get)
		w.receive()
	}
	s.dial().closed()
	if n := value(t, s.metrics.refused.WithLabelValues(restListener)); n != 1 {
		t.Errorf("%v refused connections are counted, want 1", n)
	}
	held[1].send(get)
	held[1].receive()

	_ = held[0].Close()
	deadline := time.Now().Add(patience)
	for { // until the server has seen it
		w := s.dial()
		_, _ = io.WriteString(w, get)
		if _, err := w.r.ReadByte(); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the place of a connection that has gone is not free again")
		}
	}
}

func TestSlowHeadersAreCutOff(t *testing.T) {
	t.Parallel()
	s := serveHandler(t, ok, func(l *listen) { l.read = 50 * time.Millisecond })
	w := s.dial()
	w.send("GET / HTTP/1.1\r\nHost: x\r\nX-A: b\r\n")
	w.closed()
}

func TestHeadersAreBounded(t *testing.T) {
	t.Parallel()
	w := serveHandler(t, ok).dial()
	// As much as is read of it, so that no reset of what is left comes before the answer.
	w.send("GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + strings.Repeat("x", maxHeader+4096))
	if res, _ := w.receive(); res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("HTTP %d", res.StatusCode)
	}
}

// A client that reads nothing holds a handler no longer than the time limit.
func TestAClientThatDoesNotReadIsCutOff(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	s := serveHandler(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		var err error
		for err == nil {
			_, err = w.Write(make([]byte, 1<<20))
		}
		ended <- err
	}), func(l *listen) { l.write = 50 * time.Millisecond })
	s.dial().send(get)
	select { // the handler wakes it
	case err := <-ended:
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("the answer ended with: %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the handler still writes")
	}
}

// deadlines is a ResponseWriter that counts how often the client got more time.
type deadlines struct {
	*httptest.ResponseRecorder
	set int
}

func (d *deadlines) SetWriteDeadline(time.Time) error { d.set++; return nil }

// A long answer is not cut while it is read: every piece has the whole time limit.
func TestEachPieceOfAnAnswerHasItsTime(t *testing.T) {
	t.Parallel()
	d := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	a := &answer{ResponseWriter: d, timeout: time.Second}
	body := bytes.Repeat([]byte("0123456789"), piece/2)
	n, err := a.Write(body)
	if n != len(body) || err != nil || !bytes.Equal(d.Body.Bytes(), body) || a.bytes != int64(len(body)) {
		t.Errorf("wrote %d of %d, %v", n, len(body), err)
	}
	if d.set != 5 {
		t.Errorf("%d bytes were given time %d times, want 5", len(body), d.set)
	}
}

func TestRequestIDs(t *testing.T) {
	t.Parallel()
	var log *slog.Logger
	s := serveHandler(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		log.With("a", 1).InfoContext(r.Context(), "in the handler")
	}))
	log = s.server.log
	for id, kept := range map[string]bool{
		"": false, "a-b_c.9": true, strings.Repeat("x", 64): true, strings.Repeat("x", 65): false, "a b": false, "a\tb": false,
		"é": false, "a\"b": false, "a=b": false,
	} {
		w := s.dial()
		w.send("GET / HTTP/1.1\r\nHost: x\r\nX-Request-Id: " + id + "\r\n\r\n")
		res, _ := w.receive()
		got := res.Header.Get(requestHeader)
		if (got == id) != kept || !sane.MatchString(got) {
			t.Errorf("%q became %q", id, got)
		}
		if !strings.Contains(s.log.String(), `msg="in the handler" a=1 request_id=`+got+"\n") {
			t.Errorf("%q is in no line of the log", got)
		}
	}
	var b bytes.Buffer
	slog.New(requestLog{slog.NewTextHandler(&b, nil)}).WithGroup("g").Info("none")
	if strings.Contains(b.String(), "request_id") {
		t.Errorf("a line of no request has an id: %s", b.String())
	}
}

func TestEveryAnswerIsForTheCallerAlone(t *testing.T) {
	t.Parallel()
	w := serveHandler(t, ok).dial()
	w.send(get)
	res, _ := w.receive()
	for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Access-Control-Allow-Origin": ""} {
		if got := res.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestAPanicIsAnInternalError(t *testing.T) {
	t.Parallel()
	const secret = "what the caller sent"
	s := serveHandler(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("how") {
		case "text":
			panic(secret)
		case "late":
			_, _ = io.WriteString(w, strings.Repeat("x", 1<<16))
			panic(secret)
		case "abort":
			panic(http.ErrAbortHandler)
		}
		var none []int
		_ = none[len(r.Method)]
	}))
	for _, c := range []struct {
		url, answer string
		status      int
	}{
		{"/v4/all_member_push/im_push", `{"ActionStatus":"FAIL","ErrorInfo":"internal error: try again","ErrorCode":91000}`, 200},
		{"/v1/pushes?how=text", `{"title":"Internal Server Error","status":500,"code":"internal","detail":"internal error: try again"}`, 500},
	} {
		w := s.dial()
		w.send("POST " + c.url + " HTTP/1.1\r\nHost: x\r\nX-Request-Id: of-" + http.StatusText(c.status) + "\r\nContent-Length: 0\r\n\r\n")
		res, body := w.receive()
		if res.StatusCode != c.status || body != c.answer {
			t.Errorf("%s: HTTP %d %s", c.url, res.StatusCode, body)
		}
	}
	for _, how := range []string{"late", "abort"} { // the answer never seems to be whole
		w := s.dial()
		w.send("GET /v4/x/y?how=" + how + " HTTP/1.1\r\nHost: x\r\n\r\n")
		if res, err := http.ReadResponse(w.r, nil); err == nil {
			if _, err := io.ReadAll(res.Body); err == nil {
				t.Errorf("%s: an answer came to its end", how)
			}
		}
	}
	if n := value(t, s.metrics.panics.WithLabelValues(restListener)); n != 3 {
		t.Errorf("%v panics are counted, want 3", n)
	}
	log := s.log.String()
	for _, want := range []string{"index out of range", "server_test.go", "request_id=of-OK", "panic=string", "level=ERROR"} {
		if !strings.Contains(log, want) {
			t.Errorf("%q is not in the log:\n%s", want, log)
		}
	}
	if strings.Contains(log, secret) {
		t.Errorf("what the caller sent is in the log:\n%s", log)
	}
}

// While a process stops, what it is doing ends well, and who comes on a connection of before is told to go elsewhere.
func TestStoppingRefusesNewRequestsAndEndsOldOnes(t *testing.T) {
	t.Parallel()
	began, end := make(chan struct{}), make(chan struct{})
	s := serveHandler(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(began)
		<-end
		_, _ = io.WriteString(w, "done")
	}))
	old, fresh, problem := s.dial(), s.dial(), s.dial()
	old.send(get)
	<-began
	awaitOpen(t, s, 3)
	stopped := make(chan error, 1)
	go func() { stopped <- s.shutdown(context.Background(), patience) }()
	awaitStopped(t, s)

	fresh.send("POST /v4/all_member_push/im_push HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
	res, body := fresh.receive()
	if res.StatusCode != http.StatusServiceUnavailable || !res.Close || !strings.Contains(body, `"ErrorCode":91000`) {
		t.Errorf("HTTP %d, close %v, %s", res.StatusCode, res.Close, body)
	}
	fresh.closed()
	problem.send("GET /v1/x HTTP/1.1\r\nHost: x\r\n\r\n")
	if res, body := problem.receive(); res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("HTTP %d %s", res.StatusCode, body)
	}
	close(end)
	if res, body := old.receive(); res.StatusCode != http.StatusOK || body != "done" {
		t.Errorf("what had begun ended with HTTP %d %q", res.StatusCode, body)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// awaitOpen waits until the server holds so many connections.
func awaitOpen(t *testing.T, s *serving, n float64) {
	t.Helper()
	await(t, func() bool { return value(t, s.metrics.open.WithLabelValues(restListener)) == n })
}

// awaitStopped waits until the server takes no new requests.
func awaitStopped(t *testing.T, s *serving) {
	t.Helper()
	await(t, func() bool {
		s.work.mu.Lock()
		defer s.work.mu.Unlock()
		return s.work.stopped
	})
}

func await(t *testing.T, reached func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !reached() {
		select { // the ticker wakes it, ctx ends it
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("what was waited for has not come")
		}
	}
}

// What a server adds to a request.
func BenchmarkServer(b *testing.B) {
	m, err := NewMetrics(prometheus.NewRegistry())
	if err != nil {
		b.Fatal(err)
	}
	l := listen{
		name: restListener, address: "127.0.0.1:0", handler: ok, connections: 1, access: &accessLog{log: slog.New(slog.DiscardHandler)},
	}
	s, err := newServer(b.Context(), l, m, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer s.close()
	r := httptest.NewRequest(http.MethodPost, "/v4/all_member_push/im_push?sdkappid=1&identifier=a&usersig=b", nil)
	b.ReportAllocs()
	for b.Loop() {
		s.ServeHTTP(httptest.NewRecorder(), r)
	}
}
