package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/cmd/internal/config"
	"github.com/carillon-push/carillon/deliver/channel"
	"github.com/carillon-push/carillon/deliver/notify"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
)

// vendors are the open channels of the apps. They change as a whole: with one that cannot be opened, those that there were
// stay.
type vendors struct {
	log     *slog.Logger
	metrics *channel.Metrics
	notify  *notify.Notify

	mu      sync.Mutex
	open    map[vendorKey]vendor
	checked chan struct{} // capacity 1: there are senders that were not checked
}

type vendorKey struct {
	app  push.AppID
	name string
}

// vendor is an open channel, and what it was opened by.
type vendor struct {
	section map[string]any
	sender  *channel.Sender
	known   bool // its vendor was asked whether the credentials are good
}

// newNotify makes the role that notifies phones, with the channels of the configuration.
func newNotify(cfg *config.Config, b *broker.Broker, reg prometheus.Registerer, log *slog.Logger) (*vendors, error) {
	m, err := channel.NewMetrics(reg)
	if err != nil {
		return nil, fmt.Errorf("register the channels' metrics: %w", err)
	}
	v := &vendors{log: log.With("component", "channels"), metrics: m, checked: make(chan struct{}, 1)}
	n := notify.Default()
	n.Standby, n.Grace, n.Concurrency, n.Idle = cfg.Notifications.Standby, cfg.Notifications.Grace, cfg.Notifications.Concurrency, cfg.Notifications.DeviceIdle
	if v.notify, err = notify.New(n, b, reg, log); err != nil {
		return nil, err
	}
	return v, v.setApps(cfg.Apps)
}

// setApps opens the channels of another list of apps. Those that are configured as before stay open.
func (v *vendors) setApps(apps []config.App) (err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	next := map[vendorKey]vendor{}
	defer func() {
		if err != nil {
			v.close(next, v.open)
		}
	}()
	var list []notify.App
	for _, a := range apps {
		if a.Disabled {
			continue
		}
		channels, faults := a.VendorChannels()
		if len(faults) > 0 {
			return fmt.Errorf("app %s: %w", a.SDKAppID, faults)
		}
		of := notify.App{ID: a.SDKAppID, Channels: map[string]notify.Sender{}}
		for _, c := range channels {
			key := vendorKey{a.SDKAppID, c.Name}
			one, has := v.open[key]
			if !has || !reflect.DeepEqual(one.section, a.Channels[c.Name]) {
				sender, err := channel.NewSender(channel.SenderConfig{App: a.SDKAppID, Channel: c.Name, Limits: c.Limits, Files: c.Files}, c.Open, v.metrics, v.log)
				if err != nil {
					return err
				}
				one = vendor{section: a.Channels[c.Name], sender: sender}
			}
			next[key] = one
			of.Channels[c.Name] = one.sender
		}
		list = append(list, of)
	}
	before := v.open
	v.open = next
	v.notify.SetApps(list)
	v.close(before, next)
	select { // never waits: a mark that is there already says the same
	case v.checked <- struct{}{}:
	default:
	}
	return nil
}

// close closes channels, but for those that are among others.
func (v *vendors) close(some, but map[vendorKey]vendor) {
	for key, one := range some {
		if but[key].sender != one.sender {
			one.sender.Close()
		}
	}
}

// run notifies until ctx ends.
func (v *vendors) run(ctx context.Context) error {
	defer func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.close(v.open, nil)
	}()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return v.notify.Run(ctx) })
	g.Go(func() error { return v.check(ctx) })
	return g.Wait()
}

// checkWait bounds how long a vendor may take to say whether credentials are good.
const checkWait = 15 * time.Second

// check asks vendors whether the credentials of channels that are new are good, and says so once, until ctx ends. A vendor
// that does not answer is no reason not to start: its breaker deals with that.
func (v *vendors) check(ctx context.Context) error {
	for {
		select { // setApps wakes it, ctx ends it
		case <-ctx.Done():
			return ctx.Err()
		case <-v.checked:
		}
		var asking sync.WaitGroup
		v.mu.Lock()
		for key, one := range v.open {
			if one.known {
				continue
			}
			one.known = true
			v.open[key] = one
			asking.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, checkWait)
				defer cancel()
				if err := one.sender.Check(ctx); err != nil && !errors.Is(err, context.Canceled) {
					v.log.Error("a vendor does not say that a channel's credentials are good", "app", key.app, "channel", key.name, "err", err)
				}
			})
		}
		v.mu.Unlock()
		asking.Wait()
	}
}
