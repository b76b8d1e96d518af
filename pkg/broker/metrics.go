package broker

import (
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
)

// What becomes of a message that is written, a closed set.
const (
	wroteStored     = "stored"
	wroteRepeated   = "repeated"   // the broker had it already
	wroteConflict   = "conflict"   // the subject had changed
	wroteFull       = "full"       // there is no room for it
	wroteRefused    = "refused"    // for another reason
	wroteUnanswered = "unanswered" // it may be stored
)

// What becomes of a task, a closed set.
const (
	taskDone     = "done"
	taskFailed   = "failed"   // it will come again
	taskReturned = "returned" // given back, since the worker ends
)

// What can be interrupted, a closed set.
const (
	interruptedFold = "fold"
	interruptedWork = "work"
)

type metrics struct {
	writes         *prometheus.CounterVec
	tasks          *prometheus.CounterVec
	interrupted    *prometheus.CounterVec
	disconnects    prometheus.Counter
	slow           prometheus.Counter
	commitSeconds  prometheus.Histogram
	commitMessages prometheus.Histogram
}

func newMetrics() *metrics {
	return &metrics{
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carillon_broker_writes_total",
			Help: "Messages written to streams, by result: stored, repeated, conflict (the subject had changed), full (no room), refused, unanswered.",
		}, []string{"result"}),
		tasks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carillon_broker_tasks_total",
			Help: "Tasks taken, by result: done, failed (they come again), returned (the worker ends).",
		}, []string{"result"}),
		interrupted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carillon_broker_interruptions_total",
			Help: "Times that following a stream was interrupted and taken up again, by kind: fold, work.",
		}, []string{"kind"}),
		disconnects: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "carillon_broker_disconnects_total", Help: "Connections to the broker that were lost.",
		}),
		slow: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "carillon_broker_slow_total", Help: "Times that requests of other processes came faster than they were taken here, and some were dropped.",
		}),
		commitSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "carillon_broker_commit_seconds", Help: "Time of one commit of gathered writes.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15),
		}),
		commitMessages: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "carillon_broker_commit_messages", Help: "Messages that shared a commit.", Buckets: prometheus.ExponentialBuckets(1, 4, 6),
		}),
	}
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.writes, m.tasks, m.interrupted, m.disconnects, m.slow, m.commitSeconds, m.commitMessages}
}

// outcome counts messages that were written with an error or none, and remembers whether the broker has room.
func (b *core) outcome(err error, messages int) {
	result, api := wroteStored, (*jetstream.APIError)(nil)
	switch {
	case err == nil:
		b.full.not()
	case errors.Is(err, ErrConflict):
		result = wroteConflict
	case noRoom(err):
		result = wroteFull
		b.full.is(err)
	case errors.As(err, &api):
		result = wroteRefused
	default:
		result = wroteUnanswered
	}
	b.metrics.writes.WithLabelValues(result).Add(float64(messages))
}

// Collector shows what the broker's verbs have done, how far folds and tasks are behind as the last Look saw it, and the
// state of the embedded server. Of a nil broker it describes itself only.
func (b *Broker) Collector() prometheus.Collector { return collector{b} }

type collector struct{ b *Broker }

var (
	descConnected = prometheus.NewDesc("carillon_broker_connections", "Connections to the broker that stand, of three.", nil, nil)
	descQueue     = prometheus.NewDesc("carillon_broker_write_queue", "Writes that wait for the commit before them.", nil, nil)
	descFolds     = prometheus.NewDesc("carillon_broker_folds", "Folds and workers of this process, by name.", []string{"fold"}, nil)
	descLag       = prometheus.NewDesc("carillon_broker_fold_lag_messages", "Messages that the one furthest behind has before it, by name.", []string{"fold"}, nil)
	descStill     = prometheus.NewDesc("carillon_broker_fold_still_seconds",
		"The longest time for which one has messages before it and has handled none, by name.", []string{"fold"}, nil)
	descFull = prometheus.NewDesc("carillon_broker_full", "1 while the broker refuses writes for want of room, else 0.", nil, nil)
)

func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range append([]*prometheus.Desc{descConnected, descQueue, descFolds, descLag, descStill, descFull}, stateDescs...) {
		ch <- d
	}
	for _, m := range newMetrics().all() {
		m.Describe(ch)
	}
}

func (c collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for _, m := range c.b.metrics.all() {
		m.Collect(ch)
	}
	connected := 0
	for _, nc := range []*nats.Conn{c.b.nc, c.b.bulk, c.b.in.Conn()} {
		if nc.Status() == nats.CONNECTED {
			connected++
		}
	}
	gauge(descConnected, float64(connected))
	gauge(descQueue, float64(c.b.queued()))
	full := 0.0
	if c.b.full.since() != nil {
		full = 1
	}
	gauge(descFull, full)

	type worst struct {
		n, lag uint64
		still  time.Duration
	}
	byName, now := map[string]worst{}, time.Now()
	for _, f := range c.b.tracked() {
		w := byName[f.name]
		lag, still := f.lag(now)
		byName[f.name] = worst{w.n + 1, max(w.lag, lag), max(w.still, still)}
	}
	for name, w := range byName {
		gauge(descFolds, float64(w.n), name)
		gauge(descLag, float64(w.lag), name)
		gauge(descStill, w.still.Seconds(), name)
	}
	c.b.collectState(gauge)
	c.b.collectPassed(func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	})
}

// queued is how many writes wait, over all streams.
func (b *core) queued() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, w := range b.writers {
		w.mu.Lock()
		n += len(w.queue)
		w.mu.Unlock()
	}
	return n
}
