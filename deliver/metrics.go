package deliver

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-push/carillon/deliver/socket"
)

// Label values, closed sets.
const (
	loginOK      = "ok"
	loginRefused = "refused" // the client's fault
	loginFailed  = "failed"  // ours
	loginGone    = "gone"    // the connection ended before the session began

	sentLive  = "live"
	sentInbox = "inbox"

	receiptPublished = "published"
	receiptFailed    = "failed"
	receiptGivenUp   = "given_up" // the process ended before the broker took it

	dropFull    = "full"    // too many pushes with unpublished receipts, or too many of them unknown
	dropUnknown = "unknown" // no push of the app

	changePublished = "published"
	changeFull      = "full"   // too many waited
	changeFailed    = "failed" // the process ended before the broker took it

	deviceRegistered = "registered"
	deviceForgotten  = "forgotten"
	deviceRefused    = "refused" // what the client sent is no device
	deviceFailed     = "failed"  // the broker did not take it
	deviceDropped    = "dropped" // too many waited
)

type metrics struct {
	logins      *prometheus.CounterVec
	sent        *prometheus.CounterVec
	slow        prometheus.Counter
	late        prometheus.Counter
	latency     prometheus.Histogram
	acks        prometheus.Counter
	acksDropped *prometheus.CounterVec
	devices     *prometheus.CounterVec
	receipts    *prometheus.CounterVec
	changes     *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, poller *socket.Poller, more ...prometheus.Collector) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	counters := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	}
	m := &metrics{
		logins: counters("carillon_deliver_logins_total", "Logins, by result: ok, refused, failed, gone.", "result"),
		sent:   counters("carillon_deliver_sent_total", "Pushes written or queued to a session, by way: live, inbox.", "way"),
		slow:   counter("carillon_deliver_slow_total", "Sessions closed with 4003 by a live push, because they read too slowly."),
		late:   counter("carillon_deliver_late_total", "Audiences that came when their push's lifetime had passed, or its body was gone."),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "carillon_deliver_latency_seconds",
			Help:    "From a push's acceptance until it was written to the last session of one shard here.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 16),
		}),
		acks:        counter("carillon_deliver_acknowledged_total", "Sequences that clients acknowledged or opened."),
		acksDropped: counters("carillon_deliver_acknowledgements_dropped_total", "Acknowledgements, and records of who was sent a push, that were dropped, by reason: full, unknown.", "reason"),
		devices: counters("carillon_deliver_devices_total",
			"Devices for vendor push that clients registered or took back, by result: registered, forgotten, refused, failed, dropped.", "result"),
	}
	m.receipts = counters("carillon_deliver_receipts_total",
		"Receipts, one for a push and shard, by result: published, failed (they are kept and tried again), given_up (the process ended before the broker took them).", "result")
	m.changes = counters("carillon_deliver_session_events_total",
		"Changes of sessions for callbacks, by result: published, full (dropped, since too many waited), failed (dropped, when the process ended).", "result")
	for _, c := range append(more, m.logins, m.sent, m.slow, m.late, m.latency, m.acks, m.acksDropped, m.devices, m.receipts, m.changes, socketCollector{poller}) {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// gauges are what waits in the gateway.
func (d *Deliver) gauges() []prometheus.Collector {
	gauge := func(name, help string, value func() int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(value()) })
	}
	return []prometheus.Collector{
		gauge("carillon_deliver_audiences_waiting", "Audiences that have been heard and are not written to all their sessions yet.",
			func() int { return int(d.backlog.Load()) }),
		gauge("carillon_deliver_receipts_waiting", "Receipts, one for a push and shard, that are not on the broker yet.", d.hub.receipts),
		gauge("carillon_deliver_devices_waiting", "Registrations of devices that wait to be written.", d.devices.waiting),
		gauge("carillon_deliver_session_events_waiting", "Changes of sessions for callbacks that wait to be published.", func() int { return len(d.changes.queue) }),
		gauge("carillon_deliver_logging_in", "Sessions that are logging in, or about to end.",
			func() int { return int(max(0, d.taken.Load()-d.poller.Stats().Open)) }),
	}
}

// socketCollector shows what the poller has counted.
type socketCollector struct{ p *socket.Poller }

var (
	descSessions = prometheus.NewDesc("carillon_deliver_sessions", "Sessions that are open, by protocol (websocket, sse) and whether over TLS.", []string{"protocol", "tls"}, nil)
	descClosed   = prometheus.NewDesc("carillon_deliver_sessions_closed_total",
		"Sessions that have ended, by reason: client, gone, silent, slow, bad frame, server.", []string{"reason"}, nil)
	descFull   = prometheus.NewDesc("carillon_deliver_socket_full_total", "Sends that found a socket full and began a queue.", nil, nil)
	descQueued = prometheus.NewDesc("carillon_deliver_queued_bytes", "Bytes that wait for full sockets.", nil, nil)
)

func (c socketCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descSessions, descClosed, descFull, descQueued} {
		ch <- d
	}
}

func (c socketCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.p.Stats()
	for _, p := range []socket.Protocol{socket.WebSocket, socket.EventStream} {
		for _, secure := range []bool{false, true} {
			ch <- prometheus.MustNewConstMetric(descSessions, prometheus.GaugeValue, float64(s.OpenOf(p, secure)), p.String(), strconv.FormatBool(secure))
		}
	}
	for _, why := range socket.Whys() {
		ch <- prometheus.MustNewConstMetric(descClosed, prometheus.CounterValue, float64(s.Closed[why]), why.String())
	}
	ch <- prometheus.MustNewConstMetric(descFull, prometheus.CounterValue, float64(s.Full))
	ch <- prometheus.MustNewConstMetric(descQueued, prometheus.GaugeValue, float64(s.Queued))
}
