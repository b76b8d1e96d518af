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

// Results of loading or writing a snapshot, a closed set, with resultCorrupt.
const (
	resultLoaded  = "loaded"
	resultAbsent  = "absent"  // there is none
	resultStale   = "stale"   // it is of another log
	resultVersion = "version" // its layout is one that this build does not know
	resultWritten = "written"
	resultFailed  = "failed" // the broker did not give or take it
)

const (
	operationLoad  = "load"
	operationWrite = "write"
)

type metrics struct {
	evaluations *prometheus.CounterVec
	seconds     prometheus.Histogram
	matched     prometheus.Counter
	updates     prometheus.Counter
	counts      *prometheus.CounterVec

	snapshots       *prometheus.CounterVec
	snapshotSeconds *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer, m *Matcher) (*metrics, error) {
	bytes := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "carillon_matcher_snapshot_bytes",
		Help: "Bytes of the newest snapshots of the indexes that are held here, as far as they were loaded or written here.",
	}, func() float64 { b, _ := m.snapshots(); return float64(b) })
	age := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "carillon_matcher_snapshot_age_seconds",
		Help: "Age of the oldest of these snapshots; 0 without any.",
	}, func() float64 { _, a := m.snapshots(); return a.Seconds() })
	waiting := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "carillon_matcher_counts_waiting", Help: "Counts that wait for the log to be folded as far as they ask.",
	}, func() float64 { return float64(m.waiting.Load()) })
	return registered(reg, bytes, age, waiting, m.shards.MembersGauge("carillon_matcher_members"), m.shards.BehindGauge("carillon_matcher_shards_behind"), m.shards.Collector("carillon_matcher_shards_held",
		"Shards whose index is held here, by place: first, standby, or leaving (until another has taken the shard over)."))
}

func registered(reg prometheus.Registerer, more ...prometheus.Collector) (*metrics, error) {
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
	m.snapshots = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "carillon_matcher_snapshots_total",
		Help: "Snapshots of indexes, by result: written, loaded, absent, failed (the broker), or not used as stale (of another log), corrupt or of another version.",
	}, []string{"result"})
	m.snapshotSeconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "carillon_matcher_snapshot_seconds",
		Help:    "Time to load or write a snapshot, by operation: load, write.",
		Buckets: prometheus.ExponentialBuckets(0.001, 4, 9),
	}, []string{"operation"})
	for _, c := range append(more, m.evaluations, m.seconds, m.matched, m.updates, m.counts, m.snapshots, m.snapshotSeconds) {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
