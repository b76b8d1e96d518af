package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/carillon-push/carillon/cmd/internal/app"
	"github.com/carillon-push/carillon/cmd/internal/config"
)

// reloadOnSignal takes over the apps of the configuration at each SIGHUP, until ctx ends. A configuration that is wrong
// changes nothing. What else has changed in it is named, as it needs a restart.
func reloadOnSignal(ctx context.Context, a *app.App, running *config.Config, load func() (*config.Config, error), log *slog.Logger) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select { // the signal wakes it, ctx ends it
		case <-ctx.Done():
			return
		case <-hup:
		}
		next, err := load()
		if err == nil {
			err = a.Reload(ctx, next.Apps)
		}
		if err != nil {
			log.Error("the configuration was not reloaded; the process goes on with what it has", "err", err)
			continue
		}
		if names := running.Changes(next); len(names) > 0 {
			log.Warn("some keys have changed that need a restart", "keys", names)
		}
	}
}
