package callback

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-push/carillon/pkg/push"
)

// Label values, closed sets.
const (
	eventTold    = "told"
	eventExpired = "expired" // too old by the time that the server could have been told
	eventUnknown = "unknown" // of nobody

	requestAcknowledged = "acknowledged"
	requestRefused      = "refused"     // a status that is not 2xx
	requestUnreachable  = "unreachable" // no answer
	requestUnsigned     = "unsigned"    // the secrets cannot be read
)

type metrics struct {
	events   *prometheus.CounterVec
	requests *prometheus.CounterVec
	corrupt  prometheus.Counter

	mu     sync.Mutex
	oldest map[push.AppID]time.Time
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carillon_callback_events_total",
			Help: "Events for operators' servers, by event (sent, received, opened, login, logout, disconnect) and result: told, expired, unknown.",
		}, []string{"event", "result"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carillon_callback_requests_total",
			Help: "Requests to operators' servers, by result: acknowledged, refused, unreachable, unsigned.",
		}, []string{"result"}),
		corrupt: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "carillon_callback_corrupt_total", Help: "Messages that cannot be read, and are left out of what servers are told.",
		}),
		oldest: map[push.AppID]time.Time{},
	}
	behind := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "carillon_callback_behind_seconds", Help: "The age of the oldest event that a server is being told, of all apps that are told from here.",
	}, m.behind)
	for _, c := range []prometheus.Collector{m.events, m.requests, m.corrupt, behind} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// waiting notes the oldest event that an app's server is being told; the zero time for none.
func (m *metrics) waiting(app push.AppID, since time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if since.IsZero() {
		delete(m.oldest, app)
	} else {
		m.oldest[app] = since
	}
}

func (m *metrics) behind() (seconds float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, since := range m.oldest {
		seconds = max(seconds, time.Since(since).Seconds())
	}
	return seconds
}
