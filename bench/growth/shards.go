package growth

import (
	"context"
	"errors"
	"fmt"

	"github.com/carillon-push/carillon/bench/fleet"
	"github.com/carillon-push/carillon/bench/report"
)

// point builds a fleet with full shards and sessions at its gateways, and measures pushes to everybody.
func point(ctx context.Context, o Options, shards, gateways, busy int, then func(*site, cost) error) (err error) {
	s, err := build(ctx, gateways, o.Bits)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	users := shards<<o.Bits - 1 // ordinals begin with 1
	if err := s.fill(ctx, 0, users); err != nil {
		return err
	}
	stage, err := s.stage(ctx, s.Gateways[:busy], accounts(o.Sessions, users), nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.Stop()) }()
	c, err := s.cost(ctx, o, stage, shards, o.Pushes)
	if err != nil {
		return err
	}
	return then(s, c)
}

// grown are the series of an axis.
type grown struct {
	cpu, idle, resident      map[string]*series
	messages, bytes, calm    *series
	stored, audience, arrive *series
}

func newGrown(one string) *grown {
	of := func(what, unit, per string, times float64) *series {
		return &series{one: one, what: what, unit: unit, per: per + " and " + one, times: times}
	}
	g := &grown{cpu: map[string]*series{}, idle: map[string]*series{}, resident: map[string]*series{}}
	for _, role := range roles {
		g.cpu[role] = of("CPU of the "+called[role]+" a push", "ms", "µs a push", 1000)
		if role == fleet.Ingest {
			continue // it holds nothing, and does nothing by itself
		}
		g.idle[role] = of("CPU of the "+called[role]+" while idle", "ms/s", "µs a second", 1000)
		g.resident[role] = of("resident memory of the "+called[role], "MiB", "KiB", 1024)
		g.resident[role].per = "KiB a " + one
	}
	g.messages = of("messages through the broker a push", "messages", "messages a push", 1)
	g.bytes = of("bytes through the broker a push", "KB", "bytes a push", 1000)
	g.calm = of("messages through the broker while idle", "messages/s", "messages a second", 1)
	g.stored = of("bytes of the streams a push", "KB", "bytes a push", 1000)
	g.audience = of("from acceptance to the last audience", "ms", "µs a push", 1000)
	g.arrive = of("from acceptance to the last session", "ms", "µs a push", 1000)
	return g
}

func (g *grown) add(at int, s *site, c cost) {
	for _, role := range roles {
		g.cpu[role].add(at, c.push.of(s.Of(role)...))
		if role == fleet.Ingest {
			continue
		}
		g.idle[role].add(at, c.idle.of(s.Of(role)...)/c.idle.seconds)
		g.resident[role].add(at, c.resident[role])
	}
	g.messages.add(at, c.push.messages)
	g.bytes.add(at, c.push.bytes/1000)
	g.calm.add(at, c.idle.messages/c.idle.seconds)
	g.stored.add(at, c.stored/1000)
	g.audience.add(at, c.audience)
	g.arrive.add(at, c.last)
}

func (g *grown) figures() (all []report.Figure) {
	for _, by := range []map[string]*series{g.cpu, g.idle, g.resident} {
		for _, role := range roles {
			if s := by[role]; s != nil {
				all = append(all, s.figures()...)
			}
		}
	}
	for _, s := range []*series{g.messages, g.bytes, g.calm, g.stored, g.audience, g.arrive} {
		all = append(all, s.figures()...)
	}
	return all
}

// shards measures the first axis: one process of each role, the same sessions spread over all shards.
func shards(ctx context.Context, o Options) ([]report.Figure, error) {
	g := newGrown("shard")
	var counting []report.Figure
	for i, n := range o.Shards {
		if i == len(o.Shards)-1 {
			o.later = o.Later
		}
		err := point(ctx, o, n, 1, 1, func(s *site, c cost) error {
			g.add(n, s, c)
			if o.later > 0 {
				counting = counted(n, s, c)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("with %d shards: %w", n, err)
		}
	}
	return append(g.figures(), counting...), nil
}

// counted is what it takes to count a push once. That is done when it is five seconds old, and then whenever it is four times
// as old, some ten times in eight days.
func counted(shards int, s *site, c cost) []report.Figure {
	name := "growth: " + report.Text(float64(shards)) + " shards: "
	const note = "of some ten times in a push's eight days, and what receipts change in its entries"
	return []report.Figure{
		report.New(name+"CPU of all processes to count a push once", "ms", c.later.of(append(s.others(), s.Of(fleet.Broker)...)...)).Noting(note),
		report.New(name+"messages through the broker to count a push once", "messages", c.later.messages).Noting(note),
	}
}

// gatewayShards is how many shards there are while gateways grow.
const gatewayShards = 8

// gateways measures the second axis: the same sessions shared by more gateways, and what those cost that have none.
func gateways(ctx context.Context, o Options) ([]report.Figure, error) {
	g := newGrown("gateway")
	for _, n := range o.Gateways {
		err := point(ctx, o, gatewayShards, n, n, func(s *site, c cost) error {
			g.add(n, s, c)
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("with %d gateways: %w", n, err)
		}
	}
	var idle, busy, calm float64
	most := o.Gateways[len(o.Gateways)-1]
	err := point(ctx, o, gatewayShards, most, 1, func(s *site, c cost) error {
		all := s.Of(fleet.Deliver)
		others := float64(len(all) - 1)
		busy, idle, calm = c.push.of(all[0]), c.push.of(all[1:]...)/others, c.idle.of(all[1:]...)/others/c.idle.seconds
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("with %d gateways, of which one has sessions: %w", most, err)
	}
	name := fmt.Sprintf("growth: %d gateways, one with all sessions: CPU of each other a push", most)
	return append(g.figures(), report.New(name, "ms", idle).
		Noting("of %d shards; of the one with %d sessions %s ms; while idle %s ms a second", gatewayShards, o.Sessions, report.Text(busy), report.Text(calm))), nil
}
