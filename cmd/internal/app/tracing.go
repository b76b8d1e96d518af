package app

import (
	"context"
	"log/slog"
	"os"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-push/carillon/cmd/internal/config"
	"github.com/carillon-push/carillon/pkg/tracing"
)

// newTracer is the tracer of the configuration, nil when that wants none.
func newTracer(c *config.Config, reg prometheus.Registerer, log *slog.Logger) (*tracing.Tracer, error) {
	if c.Tracing.Endpoint == "" {
		return nil, nil
	}
	cfg := tracing.Default()
	cfg.Endpoint, cfg.Headers, cfg.Sample = c.Tracing.Endpoint, c.Tracing.Pairs(), c.Tracing.Sample
	if host, err := os.Hostname(); err == nil {
		cfg.Instance = host
	}
	return tracing.New(cfg, reg, log)
}

// trace sends what is traced until stop, which sends the rest and waits for that for a bounded time.
func (a *App) trace(ctx context.Context) (stop func()) {
	if a.tracer == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := a.tracer.Run(ctx); err != nil {
			a.log.Warn("end tracing", "err", err)
		}
	}()
	return func() { cancel(); <-ended }
}
