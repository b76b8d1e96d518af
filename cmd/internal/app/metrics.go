package app

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics of the process's listeners. Their label is the name of one: rest, sessions or admin.
type Metrics struct {
	open, requests  *prometheus.GaugeVec
	refused, panics *prometheus.CounterVec
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
	for _, c := range []prometheus.Collector{m.open, m.requests, m.refused, m.panics} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register the metrics of the listeners: %w", err)
		}
	}
	return m, nil
}
