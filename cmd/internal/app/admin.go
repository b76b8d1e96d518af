package app

import (
	"io"
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// probes are what every process can be asked: /healthz (the process lives), /readyz (it can be given work; else 503 and
// why), /health (each check, and since when it is as it is) and /metrics.
func (a *App) probes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", healthz)
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := a.unready(r.Context()); err != nil {
			textAnswer(w, http.StatusServiceUnavailable, err.Error())
		} else {
			textAnswer(w, http.StatusOK, "ready")
		}
	})
	mux.HandleFunc("GET /health", a.page)
	mux.Handle("GET /metrics", a.metricsPage())
	return mux
}

func healthz(w http.ResponseWriter, _ *http.Request) { textAnswer(w, http.StatusOK, "ok") }

func (a *App) metricsPage() http.Handler { return promhttp.HandlerFor(a.reg, promhttp.HandlerOpts{}) }

func textAnswer(w http.ResponseWriter, status int, line string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, line+"\n") // a client that has gone needs no answer
}

// admin is the probes with Go's profiles, which are for nobody else: they show what the process has in memory, and take
// its time. The command line is not among them, since a flag can hold a password.
func (a *App) admin() http.Handler {
	mux := a.probes()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}
