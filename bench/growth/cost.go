package growth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/carillon-push/carillon/bench/crowd"
	"github.com/carillon-push/carillon/bench/fleet"
	"github.com/carillon-push/carillon/bench/report"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// messageSize of a push, in bytes.
const messageSize = 300

// lifetime of a push, in seconds: none dies while it is measured.
const lifetime = 3600

// site is a fleet and what looks at it.
type site struct {
	*fleet.Fleet
	b    *broker.Broker
	bits push.Sharding
}

// build starts a fleet, with one process of each role but for gateways.
func build(ctx context.Context, gateways int, bits push.Sharding) (*site, error) {
	f, err := fleet.Start(ctx, fleet.Shape{Brokers: 1, Ingest: 1, Matcher: 1, Deliver: gateways, Offline: 1, Bits: bits})
	if err != nil {
		return nil, err
	}
	b, err := broker.Open(ctx, f.Broker, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, errors.Join(err, f.Stop())
	}
	return &site{f, b, bits}, nil
}

func (s *site) stop() error {
	s.b.Close()
	return s.Stop()
}

// meter is what has been used so far, CPU by process.
type meter struct {
	at              time.Time
	cpu             map[*fleet.Process]time.Duration
	messages, bytes float64 // through the broker, either way
}

func (s *site) read(ctx context.Context) (m meter, err error) {
	m = meter{at: time.Now(), cpu: map[*fleet.Process]time.Duration{}}
	for _, role := range roles {
		for _, p := range s.Of(role) {
			if m.cpu[p], err = p.CPU(); err != nil {
				return m, fmt.Errorf("%s: %w", p.Name, err)
			}
		}
	}
	server := s.Of(fleet.Broker)[0]
	if m.messages, err = server.Metric(ctx, "carillon_broker_messages_total"); err != nil {
		return m, err
	}
	m.bytes, err = server.Metric(ctx, "carillon_broker_passed_bytes_total")
	return m, err
}

// use is what was used between two readings; CPU in ms.
type use struct {
	seconds         float64
	cpu             map[*fleet.Process]float64
	messages, bytes float64
}

func (m meter) since(before meter) use {
	u := use{m.at.Sub(before.at).Seconds(), map[*fleet.Process]float64{}, m.messages - before.messages, m.bytes - before.bytes}
	for p, used := range m.cpu {
		u.cpu[p] = ms(used - before.cpu[p])
	}
	return u
}

// of is a role's CPU.
func (u use) of(ps ...*fleet.Process) (sum float64) {
	for _, p := range ps {
		sum += u.cpu[p]
	}
	return sum
}

// less takes away what another use comes to in the same time, and divides the rest by so many.
func (u use) less(idle use, by int) use {
	n, times := float64(by), u.seconds/idle.seconds
	r := use{u.seconds / n, map[*fleet.Process]float64{}, (u.messages - idle.messages*times) / n, (u.bytes - idle.bytes*times) / n}
	for p, used := range u.cpu {
		r.cpu[p] = (used - idle.cpu[p]*times) / n
	}
	return r
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// wait for a while, or until ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	select { // the time wakes it, ctx ends it
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// during measures what is used while something is done, and at least for so long.
func (s *site) during(ctx context.Context, atLeast time.Duration, do func() error) (u use, err error) {
	before, err := s.read(ctx)
	if err != nil {
		return u, err
	}
	if err := do(); err != nil {
		return u, err
	}
	if err := wait(ctx, atLeast-time.Since(before.at)); err != nil {
		return u, err
	}
	now, err := s.read(ctx)
	return now.since(before), err
}

// cost of one push, of many that were made one after the other.
type cost struct {
	idle           use // while nothing is pushed, and nothing was a while ago
	push           use // without that, and without what becomes of it later
	later          use // of each, while pushes are counted for the first of some ten times; where it was asked for
	accept         float64
	audience, last float64 // ms from acceptance to the last audience on the broker, and to the last session; medians
	stored         float64 // bytes that the streams grow by
	resident       map[string]float64
}

const (
	roundWait = time.Minute
	lookEvery = 20 * time.Millisecond
)

// pushing is a stage of sessions, and what it pushes.
func (s *site) stage(ctx context.Context, gateways, accounts []string, saying map[string]any) (*crowd.Stage, error) {
	all := map[string]any{"MsgLifeTime": lifetime}
	for k, v := range saying {
		all[k] = v
	}
	stage, err := crowd.NewStage(ctx, crowd.Over(s.Fleet, gateways, accounts, all), crowd.Message(messageSize))
	if err != nil {
		return nil, err
	}
	if err := stage.Connect(ctx, len(accounts), 0); err != nil {
		return nil, errors.Join(err, stage.Stop())
	}
	return stage, nil
}

// cost measures pushes, each of which every session of the stage gets.
func (s *site) cost(ctx context.Context, o Options, stage *crowd.Stage, shards, pushes int) (c cost, err error) {
	if c.idle, err = s.during(ctx, o.Window, func() error { return nil }); err != nil {
		return c, err
	}
	if _, _, err := stage.Rounds(ctx, 1, 1); err != nil { // what is made when it is needed is there then
		return c, fmt.Errorf("warm up: %w", err)
	}
	if err := wait(ctx, o.Settle); err != nil {
		return c, err
	}
	before, err := s.bytes(ctx)
	if err != nil {
		return c, err
	}
	from, err := s.b.LastSeq(ctx, wire.AudiencesStream)
	if err != nil {
		return c, err
	}
	var accept, last []float64
	all, err := s.during(ctx, o.Window, func() error {
		for range pushes {
			accepted, arrived, err := stage.Push(ctx)
			if err != nil {
				return err
			}
			accept, last = append(accept, ms(accepted)), append(last, ms(slices.Max(arrived)))
		}
		return s.matched(ctx, from+uint64(pushes*shards))
	})
	if err != nil {
		return c, err
	}
	if o.later > 0 {
		later, err := s.during(ctx, o.later, func() error { return nil })
		if err != nil {
			return c, err
		}
		c.later = later.less(c.idle, pushes+1)
	}
	c.push, c.accept, c.last = all.less(c.idle, pushes), report.Median(accept...), report.Median(last...)
	after, err := s.bytes(ctx)
	if err != nil {
		return c, err
	}
	c.stored = (after - before) / float64(pushes)
	if c.audience, err = s.audiences(ctx, from); err != nil {
		return c, err
	}
	c.resident, err = s.resident()
	return c, err
}

// matched waits until AUDIENCES is as long as it is to be.
func (s *site) matched(ctx context.Context, want uint64) error {
	ctx, cancel := context.WithTimeout(ctx, roundWait)
	defer cancel()
	for {
		last, err := s.b.LastSeq(ctx, wire.AudiencesStream)
		if err == nil && last >= want {
			return nil
		}
		if e := wait(ctx, lookEvery); e != nil {
			return fmt.Errorf("AUDIENCES ends with %d instead of %d: %w", last, want, errors.Join(e, err))
		}
	}
}

// audiences says how long after a push's place in PUSHES its last audience stood in AUDIENCES, by the broker's clock: the
// median of the pushes behind a place in AUDIENCES, in ms.
func (s *site) audiences(ctx context.Context, after uint64) (float64, error) {
	latest := map[push.Seq]time.Time{}
	err := s.b.Fold(ctx, broker.FoldConfig{
		Stream: wire.AudiencesStream, Start: after + 1, StopWhenRead: true,
		Handle: func(m *broker.Message) error {
			place, err := wire.ParsePushPlace(m.Subject)
			if err == nil && m.Time.After(latest[place.Seq]) {
				latest[place.Seq] = m.Time
			}
			return err
		},
	})
	if err != nil {
		return 0, err
	}
	var took []float64
	for seq, at := range latest {
		m, err := s.b.Get(ctx, wire.PushesStream, uint64(seq))
		if err != nil {
			return 0, err
		}
		took = append(took, ms(at.Sub(m.Time)))
	}
	if len(took) == 0 {
		return 0, errors.New("there are no audiences")
	}
	return report.Median(took...), nil
}

// bytes of the streams.
func (s *site) bytes(ctx context.Context) (sum float64, err error) {
	sizes, err := s.b.Bytes(ctx)
	for _, n := range sizes {
		sum += float64(n)
	}
	return sum, err
}

// resident memory of each role's processes, in MiB.
func (s *site) resident() (map[string]float64, error) {
	all := map[string]float64{}
	for _, role := range roles {
		for _, p := range s.Of(role) {
			n, err := p.RSS()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", p.Name, err)
			}
			all[role] += float64(n) / (1 << 20)
		}
	}
	return all, nil
}
