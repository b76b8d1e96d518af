package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/carillon-push/carillon/cmd/internal/app"
	"github.com/carillon-push/carillon/cmd/internal/config"
	"github.com/carillon-push/carillon/pkg/push"
)

// The app that there is.
const (
	appID push.AppID = 1400000001
	admin            = "administrator"
)

const (
	// callsPerSecond is more than tests make.
	callsPerSecond = 1_000_000
	// receipts is how long an acknowledgement may take to the broker: tests wait for it.
	receipts = 20 * time.Millisecond
	// startWait bounds the start.
	startWait = time.Minute
)

// service is every role in this process, running or not.
type service struct {
	cfg         *config.Config
	log         *slog.Logger
	key, apiKey string
	halt        func() error // nil while it does not run
}

// newService configures a service whose data is in dir. It is not started.
func newService(dir string, log *slog.Logger) (*service, error) {
	s := &service{cfg: config.Default(), log: log, key: rand.Text(), apiKey: rand.Text()}
	s.cfg.Data = dir
	s.cfg.HTTP.Listen, s.cfg.Sessions.Listen = "127.0.0.1:0", "127.0.0.1:0"
	s.cfg.Sessions.Drain = 0 // tests are not to wait for it
	s.cfg.Receipts.Interval = receipts
	s.cfg.Apps = []config.App{{
		SDKAppID: appID, Key: s.key, Admins: []string{admin}, CallsPerSecond: callsPerSecond,
		APIKeys: []config.APIKey{{Name: "tests", Key: s.apiKey, Roles: []string{config.RoleAdmin}}},
	}}
	if err := s.cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configure the service: %w", err)
	}
	return s, nil
}

// place says where the service is, once it was started.
func (s *service) place() place {
	return place{"http://" + s.cfg.HTTP.Listen, "ws://" + s.cfg.Sessions.Listen, appID, admin, s.apiKey}
}

// start runs the service, on the ports that it had before.
func (s *service) start(ctx context.Context) error {
	if s.halt != nil {
		return errors.New("the service runs already")
	}
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	a, err := app.New(ctx, s.cfg, app.Roles(), s.log)
	if err != nil {
		return fmt.Errorf("start the service: %w", err)
	}
	running, end := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- a.Run(running) }()
	s.halt = func() error {
		end()
		if err := <-ended; err != nil {
			return fmt.Errorf("run the service: %w", err)
		}
		return nil
	}
	if err := errors.Join(s.keepPorts(a), a.AwaitReady(ctx)); err != nil {
		return errors.Join(fmt.Errorf("start the service: %w", err), s.stop())
	}
	return nil
}

// keepPorts makes the free ports that were found those of the next start.
func (s *service) keepPorts(a *app.App) error {
	for _, l := range []struct{ from, to *string }{{new(a.URL()), &s.cfg.HTTP.Listen}, {new(a.SessionsURL()), &s.cfg.Sessions.Listen}} {
		u, err := url.Parse(*l.from)
		if err != nil {
			return fmt.Errorf("read where the service listens: %w", err)
		}
		*l.to = u.Host
	}
	return nil
}

// stop ends the service in an orderly way, if it runs.
func (s *service) stop() error {
	if s.halt == nil {
		return nil
	}
	err := s.halt()
	s.halt = nil
	return err
}
