package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// The app of the run.
const (
	appID push.AppID = 1400000001
	admin            = "administrator"
)

// roles are in the order in which their processes end.
var roles = []string{"ingest", "deliver", "matcher", "offline"}

// nodes of the broker.
const nodes = 3

// site is all processes, and where they are.
type site struct {
	starter        *starter
	brokers, roles []*process
	rest, sessions []string
	key            string // the app's
	broker         broker.Config
}

// newSite writes the processes' configurations; up starts them. Each run has secrets of its own.
func newSite(binary, dir string) (*site, error) {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", binary, err)
	}
	ports, err := freePorts(nodes*3 + len(roles)*2*2)
	if err != nil {
		return nil, err
	}
	take := func() (p string) { p, ports = ports[0], ports[1:]; return p }
	s := &site{key: rand.Text()}
	password := rand.Text()
	var clients, routes []string
	for range nodes {
		clients, routes = append(clients, take()), append(routes, take())
	}
	for i := range nodes {
		name, probes := fmt.Sprintf("broker-%d", i+1), take()
		var others []string
		for j, r := range routes {
			if j != i {
				others = append(others, r)
			}
		}
		file, err := write(dir, name, map[string]any{
			"data":  filepath.Join(dir, name),
			"admin": map[string]any{"listen": probes},
			"nats": map[string]any{
				"listen": clients[i], "user": "carillon", "password": password, "replicas": nodes,
				"node": name, "cluster_listen": routes[i], "cluster_routes": strings.Join(others, ","),
			},
		})
		if err != nil {
			return nil, err
		}
		s.brokers = append(s.brokers, &process{
			name: name, command: []string{binary, "broker", "--config", file}, health: "http://" + probes + "/readyz",
			log: filepath.Join(dir, name+".log"),
		})
	}
	s.broker = broker.Default()
	s.broker.URL, s.broker.Replicas = "nats://"+strings.Join(clients, ",nats://"), nodes
	s.broker.Auth = broker.Auth{User: "carillon", Password: password}
	file, err := write(dir, "roles", map[string]any{
		"nats":     map[string]any{"url": s.broker.URL, "user": "carillon", "password": password, "replicas": nodes},
		"sessions": map[string]any{"drain": "1s"},
		"apps": []any{map[string]any{
			"sdkappid": appID, "key": s.key, "admins": []string{admin}, "push_interval": "0s", "push_per_day": 0, "calls_per_second": 1_000_000,
		}},
	})
	if err != nil {
		return nil, err
	}
	for _, role := range roles {
		for i := range 2 {
			name, rest, sessions := fmt.Sprintf("%s-%d", role, i+1), take(), take()
			s.roles = append(s.roles, &process{
				name: name, health: "http://" + rest + "/readyz", log: filepath.Join(dir, name+".log"),
				command: []string{binary, role, "--config", file, "--http.listen", rest, "--sessions.listen", sessions},
			})
			switch role {
			case "ingest":
				s.rest = append(s.rest, "http://"+rest)
			case "deliver":
				s.sessions = append(s.sessions, "ws://"+sessions)
			}
		}
	}
	s.starter = newStarter()
	return s, nil
}

// write writes a configuration, which holds secrets, for its owner alone.
func write(dir, name string, cfg map[string]any) (file string, err error) {
	text, err := json.MarshalIndent(cfg, "", "  ") // JSON is YAML
	if err != nil {
		return "", fmt.Errorf("write the configuration of %s: %w", name, err)
	}
	file = filepath.Join(dir, name+".yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
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

// up starts processes and waits until all of them are ready.
func (s *site) up(ctx context.Context, ps []*process) error {
	for _, p := range ps {
		if err := p.start(s.starter); err != nil {
			return err
		}
	}
	for _, p := range ps {
		if err := p.ready(ctx); err != nil {
			return err
		}
	}
	return nil
}

// leader is the broker's process that leads PUSHES.
func (s *site) leader(ctx context.Context) (*process, error) {
	b, err := broker.Connect(ctx, s.broker, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer b.Close()
	name, err := b.Leader(ctx, wire.PushesStream)
	if err != nil {
		return nil, err
	}
	for _, p := range s.brokers {
		if p.name == name {
			return p, nil
		}
	}
	return nil, fmt.Errorf("nobody leads %s", wire.PushesStream)
}

// stop ends every process in order, and looks into their logs.
func (s *site) stop() error {
	var errs []error
	for _, p := range append(append([]*process{}, s.roles...), s.brokers...) {
		errs = append(errs, p.stop(), p.inspect())
	}
	return errors.Join(errs...)
}

// logs shows how each process's log ends.
func (s *site) logs(out io.Writer) {
	for _, p := range append(append([]*process{}, s.roles...), s.brokers...) {
		fmt.Fprintf(out, "the log of %s ends with:\n%s\n", p.name, p.lastLines(8))
	}
}

// close kills what is left.
func (s *site) close() {
	for _, p := range append(append([]*process{}, s.roles...), s.brokers...) {
		p.kill()
	}
	s.starter.close()
}
