package matcher

import "github.com/prometheus/client_golang/prometheus"

// Results of an evaluation, a closed set.
const (
	resultPublished = "published" // the audience is new on the broker
	resultRepeated  = "repeated"  // it stood there already
	resultCorrupt   = "corrupt"   // the push cannot be read, and never will be
)

// Results of a count, with resultCorrupt.
const (
	resultAnswered = "answered"
	resultLate     = "late" // the log was not folded in time
	resultBusy     = "busy" // too many were waiting for the fold
)

type metrics struct {
	evaluations *prometheus.CounterVec
	seconds     prometheus.Histogram
	matched     prometheus.Counter
	updates     prometheus.Counter
	counts      *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		evaluations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carillon_matcher_evaluations_total",
			Help: "Pushes evaluated on a shard, by result: published, repeated, corrupt.",
		}, []string{"result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "carillon_matcher_evaluation_seconds",
			Help:    "Time to evaluate one push on one shard, without waiting for its log.",
			Buckets: prometheus.ExponentialBuckets(1e-6, 4, 12),
		}),
		matched: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "carillon_matcher_matched_total",
			Help: "Users in the audiences that were published.",
		}),
		updates: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "carillon_matcher_updates_total",
			Help: "User records folded into an index, at start from the log and then as they change.",
		}),
		counts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carillon_matcher_counts_total",
			Help: "Requests to count whom conditions hold for on a shard, by result: answered, or refused as corrupt, late (the log is behind), or busy (too many wait).",
		}, []string{"result"}),
	}
	for _, c := range []prometheus.Collector{m.evaluations, m.seconds, m.matched, m.updates, m.counts} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
