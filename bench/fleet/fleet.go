// Package fleet runs Carillon as a fleet: the real binary, the servers of the broker and the roles in processes of their
// own, on free ports of the loopback, durable, in a directory that is removed afterwards. The processes die with this one,
// however it ends.
package fleet

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	mrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/carillon-push/carillon/bench/service"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/client"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// Roles of the processes; of Broker there is a server in each.
const (
	Broker  = "broker"
	Ingest  = "ingest"
	Matcher = "matcher"
	Deliver = "deliver"
	Offline = "offline"
)

// Shape says how many processes there are.
type Shape struct {
	// Brokers are one, or three with three replicas of everything.
	Brokers                           int
	Ingest, Matcher, Deliver, Offline int
	// Heartbeat of the sessions; zero for an hour, so that none comes between.
	Heartbeat time.Duration
	// Bits are the width of the shards; zero for the service's own.
	Bits push.Sharding
}

// Validate says what cannot work.
func (s Shape) Validate() error {
	if s.Brokers != 0 && s.Brokers != 1 && s.Brokers != 3 {
		return fmt.Errorf("a fleet has one or three brokers, not %d", s.Brokers)
	}
	if s.Brokers == 0 || s.Ingest < 0 || s.Matcher < 0 || s.Deliver < 0 || s.Offline < 0 {
		return errors.New("a fleet has a broker, and of no role less than none")
	}
	return nil
}

// Fleet is a service that runs.
type Fleet struct {
	// REST calls each of the ingest processes.
	REST []*client.REST
	// Gateways are host:port of the sessions, of each of the deliver processes.
	Gateways []string
	// Broker is how to reach the broker's servers.
	Broker broker.Config

	dir     string
	starter *starter
	roles   map[string][]*Process
}

// order in which the processes start; they end the other way round.
var order = []string{Broker, Offline, Matcher, Deliver, Ingest}

const startWait = time.Minute

// Start builds the service if that was not done yet, starts the processes, and returns when all are ready.
func Start(ctx context.Context, shape Shape) (*Fleet, error) {
	if err := shape.Validate(); err != nil {
		return nil, err
	}
	built, err := service.Binary()
	if err != nil {
		return nil, err
	}
	f := &Fleet{roles: map[string][]*Process{}, starter: newStarter()}
	if err := f.start(ctx, shape, built); err != nil {
		return nil, errors.Join(fmt.Errorf("start a fleet: %w", err), f.Stop())
	}
	return f, nil
}

func (f *Fleet) start(ctx context.Context, shape Shape, built []byte) (err error) {
	if f.dir, err = os.MkdirTemp("", "carillon-bench-"); err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	binary := filepath.Join(f.dir, "carillon")
	if err := service.Install(binary, built); err != nil {
		return err
	}
	if err := f.configure(shape, binary); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	if err := f.Up(ctx, f.roles[Broker]...); err != nil {
		return err
	}
	var rest []*Process
	for _, role := range order[1:] {
		rest = append(rest, f.roles[role]...)
	}
	return f.Up(ctx, rest...)
}

// configure writes the processes' configurations, which hold secrets of this run alone.
func (f *Fleet) configure(shape Shape, binary string) error {
	of := map[string]int{Ingest: shape.Ingest, Matcher: shape.Matcher, Deliver: shape.Deliver, Offline: shape.Offline}
	n := 3 * shape.Brokers
	for _, k := range of {
		n += 2 * k
	}
	ports, err := freePorts(n)
	if err != nil {
		return err
	}
	take := func() (p string) { p, ports = ports[0], ports[1:]; return p }
	password := rand.Text()
	var clients, routes []string
	for range shape.Brokers {
		clients, routes = append(clients, take()), append(routes, take())
	}
	for i := range shape.Brokers {
		nats := map[string]any{"listen": clients[i], "user": "carillon", "password": password, "replicas": shape.Brokers}
		name, probes := fmt.Sprintf("%s-%d", Broker, i+1), take()
		if shape.Brokers > 1 {
			others := append(append([]string{}, routes[:i]...), routes[i+1:]...)
			nats["node"], nats["cluster_listen"], nats["cluster_routes"] = name, routes[i], strings.Join(others, ",")
		}
		file, err := f.write(name, map[string]any{
			"data": filepath.Join(f.dir, name), "admin": map[string]any{"listen": probes}, "nats": nats,
			"log": map[string]any{"level": "warn"},
		})
		if err != nil {
			return err
		}
		f.add(Broker, probes, binary, Broker, "--config", file)
	}
	f.Broker = broker.Default()
	f.Broker.URL, f.Broker.Replicas = "nats://"+strings.Join(clients, ",nats://"), shape.Brokers
	f.Broker.Auth = broker.Auth{User: "carillon", Password: password}
	if shape.Bits > 0 {
		f.Broker.Sharding = shape.Bits
	}
	heartbeat := time.Hour
	if shape.Heartbeat > 0 {
		heartbeat = shape.Heartbeat
	}
	file, err := f.write("roles", map[string]any{
		"nats":     map[string]any{"url": f.Broker.URL, "user": "carillon", "password": password, "replicas": shape.Brokers},
		"sessions": map[string]any{"drain": "0s", "heartbeat": heartbeat.String(), "logins_per_second": 1_000_000},
		"log":      map[string]any{"level": "warn"},
		"sharding": map[string]any{"bits": f.Broker.Sharding},
		"apps":     service.Apps(),
	})
	if err != nil {
		return err
	}
	for _, role := range order[1:] {
		for range of[role] {
			rest, sessions := take(), take()
			f.add(role, rest, binary, role, "--config", file, "--http.listen", rest, "--sessions.listen", sessions)
			switch role {
			case Ingest:
				f.REST = append(f.REST, service.Caller("http://"+rest))
			case Deliver:
				f.Gateways = append(f.Gateways, sessions)
			}
		}
	}
	return nil
}

func (f *Fleet) add(role, probes string, command ...string) {
	name := fmt.Sprintf("%s-%d", role, len(f.roles[role])+1)
	f.roles[role] = append(f.roles[role], &Process{
		Name: name, Observed: service.Observed{URL: "http://" + probes}, command: command, log: filepath.Join(f.dir, name+".log"),
	})
}

func (f *Fleet) write(name string, cfg map[string]any) (file string, err error) {
	text, err := json.Marshal(cfg) // JSON is YAML
	if err == nil {
		file = filepath.Join(f.dir, name+".yaml")
		err = os.WriteFile(file, text, 0o600)
	}
	if err != nil {
		return "", fmt.Errorf("write the configuration of %s: %w", name, err)
	}
	return file, nil
}

// Ports are drawn from below those that the kernel gives to connections: a process that is down must find its own free.
const minPort, maxPort = 20_000, 32_000

func freePorts(n int) ([]string, error) {
	var found []string
	for range 100 * n {
		if len(found) == n {
			return found, nil
		}
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(minPort+mrand.IntN(maxPort-minPort)))
		if l, err := net.Listen("tcp", address); err == nil {
			defer l.Close() // all are kept until all are found, so that none is found twice
			found = append(found, address)
		}
	}
	return nil, fmt.Errorf("only %d of %d free ports were found", len(found), n)
}

// Up starts processes that are down, and waits until all of them are ready.
func (f *Fleet) Up(ctx context.Context, ps ...*Process) error {
	for _, p := range ps {
		if p.cmd == nil {
			if err := p.start(f.starter); err != nil {
				return err
			}
		}
	}
	for _, p := range ps {
		if err := p.Ready(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Of gives the processes of a role.
func (f *Fleet) Of(role string) []*Process { return f.roles[role] }

// First is the process of a role that does the work on the app's shards, of which there is one: the one that says that it
// holds a shard as the first, by a metric. It waits until one says so and no other does, and, of several processes, another
// stands by: without, the loss of the first would be that of two.
func (f *Fleet) First(ctx context.Context, role, metric string) (*Process, error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		var first []*Process
		var failed error
		standby := 0.0
		for _, p := range f.roles[role] {
			n, err := p.Metric(ctx, metric, `place="first"`)
			failed = errors.Join(failed, err)
			if n > 0 {
				first = append(first, p)
			}
			n, err = p.Metric(ctx, metric, `place="standby"`)
			failed, standby = errors.Join(failed, err), standby+n
		}
		if len(first) == 1 && failed == nil && (standby > 0 || len(f.roles[role]) == 1) {
			return first[0], nil
		}
		select { // the ticker wakes it, ctx ends it
		case <-ctx.Done():
			return nil, fmt.Errorf("find who of role %s does the work: %d say that they do: %w", role, len(first), errors.Join(ctx.Err(), failed))
		case <-tick.C:
		}
	}
}

// Leader is the broker's process that leads the pushes.
func (f *Fleet) Leader(ctx context.Context) (*Process, error) {
	b, err := broker.Connect(ctx, f.Broker, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer b.Close()
	name, err := b.Leader(ctx, wire.PushesStream)
	if err != nil {
		return nil, err
	}
	for _, p := range f.roles[Broker] {
		if p.Name == name {
			return p, nil
		}
	}
	return nil, fmt.Errorf("nobody leads %s", wire.PushesStream)
}

func (f *Fleet) all() (ps []*Process) {
	for i := len(order) - 1; i >= 0; i-- {
		ps = append(ps, f.roles[order[i]]...)
	}
	return ps
}

// CPU is what all processes have used so far, user and system.
func (f *Fleet) CPU() (sum time.Duration, err error) {
	for _, p := range f.all() {
		used, err := p.CPU()
		if err != nil {
			return 0, fmt.Errorf("%s: %w", p.Name, err)
		}
		sum += used
	}
	return sum, nil
}

// RSS is the resident memory of all processes in bytes; each counts the binary that they share.
func (f *Fleet) RSS() (sum int64, err error) {
	for _, p := range f.all() {
		n, err := p.RSS()
		if err != nil {
			return 0, fmt.Errorf("%s: %w", p.Name, err)
		}
		sum += n
	}
	return sum, nil
}

// Metric reads one metric, summed over its labels and the processes that have it.
func (f *Fleet) Metric(ctx context.Context, name string, labels ...string) (sum float64, err error) {
	found := false
	for _, p := range f.all() {
		v, err := p.Metric(ctx, name, labels...)
		if errors.Is(err, service.ErrNoMetric) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("%s: %w", p.Name, err)
		}
		sum, found = sum+v, true
	}
	if !found {
		return 0, fmt.Errorf("read the metric %s: %w", name, service.ErrNoMetric)
	}
	return sum, nil
}

// Import makes accounts.
func (f *Fleet) Import(ctx context.Context, accounts []string) error {
	return Try(ctx, func(ctx context.Context) error { return service.Import(ctx, f.REST[0], accounts) })
}

const (
	tryWait  = 30 * time.Second
	tryPause = 200 * time.Millisecond
)

// Try does something again until it succeeds, for a while: a cluster that has just begun may have other leaders in a moment.
// It is for what can be done twice.
func Try(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, tryWait)
	defer cancel()
	for {
		err := do(ctx)
		if err == nil {
			return nil
		}
		select { // the pause wakes it, ctx ends it
		case <-ctx.Done():
			return err
		case <-time.After(tryPause):
		}
	}
}

// Stop ends every process, waits for them, and removes their directory. Its error holds what must not be in a log.
func (f *Fleet) Stop() error {
	var errs []error
	for _, r := range f.REST {
		r.HTTP.CloseIdleConnections()
	}
	for _, p := range f.all() {
		p.Signal(syscall.SIGCONT) // one that is stopped could not end
		errs = append(errs, p.end())
	}
	f.starter.close()
	if f.dir != "" {
		errs = append(errs, os.RemoveAll(f.dir))
	}
	return errors.Join(errs...)
}
