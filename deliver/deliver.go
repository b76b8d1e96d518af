// Package deliver is the gateway: it holds sessions, writes pushes to them, and gathers what they acknowledge.
//
// It folds AUDIENCES from the moment it starts: each audience AND the set of ordinals connected here is the list of
// sessions to write to. It publishes receipt.<app>.<shard>.<seq>: who has received or opened a push since the last one, as
// bitmaps, and event.<app>.session: which
// sessions began and ended, of apps that want it. It serves session.<app>.status, session.<app>.end and session.<app>.connected for its own sessions.
//
// The live stream and the inbox meet without a gap: a session is registered for live pushes first, which wait; then the
// inbox is asked, naming the last audience that was dispatched here for the shard, and answers once it has folded that
// far. The session gets the inbox, then what waited, and a push that came both ways once: the worker may be ahead of this
// process, so what it had of pushes that are still to come live is remembered until they have come.
//
// Why a crash between any two lines is safe: sessions end with the process, and their clients log in again. What they had
// not acknowledged is pending still; acknowledgements that were not published yet are lost, and those pushes come again,
// which clients recognise by seq. A receipt that is published twice takes away what is away already.
package deliver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/carillon-push/carillon/deliver/socket"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/directory"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/tracing"
	"github.com/carillon-push/carillon/pkg/wire"
)

// App whose users may log in.
type App struct {
	ID   push.AppID
	Keys []string // of UserSigs; several are valid while a key is replaced
	// Disabled refuses logins, and ends the sessions that there are.
	Disabled bool
	// Events tells of changes of the app's sessions on EVENTS.
	Events bool
}

// Config of a gateway.
type Config struct {
	Apps   []App
	Socket socket.Config
	// PerAccount is how many sessions one account may have here; a further one ends the oldest with 4005.
	PerAccount int
	// Logins is how many logins a second this process takes; a further one is refused with 429. A second's worth may come
	// at once.
	Logins int
	// Max is how many sessions this process takes, those included that are logging in; a further one is refused with 429.
	Max int
	// Receipts is how often acknowledgements are published.
	Receipts time.Duration
	// Drain is the time over which sessions are told to go when the process ends, so that they do not all reconnect at once.
	Drain time.Duration
	// Tracer of pushes; nil for none.
	Tracer *tracing.Tracer
}

// Default has no apps.
func Default() Config {
	return Config{Socket: socket.Default(), PerAccount: 10, Logins: 10_000, Max: 1_000_000, Receipts: time.Second, Drain: 5 * time.Second}
}

// Validate says what is wrong, in sentences.
func (c Config) Validate() error {
	var errs []error
	if c.PerAccount < 1 {
		errs = append(errs, fmt.Errorf("an account must be allowed at least one session, not %d", c.PerAccount))
	}
	if c.Logins < 1 {
		errs = append(errs, fmt.Errorf("the gateway must be allowed at least one login a second, not %d", c.Logins))
	}
	if c.Max < 1 {
		errs = append(errs, fmt.Errorf("the gateway must be allowed at least one session, not %d", c.Max))
	}
	if c.Receipts <= 0 {
		errs = append(errs, fmt.Errorf("the interval of receipts must be positive, not %v", c.Receipts))
	}
	if c.Drain < 0 {
		errs = append(errs, fmt.Errorf("the time to drain must not be negative, not %v", c.Drain))
	}
	return errors.Join(append(errs, c.Socket.Validate())...)
}

// Deliver is one gateway.
type Deliver struct {
	cfg     Config
	b       *broker.Broker
	dir     *directory.Directory
	log     *slog.Logger
	metrics *metrics
	apps    atomic.Pointer[map[push.AppID]App]
	poller  *socket.Poller
	hub     *hub
	pushes  *pushes
	devices *devices
	changes *changes
	traces  *traces
	logins  *rate.Limiter
	trouble trouble
	live    chan struct{} // closed when live audiences are heard
	backlog atomic.Int64  // audiences that have been heard and not dispatched
	taken   atomic.Int64  // sessions, those included that are logging in or closing
}

// New makes a gateway that takes sessions once Run has begun.
func New(cfg Config, b *broker.Broker, reg prometheus.Registerer, log *slog.Logger) (*Deliver, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	poller, err := socket.New(cfg.Socket)
	if err != nil {
		return nil, err
	}
	d := &Deliver{
		cfg: cfg, b: b, dir: directory.New(b), log: log.With("component", "deliver"),
		poller: poller, live: make(chan struct{}), logins: rate.NewLimiter(rate.Limit(cfg.Logins), cfg.Logins),
	}
	if d.traces, err = newTraces(cfg.Tracer); err != nil {
		return nil, err
	}
	d.devices = newDevices(d)
	d.changes = newChanges(d)
	d.hub = newHub(d)
	d.SetApps(cfg.Apps)
	if d.pushes, err = newPushes(b); err != nil {
		return nil, err
	}
	if d.metrics, err = newMetrics(reg, poller, d.gauges()...); err != nil {
		return nil, fmt.Errorf("register the gateway's metrics: %w", err)
	}
	return d, nil
}

// SetApps changes the apps whose users may log in. The sessions of an app that is gone or disabled end with 4001.
func (d *Deliver) SetApps(apps []App) {
	m := make(map[push.AppID]App, len(apps))
	for _, a := range apps {
		m[a.ID] = a
	}
	d.apps.Store(&m)
	for _, s := range d.hub.all() {
		if a, known := m[s.shard.app]; !known || a.Disabled {
			s.close(wire.CloseKicked)
		}
	}
}

// Handler serves GET /v1/session, GET /v1/events and POST /v1/ack.
func (d *Deliver) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/session", d.session)
	mux.HandleFunc("GET /v1/events", d.events)
	mux.HandleFunc("POST /v1/ack", d.ack)
	mux.HandleFunc("OPTIONS /v1/", preflight)
	return mux
}

// Ready says whether live pushes are heard, so that sessions may come.
func (d *Deliver) Ready() error {
	select { // never waits
	case <-d.live:
		return nil
	default:
		return errors.New("the gateway does not hear live pushes yet")
	}
}

// Run serves until ctx ends. Then it tells its sessions to go, spread over the drain time, publishes what they have
// acknowledged, and returns when everything that it started has ended. What the broker does not take then is counted, logged
// and forgotten: an acknowledgement that is lost makes its push come again. The listener must have been closed before.
func (d *Deliver) Run(ctx context.Context) error {
	leave, err := d.b.Join(wire.RoleDeliver)
	if err != nil {
		return err
	}
	defer leave()
	// What serves the sessions outlives ctx by the drain.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	g, serving := errgroup.WithContext(serving)
	g.Go(func() error { return d.poller.Run(serving) })
	g.Go(func() error { return d.dispatch(serving) })
	g.Go(func() error { return d.receipts(serving) })
	g.Go(func() error { return d.devices.run(serving) })
	g.Go(func() error { return d.changes.run(serving) })
	g.Go(func() error { return d.serveRevoked(serving) })
	g.Go(func() error { return d.b.Serve(serving, wire.SessionStatusFilter(), "", nil, d.status) })
	g.Go(func() error { return d.b.Serve(serving, wire.SessionEndFilter(), "", nil, d.end) })
	g.Go(func() error { return d.b.Serve(serving, wire.SessionConnectedFilter(), "", nil, d.connected) })
	g.Go(func() error {
		select { // the process's end wakes it, or the failure of one of the others
		case <-ctx.Done():
			d.drain(serving)
			d.awaitClients(serving)
			stop()
		case <-serving.Done():
		}
		return nil
	})
	err = g.Wait()
	final, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	failed := errors.Join(d.publishReceipts(final), d.changes.flush(final))
	if left := d.hub.receipts(); left > 0 {
		d.metrics.receipts.WithLabelValues(receiptGivenUp).Add(float64(left))
		d.log.Warn("given up: receipts that the broker did not take; their pushes come again at the next login", "receipts", left, "err", failed)
	}
	return errors.Join(err, failed)
}

// clientWait bounds the wait for clients that were told to go: most hang up at once.
const clientWait = time.Second

// awaitClients waits until the last session has ended, so that each has heard why.
func (d *Deliver) awaitClients(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, clientWait)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for d.taken.Load() > 0 {
		select { // the ticker wakes it, the time ends it
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// drain closes every session with 1001, evenly over the drain time.
func (d *Deliver) drain(ctx context.Context) {
	all := d.hub.all()
	d.log.Info("draining", "sessions", len(all), "over", d.cfg.Drain)
	if len(all) == 0 {
		return
	}
	const steps = 50
	tick := time.NewTicker(max(d.cfg.Drain/steps, time.Millisecond))
	defer tick.Stop()
	per := (len(all) + steps - 1) / steps
	for len(all) > 0 {
		n := min(per, len(all))
		for _, s := range all[:n] {
			s.close(wire.CloseDraining)
		}
		all = all[n:]
		select { // the ticker wakes it; the last session, or ctx, ends it
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
