package app

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

// errStarting is why a process that waits for its broker must get no work.
var errStarting = errors.New("the process is starting: it waits for the broker")

// starting serves the probes at their address while the process waits for its broker, which may take as long as the broker
// has no leader: it lives, and is not ready. Its listener is closed, by stop, before that of the process itself is opened.
// An address whose port is still to be drawn is known to nobody, and is not served.
func (a *App) starting(ctx context.Context) (stop func() error, err error) {
	l := a.adminServer()
	if l.address == "" {
		l = a.restServer(nil)
		if a.cfg.HTTP.TLS() {
			cert, err := loadCertificate("http", a.cfg.HTTP.TLSCert, a.cfg.HTTP.TLSKey, a.log)
			if err != nil {
				return nil, err
			}
			l.tls = cert.tls()
		}
	}
	if _, port, err := net.SplitHostPort(l.address); err == nil && port == "0" {
		return func() error { return nil }, nil
	}
	l.handler = a.startingProbes()
	s, err := newServer(ctx, l, a.metrics, a.log)
	if err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- s.serve() }()
	return func() error { return errors.Join(s.shutdown(context.Background(), time.Second), <-ended) }, nil
}

// startingProbes are the probes of a process that starts. Whatever else it is asked it refuses, as it does when it stops.
func (a *App) startingProbes() http.Handler {
	since := time.Now().UTC().Truncate(time.Millisecond)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", healthz)
	mux.Handle("GET /metrics", a.metricsPage())
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		textAnswer(w, http.StatusServiceUnavailable, errStarting.Error())
	})
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		report{Status: "failing", Checks: []result{{
			Name: checkStart, Status: "failing", Since: since, Ready: true, Error: errStarting.Error(),
		}}}.answer(w)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "1")
		refuse(w, r, http.StatusServiceUnavailable, "this process is starting: try again")
	})
	return mux
}
