package app

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics of the process: of its listeners, whose label is the name of one (rest, sessions or admin), and of its health.
type Metrics struct {
	open, requests  *prometheus.GaugeVec
	refused, panics *prometheus.CounterVec
	health          *prometheus.GaugeVec // by check
	unheld          prometheus.Gauge
}

// NewMetrics registers them.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	label := []string{"listener"}
	m := &Metrics{
		open: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "carillon_http_connections", Help: "Open connections, but those that have become sessions.",
		}, label),
		requests: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "carillon_http_requests", Help: "Requests that are being answered, logins among them.",
		}, label),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carillon_http_connections_refused_total", Help: "Connections closed at once, since there were as many as may be.",
		}, label),
		panics: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carillon_http_panics_total", Help: "Requests whose handler panicked: a fault of the service, with its stack in the log.",
		}, label),
	}
	m.health = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "carillon_health", Help: "1 while a check of GET /health is well, 0 while it fails: start, broker, writes, dispatch, logins, folds, holders.",
	}, []string{"check"})
	m.unheld = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "carillon_shards_unheld", Help: "Shards, counted once for each of matcher and offline, for which nobody has answered for health.stuck_after, as this process sees it.",
	})
	for _, c := range []prometheus.Collector{m.health, m.unheld, m.open, m.requests, m.refused, m.panics} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register the metrics of the process: %w", err)
		}
	}
	return m, nil
}
