// Package roles runs parts of the service in this process, over an embedded broker with the service's settings, in a
// directory that is removed afterwards.
package roles

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/carillon-push/carillon/bench/service"
	"github.com/carillon-push/carillon/offline"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
)

// OnBroker runs f with a broker that has the streams of service.App, and a configuration that is changed as told.
func OnBroker(ctx context.Context, f func(*broker.Broker) error, change ...func(*broker.Config)) (err error) {
	dir, err := os.MkdirTemp("", "carillon-bench-")
	if err != nil {
		return fmt.Errorf("make a directory for the broker: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cfg := broker.Default()
	cfg.Dir = dir
	for _, c := range change {
		c(&cfg)
	}
	b, err := broker.Open(ctx, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer b.Close()
	if err := b.EnsureApp(ctx, service.App); err != nil {
		return err
	}
	return f(b)
}

// Offline runs f beside the offline role, which is ready or about to be. It writes new entries at once, and none again.
func Offline(ctx context.Context, b *broker.Broker, f func(*offline.Offline) error) (err error) {
	cfg := offline.Default()
	cfg.Apps = []push.AppID{service.App}
	cfg.Checkpoint = time.Hour
	role, err := offline.New(cfg, b, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- role.Run(running) }()
	defer func() {
		stop()
		if e := <-ended; e != nil && !errors.Is(e, context.Canceled) {
			err = errors.Join(err, e)
		}
	}()
	return f(role)
}

// CPU is what this process has used so far, user and system.
func CPU() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u) // fails for a bad address or another process only
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
