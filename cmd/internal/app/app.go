// Package app is the process as a library: a mode is a set of roles over one broker. New opens the broker and binds the
// listeners, Run serves until its context ends. The all-in-one process and a cluster's run the very same code; only the
// set of roles, and where the broker is, differ.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/cmd/internal/config"
	"github.com/carillon-push/carillon/deliver"
	"github.com/carillon-push/carillon/deliver/callback"
	"github.com/carillon-push/carillon/ingest"
	"github.com/carillon-push/carillon/ingest/native"
	"github.com/carillon-push/carillon/matcher"
	"github.com/carillon-push/carillon/offline"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/tracing"
)

// Role is a part of the service that can run alone.
type Role string

// Roles of the service.
const (
	Ingest  Role = "ingest"
	Matcher Role = "matcher"
	Deliver Role = "deliver"
	Offline Role = "offline"
	Notify  Role = "notify"
	// Callback tells operators' servers.
	Callback Role = "callback"
)

// Roles are all of them.
func Roles() []Role { return []Role{Ingest, Matcher, Deliver, Offline, Notify, Callback} }

// App is one process.
type App struct {
	cfg   *config.Config
	log   *slog.Logger
	b     *broker.Broker
	reg   *prometheus.Registry
	roles []role                     // in the order in which they stop
	apps  []func([]config.App) error // take over another list of apps, a role each

	rest, sessions, admins *server      // nil for what this process does not serve
	cert, sessionsCert     *certificate // nil without TLS
	stopping               atomic.Bool
	health                 *health
	metrics                *Metrics
	served                 atomic.Pointer[[]push.AppID] // the apps that it works for
	brokerOnly             bool                         // it runs no role
	tracer                 *tracing.Tracer              // nil when nothing is traced
}

// role is a part of the process that runs.
type role struct {
	name  Role
	run   func(context.Context) error
	ready func() error
}

// New opens the broker, makes the roles and binds the listeners, so that Addr is known and a port that is taken is an
// error here. Without roles it is a server of the broker alone, which works with whatever is stored. The app must be Run or
// Closed.
func New(ctx context.Context, cfg *config.Config, roles []Role, log *slog.Logger) (*App, error) {
	log = slog.New(requestLog{log.Handler()})
	a := &App{cfg: cfg, log: log.With("component", "app"), reg: prometheus.NewRegistry()}
	a.reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := a.open(ctx, roles, log); err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

func (a *App) open(ctx context.Context, roles []Role, log *slog.Logger) (err error) {
	if a.tracer, err = newTracer(a.cfg, a.reg, log); err != nil {
		return err
	}
	metrics, err := NewMetrics(a.reg)
	if err != nil {
		return err
	}
	a.metrics = metrics
	started, err := a.starting(ctx)
	if err != nil {
		return err
	}
	err = a.openBroker(ctx, len(roles) > 0, log)
	if err = errors.Join(err, started()); err != nil {
		return err
	}
	if err := a.reg.Register(a.b.Collector()); err != nil {
		return fmt.Errorf("register the metrics of the broker: %w", err)
	}
	a.setServed(a.cfg.Apps)
	var gateway *deliver.Deliver
	handler := newHandler(a.cfg.HTTP.Origins(), a.log)
	// In the order in which they stop: what publishes before what folds it.
	if slices.Contains(roles, Ingest) {
		i, err := ingest.New(ingestConfig(a.cfg, a.tracer), a.b, a.reg, log)
		if err != nil {
			return err
		}
		n, err := native.New(nativeConfig(a.cfg, i, a.tracer), a.b, a.reg, log)
		if err != nil {
			return err
		}
		i.Mount(handler)
		n.Mount(handler)
		a.apps = append(a.apps,
			func(apps []config.App) error { return n.SetApps(nativeApps(apps)) },
			func(apps []config.App) error { return i.SetApps(ingestApps(apps)) })
	}
	if slices.Contains(roles, Deliver) {
		d, err := deliver.New(deliverConfig(a.cfg, a.tracer), a.b, a.reg, log)
		if err != nil {
			return err
		}
		gateway = d
		a.roles = append(a.roles, role{Deliver, d.Run, d.Ready})
		a.apps = append(a.apps, func(apps []config.App) error { d.SetApps(deliverApps(apps)); return nil })
		if err := a.bindSessions(ctx, d.Handler(), metrics); err != nil {
			return err
		}
	}
	if slices.Contains(roles, Matcher) {
		m, err := matcher.New(matcherConfig(a.cfg, a.tracer), a.b, a.reg, log)
		if err != nil {
			return err
		}
		a.roles = append(a.roles, role{Matcher, m.Run, m.Ready})
		a.apps = append(a.apps, func(apps []config.App) error { m.SetApps(appIDs(apps)); return nil })
	}
	if slices.Contains(roles, Offline) {
		o, err := offline.New(offlineConfig(a.cfg, a.tracer), a.b, a.reg, log)
		if err != nil {
			return err
		}
		a.roles = append(a.roles, role{Offline, o.Run, o.Ready})
		a.apps = append(a.apps, func(apps []config.App) error { o.SetApps(appIDs(apps)); return nil })
	}
	if slices.Contains(roles, Notify) {
		v, err := newNotify(a.cfg, a.b, a.reg, log)
		if err != nil {
			return err
		}
		a.roles = append(a.roles, role{Notify, v.run, v.notify.Ready})
		a.apps = append(a.apps, v.setApps)
	}
	if slices.Contains(roles, Callback) {
		c, err := callback.New(callbackConfig(a.cfg), a.b, a.reg, log)
		if err != nil {
			return err
		}
		a.roles = append(a.roles, role{Callback, c.Run, c.Ready})
		a.apps = append(a.apps, func(apps []config.App) error { return c.SetApps(callbackApps(apps)) })
	}
	a.health = newHealth(a.cfg.Health.StuckAfter, a.b, metrics, a.checks(roles, gateway))
	return a.bind(ctx, handler, slices.Contains(roles, Ingest), metrics)
}

// Broker of the process.
func (a *App) Broker() *broker.Broker { return a.b }

// Run serves until ctx ends or a role fails, and returns when everything has ended and the broker is closed. It stops
// taking requests and sessions first; then the roles end, those that publish before those that fold what they publish.
func (a *App) Run(ctx context.Context) error {
	defer a.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var servers errgroup.Group
	for _, s := range []*server{a.rest, a.sessions, a.admins} {
		if s != nil {
			servers.Go(func() error {
				if err := s.serve(); err != nil {
					cancel(err)
				}
				return nil
			})
		}
	}
	stopTracing := a.trace(ctx)
	running := make([]*running, len(a.roles))
	for i, r := range a.roles {
		running[i] = r.start(ctx, func(err error) { cancel(fmt.Errorf("role %s: %w", r.name, err)) })
	}
	var looking sync.WaitGroup
	looking.Go(func() { a.health.run(ctx) })
	<-ctx.Done()
	looking.Wait()
	err := errors.Join(a.stop(running, stopTracing), servers.Wait())
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, err)
	}
	return err
}

// Close lets go of what New opened. Run does it by itself.
func (a *App) Close() {
	for _, s := range []*server{a.rest, a.sessions, a.admins} {
		s.close()
	}
	if a.b != nil {
		a.b.Close()
	}
}

// Ready says whether every role can do its work.
func (a *App) Ready(ctx context.Context) error {
	if a.brokerOnly {
		return a.b.Answers(ctx)
	}
	errs := []error{a.b.Ready(ctx)}
	for _, r := range a.roles {
		errs = append(errs, r.ready())
	}
	return errors.Join(errs...)
}

// AwaitReady waits until Ready has no error, or ctx ends.
func (a *App) AwaitReady(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := a.Ready(ctx)
		if err == nil {
			return nil
		}
		select { // the ticker wakes it, ctx ends it
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w", err)
		case <-tick.C:
		}
	}
}
