package ingest

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-push/carillon/pkg/wire"
)

// metrics of this package. Labels are closed sets: the commands of the table (and "unknown"), the contract's codes, and
// the configured apps.
type metrics struct {
	requests *prometheus.CounterVec   // by command and code
	seconds  *prometheus.HistogramVec // by command
	pushes   *prometheus.CounterVec   // by result
	alone    prometheus.Counter
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
		alone: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "carillon_ingest_frequency_alone_total",
			Help: "Seconds in which this process counted the calls of a command alone, because the broker did not answer.",
		}),
	}
	for _, c := range []prometheus.Collector{m.requests, m.seconds, m.pushes, m.alone} {
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

// payers is how many pushes wait for others of their app to be paid for.
func (i *Ingest) payers() (n float64) {
	for _, t := range *i.tenants.Load() {
		n += float64(t.quota.waiting.Load())
	}
	return n
}

// quotaLeft is the collector of what is left of the daily quotas. It reads them from the broker when it is asked, since
// any process may have used them up meanwhile.
type quotaLeft struct{ i *Ingest }

var quotaLeftDesc = prometheus.NewDesc("carillon_ingest_quota_left",
	"Pushes of the day that are left to an app with a daily quota. Absent while the broker does not answer.", []string{"app"}, nil)

// quotaLeftWait bounds what a scrape waits for the broker.
const quotaLeftWait = time.Second

func (quotaLeft) Describe(ch chan<- *prometheus.Desc) { ch <- quotaLeftDesc }

func (q quotaLeft) Collect(ch chan<- prometheus.Metric) {
	tenants := *q.i.tenants.Load()
	var subjects []string
	for id, t := range tenants {
		if t.PushPerDay > 0 {
			subjects = append(subjects, wire.QuotaSubject(id))
		}
	}
	if len(subjects) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), quotaLeftWait)
	defer cancel()
	entries, err := q.i.b.LastOf(ctx, wire.QuotasStream, subjects)
	if err != nil {
		q.i.log.Warn("read the quotas for the metrics", "err", err)
		return
	}
	for id, t := range tenants {
		if t.PushPerDay == 0 {
			continue
		}
		var entry wire.Quota
		if m := entries[wire.QuotaSubject(id)]; m != nil {
			if entry, err = wire.DecodeQuota(m.Data); err != nil {
				q.i.log.Error("read the quota of an app for the metrics", "app", id, "err", err)
				continue
			}
		}
		left := max(0, t.PushPerDay-q.i.limits(t).at(entry, q.i.now()).Used)
		ch <- prometheus.MustNewConstMetric(quotaLeftDesc, prometheus.GaugeValue, float64(left), id.String())
	}
}
