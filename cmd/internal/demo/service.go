package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/carillon-push/carillon/cmd/internal/app"
	"github.com/carillon-push/carillon/cmd/internal/config"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/client"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// The app of the demo.
const (
	appID push.AppID = 1400000001
	admin            = "administrator"
)

// callsPerSecond is generous: the demo is to be as fast as the service is.
const callsPerSecond = 1_000_000

const (
	// startWait bounds the start of the service, and the wait for a push's audience.
	startWait = time.Minute
	// keptWait bounds the wait for an entry for those who were offline: there may be none.
	keptWait = 5 * time.Second
)

// service is the whole of it in this process, and how its operator and its users reach it.
type service struct {
	*app.App
	key   string
	http  *http.Client
	rest  *client.REST
	stop  func() error  // once
	ended chan struct{} // closed when it has ended, by itself or stopped
}

// start runs every role on free ports of this machine, with the broker's files in dir.
func start(ctx context.Context, dir string, log *slog.Logger) (*service, error) {
	s := &service{key: rand.Text(), ended: make(chan struct{})}
	cfg := config.Default()
	cfg.Data = dir
	cfg.HTTP.Listen, cfg.Sessions.Listen = "127.0.0.1:0", "127.0.0.1:0"
	cfg.Sessions.Drain = 0 // there is nobody to come back
	cfg.Apps = []config.App{{SDKAppID: appID, Key: s.key, Admins: []string{admin}, CallsPerSecond: callsPerSecond}}
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configure the service: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	var err error
	if s.App, err = app.New(ctx, cfg, app.Roles(), log); err != nil {
		return nil, fmt.Errorf("start the service: %w", err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: callers}
	s.http = &http.Client{Transport: transport}
	s.rest = &client.REST{URL: s.URL(), App: appID, Admin: admin, Key: s.key, HTTP: s.http}

	running, end := context.WithCancel(context.WithoutCancel(ctx))
	var failed error // of Run, once ended is closed
	go func() {
		defer close(s.ended)
		failed = s.Run(running)
	}()
	s.stop = func() error {
		transport.CloseIdleConnections()
		end()
		<-s.ended
		if failed != nil {
			return fmt.Errorf("run the service: %w", failed)
		}
		return nil
	}
	if err := s.AwaitReady(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start the service: %w", err), s.stop())
	}
	return s, nil
}

var errEnded = errors.New("the service has ended by itself")

// bound gives a context that ends when the service does.
func (s *service) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select { // the service's end or ctx's wakes it, and ends it
		case <-s.ended:
			cancel(errEnded)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// look is how often the broker is asked for what the service is about to write.
const look = 5 * time.Millisecond

// audience waits until a push has an audience in every shard, and gives its size and the bytes of what the broker keeps
// for those who were offline.
func (s *service) audience(ctx context.Context, task push.TaskID) (matched uint64, pending int, err error) {
	_, seq, err := task.Parse()
	if err != nil {
		return 0, 0, fmt.Errorf("the TaskId %q: %w", task, err)
	}
	shards, err := s.Broker().Shards(ctx, appID)
	if err != nil {
		return 0, 0, err
	}
	for _, shard := range shards {
		m, err := s.await(ctx, startWait, wire.AudiencesStream, wire.AudienceSubject(appID, shard, seq))
		if err != nil {
			return 0, 0, err
		}
		n, err := strconv.ParseUint(m.Header[wire.HeaderCardinality], 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("read the size of an audience: %w", err)
		}
		if matched += n; n == 0 {
			continue
		}
		m, err = s.await(ctx, keptWait, wire.PendingStream, wire.PendingSubject(appID, shard, seq))
		switch {
		case err == nil:
			pending += len(m.Data)
		case !errors.Is(err, broker.ErrNotFound): // otherwise nobody of the shard was offline
			return 0, 0, err
		}
	}
	return matched, pending, nil
}

// await gives the last message of a subject, once there is one; broker.ErrNotFound when there is none within the limit.
func (s *service) await(ctx context.Context, limit time.Duration, stream, subject string) (*broker.Message, error) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for end := time.Now().Add(limit); ; {
		m, err := s.Broker().Last(ctx, stream, subject)
		if !errors.Is(err, broker.ErrNotFound) || time.Now().After(end) {
			return m, err
		}
		select { // the ticker wakes it, ctx ends it
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for %s: %w", subject, ctx.Err())
		}
	}
}
