package ingest

import (
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of this package. Labels are closed sets: the commands of the table (and "unknown"), and the contract's codes.
type metrics struct {
	requests *prometheus.CounterVec   // by command and code
	seconds  *prometheus.HistogramVec // by command
	pushes   *prometheus.CounterVec   // by result
}

// Results of a push that was answered OK.
const (
	pushAccepted = "accepted"
	pushRepeated = "repeated"
)

const unknownCommand = "unknown"

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carillon_ingest_requests_total", Help: "REST requests answered, by command and ErrorCode.",
		}, []string{"command", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "carillon_ingest_request_seconds", Help: "Time from a REST request's headers to its answer.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15),
		}, []string{"command"}),
		pushes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carillon_ingest_pushes_total", Help: "Pushes answered with OK: accepted, or recognised as a repeat.",
		}, []string{"result"}),
	}
	for _, c := range []prometheus.Collector{m.requests, m.seconds, m.pushes} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register the metrics of ingest: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) request(command string, code Code, took time.Duration) {
	m.requests.WithLabelValues(command, strconv.Itoa(int(code))).Inc()
	m.seconds.WithLabelValues(command).Observe(took.Seconds())
}
