package channel

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// maxReasons is how many reasons one channel may have as labels. The documentation of no vendor names so many; it is a net
// under channels that pass on what a vendor sends.
const maxReasons = 100

// Metrics counts what channels do; all Senders of a process share one.
type Metrics struct {
	results     *prometheus.CounterVec
	seconds     *prometheus.HistogramVec
	opened      *prometheus.CounterVec
	open        *prometheus.GaugeVec
	credentials *prometheus.GaugeVec

	mu      sync.Mutex
	reasons map[string]map[string]bool // by channel
}

// NewMetrics registers the metrics of channels. Labels are the configured apps and channels, outcomes, and the reasons that
// the vendors' documentations name.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		results: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "carillon_channel_results_total",
			Help: "What became of devices' notifications in the end, by channel, outcome (sent, gone, refused, later, denied) and reason."},
			[]string{"channel", "outcome", "reason"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "carillon_channel_attempt_seconds",
			Help: "How long a vendor took to answer one attempt, or to be given up.", Buckets: prometheus.ExponentialBuckets(0.005, 2, 12)},
			[]string{"channel"}),
		opened: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "carillon_channel_breaker_opened_total",
			Help: "How often a vendor, or one service of it, was left alone because its attempts failed."}, []string{"app", "channel"}),
		open: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "carillon_channel_breakers_open",
			Help: "Vendors, or services of them, that are left alone now."}, []string{"app", "channel"}),
		credentials: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "carillon_channel_credentials_good",
			Help: "1 while the files of an app's credentials can be used and the vendor has not denied them, else 0."}, []string{"app", "channel"}),
		reasons: make(map[string]map[string]bool),
	}
	for _, c := range []prometheus.Collector{m.results, m.seconds, m.opened, m.open, m.credentials} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// count adds some final results. Sent has no reason.
func (m *Metrics) count(channel string, results []Result) {
	type kind struct {
		outcome Outcome
		reason  string
	}
	counts := make(map[kind]int)
	for _, r := range results {
		if r.Outcome == Sent {
			r.Reason = ""
		}
		counts[kind{r.Outcome, r.Reason}]++
	}
	for k, n := range counts {
		m.results.WithLabelValues(channel, k.outcome.String(), m.known(channel, k.reason)).Add(float64(n))
	}
}

// known is a reason, or ReasonOther where there are too many.
func (m *Metrics) known(channel, reason string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	seen := m.reasons[channel]
	if seen == nil {
		seen = make(map[string]bool)
		m.reasons[channel] = seen
	}
	if !seen[reason] && len(seen) >= maxReasons {
		return ReasonOther
	}
	seen[reason] = true
	return reason
}
