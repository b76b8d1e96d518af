package channel

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"github.com/carillon-push/carillon/pkg/push"
)

// maxLanes is how many parts of a Parted channel are told apart at a time. The one that was used longest ago is forgotten,
// and with it that it failed.
const maxLanes = 256

// SenderConfig is what a Sender sends by.
type SenderConfig struct {
	// App and Channel are the labels of metrics and logs.
	App     push.AppID
	Channel string
	Limits  Limits
	// Files are those of the credentials. When their contents change the channel is opened again.
	Files []string
}

// Sender sends by one channel for one app, within limits, and tries again what failed for now. It is safe for concurrent use
// and has no goroutines but those of the calls under way. Nothing in it waits for another Sender.
//
//	Send ─ by part ─▶ round: batches of the devices not done yet ─▶ slot ─▶ rate ─▶ breaker ─▶ Channel.Send
//	                    ▲                                                                         │ Later
//	                    └───────────────── pause: backoff, or what the vendor asks for ───────────┘
//
// It keeps no record. A crash loses what was under way, and its caller, who keeps one, sends that again; vendors that can
// collapse show it once.
type Sender struct {
	config  SenderConfig
	open    func() (Channel, error)
	metrics *Metrics
	log     *slog.Logger

	slots chan struct{}

	mu     sync.Mutex // of the fields below
	files  credentials
	vendor *vendor
	broken bool // the files changed to such that cannot be used
	denied bool // the vendor denied the credentials, and has taken nothing since
}

// vendor is a channel as it was opened last, with what was learned about it.
type vendor struct {
	channel Channel
	part    func(token string) string
	rate    *rate.Limiter
	lanes   *lru.Cache[string, *lane]
	limits  Limits
	changed func(part string) func(open bool)

	mu sync.Mutex // that two callers do not make the same lane
}

// NewSender opens a channel, which must succeed. open is called again whenever the contents of the config's files change; if
// that fails, the channel that worked stays.
func NewSender(config SenderConfig, open func() (Channel, error), m *Metrics, log *slog.Logger) (*Sender, error) {
	if err := config.Limits.Validate(); err != nil {
		return nil, fmt.Errorf("the limits of channel %s of app %s: %w", config.Channel, config.App, err)
	}
	s := &Sender{
		config:  config,
		open:    open,
		metrics: m,
		log:     log.With("component", "channel", "channel", config.Channel, "app", config.App.String()),
		slots:   make(chan struct{}, config.Limits.Concurrency),
		files:   credentials{files: config.Files},
	}
	s.files.changed(time.Now())
	c, err := open()
	if err != nil {
		m.credentials.WithLabelValues(config.App.String(), config.Channel).Set(0)
		return nil, fmt.Errorf("open channel %s of app %s: %w", config.Channel, config.App, err)
	}
	s.vendor = s.newVendor(c)
	s.report()
	return s, nil
}

func (s *Sender) newVendor(c Channel) *vendor {
	v := &vendor{channel: c, part: func(string) string { return "" }, rate: rate.NewLimiter(rate.Inf, 0), limits: s.config.Limits}
	if p, ok := c.(Parted); ok {
		v.part = p.Part
	}
	if r := s.config.Limits.Rate; r > 0 {
		// A batch must fit into what may go at once.
		v.rate = rate.NewLimiter(rate.Limit(r), max(c.Batch(), int(r/10), 1))
	}
	v.lanes, _ = lru.New[string, *lane](maxLanes) // which fails for sizes below 1 only
	v.changed = func(part string) func(bool) {
		return func(open bool) { s.breaker(v, part, open) }
	}
	s.metrics.open.WithLabelValues(s.config.App.String(), s.config.Channel).Set(0)
	return v
}

// lane of a part.
func (v *vendor) lane(part string) *lane {
	v.mu.Lock()
	defer v.mu.Unlock()
	l, ok := v.lanes.Get(part)
	if !ok {
		l = newLane(v.limits, v.changed(part))
		v.lanes.Add(part, l)
	}
	return l
}

// breaker tells of a lane's breaker that opened, or closed again.
func (s *Sender) breaker(v *vendor, part string, open bool) {
	app, channel := s.config.App.String(), s.config.Channel
	if open {
		s.metrics.opened.WithLabelValues(app, channel).Inc()
		s.log.Warn("the vendor is left alone for a while, its attempts fail", "part", part, "for", s.config.Limits.Open)
	} else {
		s.log.Info("the vendor works again", "part", part)
	}
	n := 0
	for _, l := range v.lanes.Values() {
		if l.isOpen() {
			n++
		}
	}
	s.metrics.open.WithLabelValues(app, channel).Set(float64(n))
}

// current is the vendor, opened again if its credentials have changed.
func (s *Sender) current() *vendor {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.files.changed(time.Now()) {
		return s.vendor
	}
	c, err := s.open()
	if err != nil {
		s.broken = true
		s.log.Error("the credentials have changed to such that cannot be used; the last ones stay", "err", err)
	} else {
		if old, ok := s.vendor.channel.(Closer); ok {
			old.Close()
		}
		s.broken, s.denied = false, false
		s.vendor = s.newVendor(c)
		s.log.Info("opened with new credentials")
	}
	s.report()
	return s.vendor
}

func (s *Sender) report() {
	good := 1.0
	if s.broken || s.denied {
		good = 0
	}
	s.metrics.credentials.WithLabelValues(s.config.App.String(), s.config.Channel).Set(good)
}

// judge remembers whether the vendor accepts the credentials, and says it once when that changes.
func (s *Sender) judge(v *vendor, results []Result) {
	for _, r := range results {
		if r.Outcome == Later {
			continue
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if denied := r.Outcome == Denied; denied != s.denied && v == s.vendor {
			s.denied = denied
			s.report()
			if denied {
				s.log.Error("the vendor denies the credentials; nobody is notified until they are changed", "reason", r.Reason)
			} else {
				s.log.Info("the vendor accepts the credentials again")
			}
		}
		return
	}
}

// Check asks the vendor whether the credentials are good, if it can be asked.
func (s *Sender) Check(ctx context.Context) error {
	c, ok := s.current().channel.(Checker)
	if !ok {
		return nil
	}
	return c.Check(ctx)
}

// Close lets go of connections; it is for when nothing is sent any more.
func (s *Sender) Close() {
	if c, ok := s.current().channel.(Closer); ok {
		c.Close()
	}
}

// Send notifies devices, any number of them, and gives the final result for each, in their order. It returns when each has
// one: when the attempts, the patience or the notice's time are used up, or ctx has ended. A device that is Later then has
// After as a hint when to send to it again.
func (s *Sender) Send(ctx context.Context, n *Notice, tokens []string) []Result {
	return s.run(ctx, n, tokens, func(ctx context.Context, c Channel, batch []int) []Result {
		return c.Send(ctx, n, pick(tokens, batch))
	})
}

// Revokes says whether the vendor can take back what it was sent.
func (s *Sender) Revokes() bool {
	_, ok := s.current().channel.(Revoker)
	return ok
}

// Revoke takes back a notice, as Revoker does, by the same limits as Send. All are Refused if the vendor cannot.
func (s *Sender) Revoke(ctx context.Context, n *Notice, tokens, ids []string) []Result {
	return s.run(ctx, n, tokens, func(ctx context.Context, c Channel, batch []int) []Result {
		if r, ok := c.(Revoker); ok {
			return r.Revoke(ctx, n, pick(tokens, batch), pick(ids, batch))
		}
		return slices.Repeat([]Result{{Outcome: Refused, Reason: ReasonOther}}, len(batch))
	})
}

func pick(all []string, batch []int) []string {
	some := make([]string, len(batch))
	for i, j := range batch {
		some[i] = all[j]
	}
	return some
}

func (s *Sender) run(ctx context.Context, n *Notice, tokens []string, c call) []Result {
	if !n.Expire.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, n.Expire)
		defer cancel()
	}
	parts := make(map[string][]int)
	part := s.current().part
	for i, token := range tokens {
		p := part(token)
		parts[p] = append(parts[p], i)
	}
	results := make([]Result, len(tokens))
	var all sync.WaitGroup
	for p, devices := range parts {
		job := &job{sender: s, part: p, expire: n.Expire, call: c, results: results}
		if len(parts) == 1 {
			job.run(ctx, devices)
		} else {
			all.Go(func() { job.run(ctx, devices) })
		}
	}
	all.Wait()
	s.metrics.count(s.config.Channel, results)
	return results
}
