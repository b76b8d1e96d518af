package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/carillon-push/carillon/cmd/internal/app"
	"github.com/carillon-push/carillon/cmd/internal/config"
	"github.com/carillon-push/carillon/cmd/internal/spare"
)

func serveCommand() *cobra.Command {
	var selfTest bool
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run every role in this process, with an embedded broker unless nats.url is set",
		Args:  cobra.NoArgs,
	}
	config.RegisterFlags(c.Flags())
	c.Flags().BoolVar(&selfTest, "self-test", false, "Push once at the start, through the whole pipeline to a session of its own, and say what happened.")
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := config.Load(c.Flags(), os.Environ())
		if err != nil {
			return err
		}
		// Decided once: a file that has lost its apps must not make a development app of a running service.
		development := len(cfg.Apps) == 0
		load := func() (*config.Config, error) {
			cfg, err := config.Load(c.Flags(), os.Environ())
			if err == nil && development && len(cfg.Apps) == 0 {
				err = app.Development(cfg)
			}
			return cfg, err
		}
		if cfg, err = load(); err != nil {
			return err
		}
		out := c.OutOrStdout()
		return run(c.Context(), cfg, load, app.Roles(), func(ctx context.Context, a *app.App) error {
			if selfTest {
				if err := selfTestPush(ctx, a, cfg.Apps[0], out); err != nil {
					return fmt.Errorf("self-test: %w", err)
				}
			}
			greet(out, a, cfg, development)
			return nil
		})
	}
	return c
}

// roleCommands run one role each, against NATS servers of their own.
func roleCommands() []*cobra.Command {
	about := map[app.Role]string{
		app.Ingest:   "Run the REST interface alone, against NATS servers",
		app.Matcher:  "Run the matcher alone, against NATS servers: it finds who matches a push",
		app.Deliver:  "Run the gateway alone, against NATS servers: it holds the users' sessions",
		app.Offline:  "Run the offline worker alone, against NATS servers: it keeps pushes for who comes later",
		app.Notify:   "Run the notification worker alone, against NATS servers: it notifies the phones of who has no session",
		app.Callback: "Run the callback worker alone, against NATS servers: it tells operators' servers what becomes of pushes and sessions",
	}
	var cs []*cobra.Command
	for _, r := range app.Roles() {
		c := &cobra.Command{Use: string(r), Short: about[r], Args: cobra.NoArgs}
		config.RegisterFlags(c.Flags())
		c.RunE = func(c *cobra.Command, _ []string) error {
			load := func() (*config.Config, error) { return config.Load(c.Flags(), os.Environ()) }
			cfg, err := load()
			if err != nil {
				return err
			}
			if cfg.NATS.Embedded() {
				return fmt.Errorf("a role alone needs NATS servers that the others use too: set nats.url (or run `carillon serve`)")
			}
			if len(cfg.Apps) == 0 {
				return errors.New("no apps are configured: set apps, the same in every process")
			}
			return run(c.Context(), cfg, load, []app.Role{r}, func(context.Context, *app.App) error { return nil })
		}
		cs = append(cs, c)
	}
	return cs
}

// run serves until ctx ends, with the apps that load gives at each SIGHUP; started is called when every role is ready, and
// its error ends the process.
func run(ctx context.Context, cfg *config.Config, load func() (*config.Config, error), roles []app.Role, started func(context.Context, *app.App) error) error {
	log := newLog(os.Stderr, cfg.Log)
	a, err := app.New(ctx, cfg, roles, log)
	if err != nil && ctx.Err() != nil {
		log.Info("told to stop before it had started", "err", err)
		return nil
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	go spare.Run(ctx)
	log.Info("started", "version", version(), "roles", roles, "rest", a.URL(), "sessions", a.SessionsURL())
	if len(roles) == 0 {
		signal.Ignore(syscall.SIGHUP) // a broker alone has nothing to read again
	}
	go func() {
		if err := a.AwaitReady(ctx); err != nil {
			return // it ends before it was ready; Run says why
		}
		if err := started(ctx, a); err != nil && ctx.Err() == nil {
			cancel(err)
		}
		if len(roles) > 0 {
			reloadOnSignal(ctx, a, cfg, load, log)
		}
	}()
	return <-done
}

func newLog(w io.Writer, cfg config.Log) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(cfg.Level)) // config has checked it
	opts := &slog.HandlerOptions{Level: level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
