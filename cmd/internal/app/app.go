// Package app is the process as a library: a mode is a set of roles over one broker. New opens the broker and binds the
// listeners, Run serves until its context ends. The all-in-one process and a cluster's run the very same code; only the
// set of roles, and where the broker is, differ.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/cmd/internal/config"
	"github.com/carillon-push/carillon/deliver"
	"github.com/carillon-push/carillon/ingest"
	"github.com/carillon-push/carillon/matcher"
	"github.com/carillon-push/carillon/offline"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
)

// Role is a part of the service that can run alone.
type Role string

// Roles of the service.
const (
	Ingest  Role = "ingest"
	Matcher Role = "matcher"
	Deliver Role = "deliver"
	Offline Role = "offline"
)

// Roles are all of them.
func Roles() []Role { return []Role{Ingest, Matcher, Deliver, Offline} }

// App is one process.
type App struct {
	cfg   *config.Config
	log   *slog.Logger
	b     *broker.Broker
	reg   *prometheus.Registry
	roles []role // in the order in which they stop

	http, sessions         *http.Server
	httpAddr, sessionsAddr net.Listener // sessions nil without the deliver role
}

// role is a part of the process that runs.
type role struct {
	name  Role
	run   func(context.Context) error
	ready func() error
}

// New opens the broker, makes the roles and binds the listeners, so that Addr is known and a port that is taken is an
// error here. The app must be Run or Closed.
func New(ctx context.Context, cfg *config.Config, roles []Role, log *slog.Logger) (*App, error) {
	a := &App{cfg: cfg, log: log.With("component", "app"), reg: prometheus.NewRegistry()}
	a.reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := a.open(ctx, roles, log); err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

func (a *App) open(ctx context.Context, roles []Role, log *slog.Logger) (err error) {
	if len(a.cfg.Apps) == 0 {
		return errors.New("no apps are configured: set apps")
	}
	a.b, err = broker.Open(ctx, broker.Config{
		URL: a.cfg.NATS.URL, Credentials: a.cfg.NATS.Credentials, Dir: a.cfg.Data, Listen: a.cfg.NATS.Listen,
		StoreLimit: a.cfg.NATS.StoreLimit, Replicas: a.cfg.NATS.Replicas, Retention: a.cfg.Retention.Pushes,
		Sharding: a.cfg.Sharding.Bits, Name: "carillon",
	}, log)
	if err != nil {
		return err
	}
	for _, app := range a.cfg.Apps {
		if err := a.b.EnsureApp(ctx, app.SDKAppID); err != nil {
			return err
		}
	}
	handler := newHandler(a)
	// In the order in which they stop: what publishes before what folds it.
	if slices.Contains(roles, Ingest) {
		i, err := ingest.New(a.ingestConfig(), a.b, a.reg, log)
		if err != nil {
			return err
		}
		i.Mount(handler)
	}
	if slices.Contains(roles, Deliver) {
		d, err := deliver.New(a.deliverConfig(), a.b, a.reg, log)
		if err != nil {
			return err
		}
		a.roles = append(a.roles, role{Deliver, d.Run, d.Ready})
		a.sessions = &http.Server{
			Handler: d.Handler(), ReadHeaderTimeout: a.cfg.Sessions.HandshakeTimeout, ReadTimeout: a.cfg.Sessions.HandshakeTimeout,
			IdleTimeout: a.cfg.Sessions.HandshakeTimeout, MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		}
		if a.sessionsAddr, err = net.Listen("tcp", a.cfg.Sessions.Listen); err != nil {
			return fmt.Errorf("listen for sessions: %w", err)
		}
	}
	if slices.Contains(roles, Matcher) {
		m, err := matcher.New(matcher.Config{Apps: a.appIDs()}, a.b, a.reg, log)
		if err != nil {
			return err
		}
		a.roles = append(a.roles, role{Matcher, m.Run, m.Ready})
	}
	if slices.Contains(roles, Offline) {
		cfg := offline.Default()
		cfg.Apps = a.appIDs()
		o, err := offline.New(cfg, a.b, a.reg, log)
		if err != nil {
			return err
		}
		a.roles = append(a.roles, role{Offline, o.Run, o.Ready})
	}
	a.http = &http.Server{
		Handler: handler, ReadHeaderTimeout: a.cfg.HTTP.ReadTimeout, ReadTimeout: a.cfg.HTTP.ReadTimeout, IdleTimeout: time.Minute,
		MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	if a.httpAddr, err = net.Listen("tcp", a.cfg.HTTP.Listen); err != nil {
		return fmt.Errorf("listen for REST: %w", err)
	}
	return nil
}

// maxHeader bounds a request's header in bytes; a UserSig of the largest kind fits.
const maxHeader = 32 << 10

func (a *App) appIDs() []push.AppID {
	ids := make([]push.AppID, len(a.cfg.Apps))
	for i, app := range a.cfg.Apps {
		ids[i] = app.SDKAppID
	}
	return ids
}

func (a *App) ingestConfig() ingest.Config {
	cfg := ingest.Default()
	cfg.BodyLimit, cfg.MessageLimit = a.cfg.HTTP.BodyLimit, a.cfg.HTTP.MessageLimit
	for _, app := range a.cfg.Apps {
		cfg.Apps = append(cfg.Apps, ingest.App{
			ID: app.SDKAppID, Keys: app.VerifyKeys(), Admins: app.Admins, PushInterval: app.PushInterval,
			PushPerDay: app.PushPerDay, CallsPerSecond: app.CallsPerSecond,
		})
	}
	return cfg
}

func (a *App) deliverConfig() deliver.Config {
	cfg := deliver.Default()
	s := a.cfg.Sessions
	cfg.Socket.Heartbeat, cfg.Socket.QueueLimit, cfg.Socket.FrameLimit = s.Heartbeat, s.Queue, s.FrameLimit
	cfg.PerAccount, cfg.Max, cfg.Drain, cfg.Receipts = s.PerAccount, s.Max, s.Drain, a.cfg.Receipts.Interval
	for _, app := range a.cfg.Apps {
		cfg.Apps = append(cfg.Apps, deliver.App{ID: app.SDKAppID, Keys: app.VerifyKeys()})
	}
	return cfg
}

// URL of the REST interface.
func (a *App) URL() string { return "http://" + a.httpAddr.Addr().String() }

// SessionsURL is the base of the sessions, empty without the deliver role.
func (a *App) SessionsURL() string {
	if a.sessionsAddr == nil {
		return ""
	}
	return "ws://" + a.sessionsAddr.Addr().String()
}

// Broker of the process.
func (a *App) Broker() *broker.Broker { return a.b }

// How long what is under way may take when the process ends: a request of an operator, and a login.
const (
	requestWait = 5 * time.Second
	loginWait   = time.Second
)

// shutdown stops taking connections and waits for those that are in use. Those that never sent a request, or take too
// long, are cut: whoever waits there repeats the call, which does no harm.
func shutdown(s *http.Server, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return s.Close()
}

// Run serves until ctx ends or a role fails, and returns when everything has ended and the broker is closed. It stops
// taking requests and sessions first; then the roles end, those that publish before those that fold what they publish.
func (a *App) Run(ctx context.Context) error {
	defer a.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var servers errgroup.Group
	serve := func(s *http.Server, l net.Listener) {
		servers.Go(func() error {
			if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				cancel(fmt.Errorf("serve %s: %w", l.Addr(), err))
			}
			return nil
		})
	}
	serve(a.http, a.httpAddr)
	if a.sessions != nil {
		serve(a.sessions, a.sessionsAddr)
	}
	stops := make([]func(), len(a.roles))
	for i, r := range a.roles {
		rctx, stop := context.WithCancel(context.WithoutCancel(ctx))
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if err := r.run(rctx); err != nil && rctx.Err() == nil {
				cancel(fmt.Errorf("role %s: %w", r.name, err))
			}
		}()
		stops[i] = func() { stop(); <-ended }
	}
	<-ctx.Done()
	a.log.Info("stopping")
	err := shutdown(a.http, requestWait)
	if a.sessions != nil {
		err = errors.Join(err, shutdown(a.sessions, loginWait))
	}
	for _, stop := range stops {
		stop()
	}
	err = errors.Join(err, servers.Wait())
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, err)
	}
	return err
}

// Close lets go of what New opened. Run does it by itself.
func (a *App) Close() {
	for _, l := range []net.Listener{a.httpAddr, a.sessionsAddr} {
		if l != nil {
			_ = l.Close() // it may be closed already
		}
	}
	if a.b != nil {
		a.b.Close()
	}
}

// Ready says whether every role can do its work.
func (a *App) Ready(ctx context.Context) error {
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
