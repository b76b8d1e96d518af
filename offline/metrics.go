package offline

import "github.com/prometheus/client_golang/prometheus"

// Results of an inbox request, a closed set.
const (
	resultAnswered = "answered"
	resultBusy     = "busy"    // too many requests waited for the logs already
	resultLate     = "late"    // the logs did not come as far as was asked for in time
	resultCorrupt  = "corrupt" // the request cannot be read
)

type metrics struct {
	live    prometheus.Gauge
	inbox   *prometheus.CounterVec
	fetched prometheus.Counter
	entries prometheus.Counter
	bytes   prometheus.Counter
	merged  prometheus.Counter
	tasks   prometheus.Counter
	corrupt prometheus.Counter
	failed  prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, more ...prometheus.Collector) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &metrics{
		live: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "carillon_offline_live_pushes",
			Help: "Pushes within their lifetime, counted once for each shard that is held.",
		}),
		inbox: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carillon_offline_inbox_total",
			Help: "Logins that asked for their inbox, by result: answered, busy, late, corrupt.",
		}, []string{"result"}),
		fetched: counter("carillon_offline_fetched_total", "Pushes in the inboxes that were answered."),
		entries: counter("carillon_offline_entries_written_total", "Entries of the PENDING bucket that were written."),
		bytes:   counter("carillon_offline_entry_bytes_total", "Bytes of the PENDING entries that were written."),
		merged:  counter("carillon_offline_entries_merged_total", "Entries that another worker of the shard had changed meanwhile."),
		tasks:   counter("carillon_offline_tasks_written_total", "Entries of the TASKS bucket that were written: the counts of a push."),
		corrupt: counter("carillon_offline_corrupt_total", "Audiences, receipts and entries that cannot be read."),
	}
	m.failed = counter("carillon_offline_writes_failed_total", "Entries of the PENDING bucket and positions that could not be written; they are tried again.")
	for _, c := range append(more, m.failed, m.live, m.inbox, m.fetched, m.entries, m.bytes, m.merged, m.tasks, m.corrupt) {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// waitingGauge is a metric of the logins that wait.
func (o *Offline) waitingGauge() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "carillon_offline_inbox_waiting", Help: "Logins that wait here for the logs to be folded as far as they ask.",
	}, func() float64 { return float64(o.waiting.Load()) })
}
