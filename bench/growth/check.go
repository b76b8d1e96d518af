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

// Outcome of a run, as it was measured or is predicted.
type Outcome struct {
	Memory
	All, Some Push    // to everybody, and to one user in ten
	Login     float64 // ms of CPU of all processes
	// BrokerStart is how long the broker takes to start with all accounts, and RolesStart the roles to read everything, in s.
	BrokerStart, RolesStart float64
}

// tenthShare is the share of the users that have the tag.
const tenthShare = 0.1

// Predict is what the model says of a run in which so many pushes of either kind live.
func (f Fleet) Predict(pushes float64) Outcome {
	return Outcome{
		Memory: f.Memory(2*pushes, pushes*(f.Audience(1)+f.Audience(tenthShare))),
		All:    f.Push(1), Some: f.Push(tenthShare), Login: login.value,
		BrokerStart: brokerStart.value * f.Users / 1e6, RolesStart: matcherStart.value * f.Users / 1e6,
	}
}

// comparison of one cost.
type comparison struct {
	what, unit          string
	predicted, measured float64
}

// against holds what was measured against what was predicted.
func (m Outcome) against(p Outcome) []comparison {
	list := []comparison{
		{"resident memory of the broker", "MiB", p.Broker, m.Broker},
		{"resident memory of the matcher", "MiB", p.Matcher, m.Matcher},
		{"resident memory of the gateways", "MiB", p.Deliver, m.Deliver},
		{"resident memory of the offline worker", "MiB", p.Offline, m.Offline},
		{"bytes of the streams, all accounts", "MB", p.Disk / 1e6, m.Disk / 1e6},
		{"the broker's start", "s", p.BrokerStart, m.BrokerStart},
		{"the roles' start, from their logs", "s", p.RolesStart, m.RolesStart},
		{"CPU of all processes a login", "ms", p.Login, m.Login},
	}
	for _, of := range []struct {
		name string
		p, m Push
	}{{"a push to all: ", p.All, m.All}, {"a push to one in ten: ", p.Some, m.Some}} {
		list = append(list,
			comparison{of.name + "CPU of the ingest process", "ms", of.p.Ingest, of.m.Ingest},
			comparison{of.name + "CPU of the broker", "ms", of.p.Broker, of.m.Broker},
			comparison{of.name + "CPU of the matcher", "ms", of.p.Matcher, of.m.Matcher},
			comparison{of.name + "CPU of the gateways", "ms", of.p.Deliver, of.m.Deliver},
			comparison{of.name + "CPU of the offline worker", "ms", of.p.Offline, of.m.Offline},
			comparison{of.name + "messages through the broker", "messages", of.p.Messages, of.m.Messages},
			comparison{of.name + "bytes through the broker", "KB", of.p.Bytes / 1000, of.m.Bytes / 1000},
			comparison{of.name + "bytes of the streams", "KB", of.p.Stored / 1000, of.m.Stored / 1000},
			comparison{of.name + "from acceptance to the last audience", "ms", of.p.Audiences, of.m.Audiences},
			comparison{of.name + "from acceptance to the last session", "ms", of.p.Last, of.m.Last},
		)
	}
	return list
}

// as is a cost in the model's words.
func (c cost) as(s *site) Push {
	return Push{
		Ingest: c.push.of(s.Of(fleet.Ingest)...), Matcher: c.push.of(s.Of(fleet.Matcher)...), Broker: c.push.of(s.Of(fleet.Broker)...),
		Deliver: c.push.of(s.Of(fleet.Deliver)...), Offline: c.push.of(s.Of(fleet.Offline)...),
		Messages: c.push.messages, Bytes: c.push.bytes, Stored: c.stored, Audiences: c.audience, Last: c.last,
	}
}

// Fleet of the largest run.
func (c Check) Fleet() Fleet {
	return Fleet{
		Users: float64(c.Accounts[len(c.Accounts)-1]), Width: float64(c.Bits.Width()), Sessions: float64(c.Sessions),
		Gateways: float64(c.Gateways), Matchers: 1, Offline: 1, Replicas: 1,
	}
}

// checked is a largest run at work.
type checked struct {
	Outcome
	accounts, disk series  // the broker's memory, and its bytes
	registered     float64 // accounts a second
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
	others, server := s.others(), s.Of(fleet.Broker)
	for _, p := range others { // they would only be in the way of the filling
		p.Kill()
	}
	if err := m.fill(ctx, c, s); err != nil {
		return err
	}
	server[0].Kill()
	begun := time.Now()
	if err := s.Up(ctx, server...); err != nil {
		return err
	}
	m.BrokerStart = time.Since(begun).Seconds()
	begun = time.Now()
	if err := s.Up(ctx, others...); err != nil {
		return err
	}
	m.RolesStart = time.Since(begun).Seconds()
	shards := int(s.bits.Shard(push.Ordinal(users))) + 1
	some, all, login, err := s.phases(ctx, o, c.Sessions, users, shards)
	if err != nil {
		return err
	}
	m.Some, m.All, m.Login = some.as(s), all.as(s), login
	r := all.resident
	m.Broker, m.Matcher, m.Deliver, m.Offline = r[fleet.Broker], r[fleet.Matcher], r[fleet.Deliver], r[fleet.Offline]
	return nil
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
		m.Disk = bytes
	}
	m.registered = float64(from) / time.Since(begun).Seconds()
	return nil
}

// phases pushes to one user in ten, of whom some are online, and then to all, with sessions of users for whom nothing waits.
func (s *site) phases(ctx context.Context, o Options, sessions, users, shards int) (some, all cost, login float64, err error) {
	names := pick(max(sessions/10, 1), users, inTenth)
	some, _, err = s.phase(ctx, o, names, shards, map[string]any{"Condition": map[string]any{"TagsOr": []string{tenth}}})
	if err != nil {
		return some, all, 0, fmt.Errorf("pushes to one user in ten: %w", err)
	}
	if err := wait(ctx, o.Later); err != nil { // they are being counted
		return some, all, 0, err
	}
	names = pick(sessions, users, func(i int) bool { return !inTenth(i) })
	all, login, err = s.phase(ctx, o, names, shards, nil)
	if err != nil {
		return some, all, 0, fmt.Errorf("pushes to all: %w", err)
	}
	return some, all, login, nil
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

// figures are what accounts cost, and each cost of the run as it was predicted by what was measured: 1 is a hit.
func (m *checked) figures(c Check) (all []report.Figure) {
	all = append(m.accounts.figures(), m.disk.figures()...)
	f := c.Fleet()
	all = append(all, report.New("growth: the largest run: accounts written", "accounts/s", m.registered).
		Noting("%s accounts in %s shards, %s sessions at %s gateways", report.Text(f.Users), report.Text(f.Shards()), report.Text(f.Sessions), report.Text(f.Gateways)))
	for _, x := range m.against(f.Predict(float64(c.Pushes + 1))) {
		all = append(all, report.New("growth: the largest run: "+x.what+", predicted / measured", "times", x.predicted/x.measured).
			Noting("predicted %s %s, measured %s", report.Text(x.predicted), x.unit, report.Text(x.measured)))
	}
	return all
}
