package growth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/carillon-push/carillon/bench/crowd"
	"github.com/carillon-push/carillon/bench/fleet"
	"github.com/carillon-push/carillon/bench/report"
	"github.com/carillon-push/carillon/pkg/push"
)

// Check is the largest run, which the model is held against: real accounts with twenty tags and values each, on one broker,
// one matcher, one offline worker, and sessions at some gateways.
type Check struct {
	// Accounts at which the broker's memory is looked at, ascending; the last is what the rest is measured with.
	Accounts []int
	Bits     push.Sharding
	Gateways int
	Sessions int
	// Pushes of each kind: to all, and to one user in ten at random.
	Pushes int
}

// checked is what the largest run came to.
type checked struct {
	accounts           series // the broker's memory
	disk               series
	grown, restarted   float64            // MiB of the broker, as it was filled and after its restart
	brokerStart, start float64            // s
	fillRate           float64            // accounts a second
	loaded             map[string]float64 // MiB, of roles that have read everything
	login              float64            // CPU ms of all processes
	all, some          cost
}

// check fills a fleet, restarts it, logs everybody in and pushes, and holds each cost against the model.
func check(ctx context.Context, o Options) (figures []report.Figure, err error) {
	c := o.Check
	s, err := build(ctx, c.Gateways, c.Bits)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	var m checked
	if err := m.measure(ctx, o, s); err != nil {
		return nil, fmt.Errorf("the largest run, %d accounts and %d sessions: %w", c.Accounts[len(c.Accounts)-1], c.Sessions, err)
	}
	return m.figures(c), nil
}

func (m *checked) measure(ctx context.Context, o Options, s *site) error {
	c, users := o.Check, o.Check.Accounts[len(o.Check.Accounts)-1]
	var err error
	others := s.others()
	for _, p := range others { // they would only be in the way of the filling
		p.Kill()
	}
	if err := m.fill(ctx, c, s); err != nil {
		return err
	}
	server := s.Of(fleet.Broker)
	server[0].Kill()
	begun := time.Now()
	if err := s.Up(ctx, server...); err != nil {
		return err
	}
	m.brokerStart = time.Since(begun).Seconds()
	if m.restarted, err = mebibytes(server[0]); err != nil {
		return err
	}
	begun = time.Now()
	if err := s.Up(ctx, others...); err != nil {
		return err
	}
	m.start = time.Since(begun).Seconds()
	if m.loaded, err = s.resident(); err != nil {
		return err
	}
	return m.push(ctx, o, s, users)
}

// others are all processes but the broker.
func (s *site) others() (ps []*fleet.Process) {
	for _, role := range roles[1:] {
		ps = append(ps, s.Of(role)...)
	}
	return ps
}

func mebibytes(p *fleet.Process) (float64, error) {
	n, err := p.RSS()
	return float64(n) / (1 << 20), err
}

func (m *checked) fill(ctx context.Context, c Check, s *site) error {
	m.accounts = series{one: "account", what: "resident memory of the broker", unit: "MiB", per: "bytes an account", times: 1 << 20}
	m.disk = series{one: "account", what: "bytes of the streams", unit: "MB", per: "bytes an account", times: 1e6}
	from, begun := 0, time.Now()
	for _, n := range c.Accounts {
		if err := s.fill(ctx, from, n); err != nil {
			return err
		}
		from = n
		rss, err := mebibytes(s.Of(fleet.Broker)[0])
		if err != nil {
			return err
		}
		bytes, err := s.bytes(ctx)
		if err != nil {
			return err
		}
		m.accounts.add(n, rss)
		m.disk.add(n, bytes/1e6)
		m.grown = rss
	}
	m.fillRate = float64(from) / time.Since(begun).Seconds()
	return nil
}

// push pushes to one user in ten, of whom some are online, and then to all, with everybody online for whom nothing waits.
func (m *checked) push(ctx context.Context, o Options, s *site, users int) (err error) {
	c := o.Check
	shards := int(s.bits.Shard(push.Ordinal(users))) + 1
	some := pick(max(c.Sessions/10, 1), users, inTenth)
	m.some, _, err = s.phase(ctx, o, some, shards, map[string]any{"Condition": map[string]any{"TagsOr": []string{tenth}}})
	if err != nil {
		return fmt.Errorf("pushes to one user in ten: %w", err)
	}
	all := pick(c.Sessions, users, func(i int) bool { return !inTenth(i) })
	m.all, m.login, err = s.phase(ctx, o, all, shards, nil)
	if err != nil {
		return fmt.Errorf("pushes to all: %w", err)
	}
	return nil
}

// phase logs users in, which costs so many ms of CPU each, pushes, and logs them out.
func (s *site) phase(ctx context.Context, o Options, names []string, shards int, saying map[string]any) (c cost, login float64, err error) {
	var stage *crowd.Stage
	u, err := s.during(ctx, time.Millisecond, func() (err error) {
		stage, err = s.stage(ctx, s.Gateways, names, saying)
		return err
	})
	if stage != nil {
		defer func() { err = errors.Join(err, stage.Stop()) }()
	}
	if err != nil {
		return c, 0, err
	}
	for _, role := range roles {
		login += u.of(s.Of(role)...) / float64(len(names))
	}
	c, err = s.cost(ctx, o, stage, shards, o.Check.Pushes)
	return c, login, err
}

// pick takes so many users that are wanted, from all over.
func pick(n, of int, wanted func(int) bool) (names []string) {
	stride := max(of/(n*20), 1)
	for offset := range stride {
		for i := offset; i < of && len(names) < n; i += stride {
			if wanted(i) {
				names = append(names, account(i))
			}
		}
	}
	return names
}

// figures, for now without the model.
func (m *checked) figures(c Check) (all []report.Figure) {
	all = append(all, m.accounts.figures()...)
	all = append(all, m.disk.figures()...)
	return append(all, m.held(c)...)
}

func (m *checked) held(c Check) (all []report.Figure) {
	add := func(what, unit string, v float64) {
		all = append(all, report.New("growth: the largest run: "+what, unit, v))
	}
	add("fill", "accounts/s", m.fillRate)
	add("broker restarted RSS", "MiB", m.restarted)
	add("broker start", "s", m.brokerStart)
	add("roles start", "s", m.start)
	add("login", "ms", m.login)
	for _, role := range roles {
		add("loaded "+role, "MiB", m.loaded[role])
	}
	for k, x := range map[string]cost{"all": m.all, "some": m.some} {
		for _, role := range roles {
			ps := 0.0
			for p, v := range x.push.cpu {
				if len(p.Name) > len(role) && p.Name[:len(role)] == role {
					ps += v
				}
			}
			add(k+" cpu "+role, "ms", ps)
			add(k+" resident "+role, "MiB", x.resident[role])
		}
		add(k+" messages", "", x.push.messages)
		add(k+" bytes", "KB", x.push.bytes/1e3)
		add(k+" stored", "KB", x.stored/1e3)
		add(k+" audience", "ms", x.audience)
		add(k+" last", "ms", x.last)
	}
	return all
}
