package growth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/bench/crowd"
	"github.com/carillon-push/carillon/bench/fleet"
	"github.com/carillon-push/carillon/bench/logins"
	"github.com/carillon-push/carillon/bench/report"
	"github.com/carillon-push/carillon/bench/service"
)

const (
	callers = 16 // pushes and logins at once
	// fleeting is the lifetime of pushes that are to be gone before the next look, in seconds.
	fleeting = 4
)

// live measures the third axis: pushes that wait for one user in ten, at random. Others, for whom nothing waits, are online
// all the time, and get what is pushed to see what one more push costs.
func live(ctx context.Context, o Options) (figures []report.Figure, err error) {
	s, err := build(ctx, 1, o.Bits)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	users := gatewayShards<<o.Bits - 1
	if err := s.fill(ctx, 0, users); err != nil {
		return nil, err
	}
	var waited, free, online []string
	for i := range users {
		switch {
		case inTenth(i):
			waited = append(waited, account(i))
		case len(free) < o.Logins:
			free = append(free, account(i))
		case len(online) < o.Sessions:
			online = append(online, account(i))
		}
	}
	stage, err := s.stage(ctx, s.Gateways, online, map[string]any{"MsgLifeTime": fleeting})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stage.Stop()) }()
	l := newLively()
	pushed := 0
	for _, n := range o.Live {
		if err := s.wake(ctx, pushed, n); err != nil {
			return nil, fmt.Errorf("with %d live pushes: %w", n, err)
		}
		pushed = n
		if err := l.measure(ctx, o, s, stage, n, free, waited[:min(o.Logins, len(waited))]); err != nil {
			return nil, fmt.Errorf("with %d live pushes: %w", n, err)
		}
	}
	return l.figures(), nil
}

// wake pushes until so many are live, of which some are already, and waits until the offline worker has them.
func (s *site) wake(ctx context.Context, from, to int) error {
	g, within := errgroup.WithContext(ctx)
	g.SetLimit(callers)
	for i := from; i < to; i++ {
		g.Go(func() error {
			_, err := s.REST[0].Push(within, map[string]any{
				"MsgRandom": 1_000_000 + i, "MsgLifeTime": lifetime, "Condition": map[string]any{"TagsOr": []string{tenth}},
				"MsgBody": []any{map[string]any{"MsgType": "TIMTextElem", "MsgContent": map[string]any{"Text": string(crowd.Message(messageSize))}}},
			})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("push: %w", err)
	}
	return s.kept(ctx, to*gatewayShards)
}

// kept waits until the offline worker holds so many pushes, counted once for each shard, or more.
func (s *site) kept(ctx context.Context, want int) error {
	ctx, cancel := context.WithTimeout(ctx, roundWait)
	defer cancel()
	for {
		n, err := s.Of(fleet.Offline)[0].Metric(ctx, "carillon_offline_live_pushes")
		if err == nil && int(n) >= want {
			return nil
		}
		if e := wait(ctx, lookEvery); e != nil {
			return fmt.Errorf("the offline worker has %v pushes of %d: %w", n, want, errors.Join(e, err))
		}
	}
}

// lively are the series of live pushes.
type lively struct {
	without, with, withoutP50, withP50 *series
	offline, deliver, broker, restart  *series
	more                               map[string]*series
	idle                               *series
}

func newLively() *lively {
	of := func(what, unit, per string, times float64) *series {
		return &series{one: "live push", what: what, unit: unit, per: per + " and live push", times: times}
	}
	l := &lively{
		without:    of("CPU of all processes a login, nothing waits", "ms", "µs a login", 1000),
		with:       of("CPU of all processes a login, all of them wait", "ms", "µs a login", 1000),
		withoutP50: of("a login, nothing waits, p50", "ms", "µs a login", 1000),
		withP50:    of("a login, all of them wait, p50", "ms", "µs a login", 1000),
		offline:    of("resident memory of the "+called[fleet.Offline], "MiB", "KiB a worker", 1024),
		deliver:    of("resident memory of the "+called[fleet.Deliver], "MiB", "KiB a gateway", 1024),
		broker:     of("resident memory of the "+called[fleet.Broker], "MiB", "KiB a broker", 1024),
		restart:    of("restart of the offline worker", "ms", "µs a restart", 1000),
		idle:       of("CPU of the "+called[fleet.Offline]+" while idle", "ms/s", "µs a second", 1000),
		more:       map[string]*series{},
	}
	for _, role := range roles {
		l.more[role] = of("CPU of the "+called[role]+" for one more push", "ms", "µs a push", 1000)
	}
	return l
}

func (l *lively) measure(ctx context.Context, o Options, s *site, stage *crowd.Stage, n int, free, waited []string) error {
	begun := time.Now()
	worker := s.Of(fleet.Offline)[0]
	worker.Kill()
	if err := s.Up(ctx, worker); err != nil {
		return err
	}
	l.restart.add(n, ms(time.Since(begun)))
	if err := s.kept(ctx, n*gatewayShards); err != nil {
		return err
	}
	if _, _, err := s.login(ctx, 0, free); err != nil { // warm up
		return err
	}
	cpu, p50, err := s.login(ctx, 0, free)
	if err != nil {
		return err
	}
	l.without.add(n, cpu)
	l.withoutP50.add(n, p50)
	if cpu, p50, err = s.login(ctx, n, waited); err != nil {
		return err
	}
	l.with.add(n, cpu)
	l.withP50.add(n, p50)
	if err := wait(ctx, o.Later); err != nil { // they are being counted
		return err
	}
	c, err := s.cost(ctx, o, stage, gatewayShards, o.Pushes)
	if err != nil {
		return err
	}
	for _, role := range roles {
		l.more[role].add(n, c.push.of(s.Of(role)...))
	}
	l.idle.add(n, c.idle.of(worker)/c.idle.seconds)
	l.offline.add(n, c.resident[fleet.Offline])
	l.deliver.add(n, c.resident[fleet.Deliver])
	l.broker.add(n, c.resident[fleet.Broker])
	return nil
}

// login logs users in, for each of whom so many messages wait, and says what one takes: CPU of all processes, and the median
// of the time, in ms.
func (s *site) login(ctx context.Context, messages int, names []string) (cpu, p50 float64, err error) {
	paths := make([]string, len(names))
	for i, name := range names {
		if paths[i], err = service.SessionPath(name); err != nil {
			return 0, 0, err
		}
	}
	var took []time.Duration
	u, err := s.during(ctx, time.Millisecond, func() (err error) {
		took, err = logins.Visit(ctx, s.Gateways[0], messages, callers, paths)
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("log in, with %d messages that wait: %w", messages, err)
	}
	for _, role := range roles {
		cpu += u.of(s.Of(role)...)
	}
	times := make([]float64, len(took))
	for i, d := range took {
		times[i] = ms(d)
	}
	return cpu / float64(len(names)), report.Median(times...), nil
}

func (l *lively) figures() (all []report.Figure) {
	list := []*series{l.without, l.withoutP50, l.with, l.withP50, l.offline, l.deliver, l.broker, l.restart, l.idle}
	for _, role := range roles {
		list = append(list, l.more[role])
	}
	for _, s := range list {
		all = append(all, s.figures()...)
	}
	return all
}
