// Package callback tells an operator's server what becomes of pushes and of sessions: who was sent a push, has received and
// opened it, and whose sessions begin and end.
//
//	EVENTS (sessions) ──┐
//	                    ├──► events, up to 100 a request, one request at a time for an app ──► the operator's server
//	RECEIPTS (pushes) ──┘
//
// The workers divide the apps among themselves. The one that is first for an app folds both logs, of RECEIPTS what is new in
// each, which follows from the receipts before it and nothing else. It publishes how far the server has been told
// ($KV.SETTINGS.<app>.told), after each request that the server has acknowledged.
//
// Why a crash between any two lines is safe: the next worker goes on from what was published, so that the events of one
// request are told again at most. They have the IDs that they had, by which the server recognises them. While the fleet
// moves two may tell at once; only one's position is taken (compare-and-set), and the other begins again from that.
package callback

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/deliver/channel"
	"github.com/carillon-push/carillon/deliver/channel/webhook"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/directory"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// App has a server that is to be told.
type App struct {
	ID push.AppID
	// URL is where events are posted to.
	URL string
	// SecretFile has the secrets that requests are signed with (webhook.ReadSecrets). It is read for each request.
	SecretFile string
	// Events are the kinds to tell.
	Events []string
}

// Validate says in full sentences what is wrong. It does not look at the file.
func (a App) Validate() error {
	var errs []error
	if err := channel.BaseURL(a.URL); err != nil {
		errs = append(errs, fmt.Errorf("the URL of a callback cannot be used: %w", err))
	}
	if a.SecretFile == "" {
		errs = append(errs, errors.New("a callback needs a file with the secret that requests are signed with"))
	}
	if len(a.Events) == 0 {
		errs = append(errs, errors.New("a callback needs at least one kind of event to tell"))
	}
	for _, e := range a.Events {
		if !slices.Contains(Kinds(), e) {
			errs = append(errs, fmt.Errorf("%q is no kind of event; there are %s", e, strings.Join(Kinds(), ", ")))
		}
	}
	return errors.Join(errs...)
}

// Sessions says whether gateways must tell of the app's sessions on EVENTS.
func (a App) Sessions() bool { return a.wants(sessionKinds...) }

// wants says whether any of some kinds is to be told.
func (a App) wants(kinds ...string) bool {
	return slices.ContainsFunc(kinds, func(k string) bool { return slices.Contains(a.Events, k) })
}

// Config of a worker.
type Config struct {
	// Apps that have a callback, until SetApps says otherwise.
	Apps []App
	// Batch is how many events a request has at most.
	Batch int
	// Gather is how long an event waits for others to share its request.
	Gather time.Duration
	// Timeout bounds one request.
	Timeout time.Duration
	// Retry is the pause after a request that was not acknowledged. It doubles with each, up to RetryMax.
	Retry, RetryMax time.Duration
	// MaxAge is how old an event is told; one that is older is dropped and counted.
	MaxAge time.Duration
}

// MaxBatch is how many events a request has at most.
const MaxBatch = 100

// Default tells 100 events a request, and tries for a day.
func Default() Config {
	return Config{
		Batch: MaxBatch, Gather: 200 * time.Millisecond, Timeout: 10 * time.Second, Retry: time.Second, RetryMax: time.Minute, MaxAge: wire.EventsAge,
	}
}

// Validate says what is wrong, in sentences.
func (c Config) Validate() error {
	var errs []error
	if c.Batch < 1 || c.Batch > MaxBatch {
		errs = append(errs, fmt.Errorf("a request of a callback must have 1 to %d events, not %d", MaxBatch, c.Batch))
	}
	if c.Gather < 0 || c.Timeout <= 0 || c.Retry <= 0 || c.RetryMax < c.Retry || c.MaxAge <= 0 {
		errs = append(errs, errors.New("the times of callbacks must be positive, and the longest pause no shorter than the first"))
	}
	return errors.Join(append(errs, validate(c.Apps))...)
}

func validate(apps []App) error {
	var errs []error
	for _, a := range apps {
		if err := a.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("app %d: %w", a.ID, err))
		} else if _, err := webhook.ReadSecrets(a.SecretFile); err != nil {
			errs = append(errs, fmt.Errorf("app %d: %w", a.ID, err))
		}
	}
	return errors.Join(errs...)
}

// Callback tells the servers of those apps that are its own.
type Callback struct {
	cfg     Config
	b       *broker.Broker
	dir     *directory.Directory
	client  *http.Client
	log     *slog.Logger
	metrics *metrics
	member  *broker.Member

	mu      sync.Mutex
	apps    map[push.AppID]App
	begun   map[push.AppID]bool // those that are told from here
	changed chan struct{}       // capacity 1: apps are others
}

// New makes a worker that does nothing until Run. The apps' secrets must be there.
func New(cfg Config, b *broker.Broker, reg prometheus.Registerer, log *slog.Logger) (*Callback, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	transport, err := channel.NewTransport("")
	if err != nil {
		return nil, fmt.Errorf("make the client of callbacks: %w", err)
	}
	c := &Callback{
		cfg: cfg, b: b, dir: directory.New(b), client: channel.NewClient(transport), log: log.With("component", "callback"),
		member: broker.NewMember(b, wire.RoleCallback), begun: map[push.AppID]bool{}, changed: make(chan struct{}, 1),
	}
	if c.metrics, err = newMetrics(reg); err != nil {
		return nil, fmt.Errorf("register the metrics of callbacks: %w", err)
	}
	return c, c.SetApps(cfg.Apps)
}

// SetApps changes the apps and their callbacks. On an error those that there are go on.
func (c *Callback) SetApps(apps []App) error {
	if err := validate(apps); err != nil {
		return err
	}
	m := make(map[push.AppID]App, len(apps))
	for _, a := range apps {
		m[a.ID] = a
	}
	c.mu.Lock()
	c.apps = m
	c.mu.Unlock()
	select { // never waits: a mark that is there already says the same
	case c.changed <- struct{}{}:
	default:
	}
	return nil
}

// Ready says whether the servers of all apps are told of what happens from now on, here or by another worker.
func (c *Callback) Ready() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ids, _ := c.member.Members(); ids == nil {
		return errors.New("the callback worker has not looked for others yet")
	}
	for id := range c.apps {
		if rank, _ := c.member.Rank(id, 0); rank == 0 && !c.begun[id] {
			return fmt.Errorf("the callback worker has not read yet how far the server of app %d has been told", id)
		}
	}
	return nil
}

// begin notes whether an app is told from here.
func (c *Callback) begin(app push.AppID, begun bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begun[app] = begun
}

// work is what is done for one app.
type work struct {
	app   App
	stop  context.CancelFunc
	ended chan struct{}
}

// Run works until ctx ends, and returns when everything that it started has ended.
func (c *Callback) Run(ctx context.Context) error {
	defer c.client.CloseIdleConnections()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.member.Run(ctx) })
	g.Go(func() error {
		running := map[push.AppID]work{}
		for {
			select { // SetApps wakes it, ctx ends it
			case <-ctx.Done():
				return ctx.Err()
			case <-c.changed:
			}
			c.mu.Lock()
			apps := c.apps
			c.mu.Unlock()
			for id, w := range running {
				if app, wanted := apps[id]; !wanted || !reflect.DeepEqual(app, w.app) {
					w.stop()
					<-w.ended // what it has told is published by then, or not at all
					delete(running, id)
				}
			}
			for id, app := range apps {
				if _, runs := running[id]; runs {
					continue
				}
				of, stop := context.WithCancel(ctx)
				w := work{app, stop, make(chan struct{})}
				running[id] = w
				g.Go(func() error {
					defer close(w.ended)
					c.app(of, w.app)
					return nil
				})
			}
		}
	})
	return g.Wait()
}

// again is the pause before an app is begun anew.
const again = 250 * time.Millisecond

// app tells one app's server whenever the app is this member's, until ctx ends.
func (c *Callback) app(ctx context.Context, app App) {
	for ctx.Err() == nil {
		rank, changed := c.member.Rank(app.ID, 0)
		if rank != 0 {
			select { // another view of the members wakes it, ctx ends it
			case <-ctx.Done():
			case <-changed:
			}
			continue
		}
		if err := c.first(ctx, app); err != nil && ctx.Err() == nil {
			c.log.Warn("telling a callback was interrupted; will go on", "app", app.ID, "err", err)
			select { // the pause wakes it, ctx ends it
			case <-ctx.Done():
			case <-time.After(again):
			}
		}
	}
}

// first tells one app's server while this member is the first for it.
func (c *Callback) first(ctx context.Context, app App) error {
	ctx, leave := context.WithCancel(ctx)
	watched := make(chan struct{})
	defer func() { leave(); <-watched }()
	lost := false
	go func() {
		defer close(watched)
		for {
			rank, changed := c.member.Rank(app.ID, 0)
			if rank != 0 {
				lost = true // read once watched is closed
				leave()
				return
			}
			select { // another view of the members wakes it, the end of the work ends it
			case <-ctx.Done():
				return
			case <-changed:
			}
		}
	}()
	err := newTeller(c, app).run(ctx)
	c.begin(app.ID, false)
	leave()
	<-watched
	if lost {
		return nil
	}
	return err
}
