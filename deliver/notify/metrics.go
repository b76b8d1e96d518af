package notify

import (
	"github.com/prometheus/client_golang/prometheus"
)

// What becomes of a task each time that a worker has it, a closed set.
const (
	taskDone    = "done"
	taskAgain   = "again"   // some of its users are still to be notified
	taskKnown   = "known"   // it had been done before
	taskCorrupt = "corrupt" // it names nothing that can be read
)

type metrics struct {
	waiting    prometheus.Gauge
	users      *prometheus.CounterVec
	cutFailed  prometheus.Counter
	tasks      *prometheus.CounterVec
	results    *prometheus.CounterVec
	forgotten  *prometheus.CounterVec
	suspicious prometheus.Counter
	corrupt    prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, more ...prometheus.Collector) (*metrics, error) {
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "carillon_notify_waiting_pushes",
			Help: "Pushes that wait for acknowledgements before they go to phones, counted once for each shard that is held.",
		}),
		users: vec("carillon_notify_users_total", "Users who were to be notified, by channel.", "channel"),
		cutFailed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "carillon_notify_cut_failed_total", Help: "Times that pushes could not be cut into tasks, and will be again.",
		}),
		tasks: vec("carillon_notify_tasks_total", "Tasks that workers had, by channel and result: done, again, known, corrupt.", "channel", "result"),
		results: vec("carillon_notify_results_total",
			"Users for whom nothing more is to be done, by channel and result: sent, gone, refused, expired, received, no_device, revoked.",
			"channel", "result"),
		forgotten: vec("carillon_notify_devices_forgotten_total", "Devices that were forgotten, by reason: gone, idle.", "reason"),
		suspicious: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "carillon_notify_suspicious_total",
			Help: "Tasks all of whose devices a vendor called gone, so that none was forgotten: are the credentials the app's?",
		}),
		corrupt: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "carillon_notify_corrupt_total", Help: "Audiences, receipts, devices and pushes that cannot be read.",
		}),
	}
	for _, c := range append(more, m.waiting, m.users, m.cutFailed, m.tasks, m.results, m.forgotten, m.suspicious, m.corrupt) {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
