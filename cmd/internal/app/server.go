package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-push/carillon/deliver/socket"
)

// listen is what a server is made of.
type listen struct {
	name    string // in logs and metrics: rest, sessions or admin
	address string
	handler http.Handler
	// read bounds the time in which a request must have arrived, idle that between two. Write bounds the time until an answer
	// begins, and then that for each piece of it; zero for none.
	read, write, idle time.Duration
	connections       int
	tls               *tls.Config // nil for none
	access            *accessLog  // nil for none
}

// server answers on one listener: it gives each request an id and what every answer has in common, and keeps a handler
// that panics, and a process that stops, from showing as a broken connection.
type server struct {
	listen
	log    *slog.Logger
	http   *http.Server
	l      net.Listener
	work   *work
	busy   prometheus.Gauge
	panics prometheus.Counter
}

// maxHeader bounds a request's header in bytes; a UserSig of the largest kind fits.
const maxHeader = 32 << 10

// newServer binds the address. The server must be served or closed.
func newServer(ctx context.Context, l listen, m *Metrics, log *slog.Logger) (*server, error) {
	s := &server{listen: l, log: log, work: newWork(), busy: m.requests.WithLabelValues(l.name), panics: m.panics.WithLabelValues(l.name)}
	held := &connections{max: int64(l.connections), open: m.open.WithLabelValues(l.name), refused: m.refused.WithLabelValues(l.name)}
	// One request at a time on a connection: the bound on connections is one on requests.
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	s.http = &http.Server{
		Handler: s, ReadHeaderTimeout: l.read, ReadTimeout: l.read, WriteTimeout: l.write, IdleTimeout: l.idle, MaxHeaderBytes: maxHeader,
		Protocols: &protocols, ConnState: held.watch, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	var err error
	var lc net.ListenConfig
	if s.l, err = lc.Listen(ctx, "tcp", l.address); err != nil {
		return nil, fmt.Errorf("listen for %s: %w", l.name, err)
	}
	if l.tls != nil {
		s.l = socket.NewTLSListener(s.l, l.tls) // the handshake has the time that a request's header has
	}
	return s, nil
}

// ServeHTTP answers one request.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	id := requestID(r)
	r = r.WithContext(withRequestID(r.Context(), id))
	h := w.Header()
	h.Set(requestHeader, id)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	a := &answer{ResponseWriter: w, timeout: s.write}
	defer func() { s.access.request(r, a, time.Since(start)) }()
	if !s.work.begin() {
		h.Set("Connection", "close")
		h.Set("Retry-After", "1")
		refuse(a, r, http.StatusServiceUnavailable, "this process is stopping: try again")
		return
	}
	defer s.work.end()
	s.busy.Inc()
	defer s.busy.Dec()
	defer s.recover(a, r)
	s.handler.ServeHTTP(a, r)
	a.begin(http.StatusOK) // what net/http says for a handler that wrote nothing
}

// recover ends a request whose handler panicked, when deferred. What was written cannot be taken back: then the connection
// is cut, so that the client sees that it has no answer.
func (s *server) recover(a *answer, r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler {
		panic(p)
	}
	s.panics.Inc()
	what := fmt.Sprintf("%T", p) // its text may quote what the caller sent
	if err, ok := p.(runtime.Error); ok {
		what = err.Error()
	}
	s.log.ErrorContext(r.Context(), "a handler panicked", "listener", s.name, "panic", what, "stack", string(debug.Stack()))
	if a.status != 0 {
		panic(http.ErrAbortHandler)
	}
	status := http.StatusInternalServerError
	if contract(r.URL.Path) && s.name == restListener {
		status = http.StatusOK // the contract says it with its code
	}
	refuse(a, r, status, "internal error: try again")
}

// serve answers until shutdown.
func (s *server) serve() error {
	err := s.http.Serve(s.l)
	if !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) { // both are shutdown's doing
		return fmt.Errorf("serve %s: %w", s.l.Addr(), err)
	}
	return nil
}

// shutdown takes no more connections, answers whoever calls on an open one with 503, and waits for the requests that it is
// about. Only then come the connections: net/http, once told to stop, would close them under a request that has just come.
// What takes too long, or longer than ctx, is cut: whoever waits there repeats the call, which does no harm.
func (s *server) shutdown(ctx context.Context, wait time.Duration) error {
	if s == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	s.close()
	select { // the last request wakes it, the time ends it
	case <-s.work.stop():
	case <-ctx.Done():
	}
	if err := s.http.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return s.http.Close()
}

// close lets go of the address.
func (s *server) close() {
	if s != nil {
		_ = s.l.Close() // it may be closed already
	}
}

// url is the server's address behind a scheme, "" for no server.
func (s *server) url(scheme string) string {
	if s == nil {
		return ""
	}
	if s.tls != nil {
		scheme += "s"
	}
	return scheme + "://" + s.l.Addr().String()
}
