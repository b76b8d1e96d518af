package soak

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/carillon-push/carillon/cmd/internal/soak/lab"
	"github.com/carillon-push/carillon/pkg/push"
)

// ClusterConfig says what to start.
type ClusterConfig struct {
	// Binary is the carillon to try.
	Binary string
	// Nodes of the broker: one, which Broker serves, or three, which are processes of Binary and hold everything three times.
	Nodes int
	// Broker is the command that serves a single broker (ServeBroker) in a process of its own; the cluster adds the data
	// directory and the address.
	Broker []string
	// BrokerEnv is added to that command's environment.
	BrokerEnv []string
	// Dir is for the processes' files and logs.
	Dir string
	// Ingest, Matcher, Deliver and Offline are how many processes of each there are.
	Ingest, Matcher, Deliver, Offline int
	// ShardBits make a shard of two to the power of so many accounts.
	ShardBits int
	// Lab gives every process a host of its own in a network that can be cut, and a node a disk that can be full or slow. It
	// needs the namespaces of lab.Enter.
	Lab bool
	// Clocked is a carillon whose clock can be wrong (lab.Clock), and Skew by how much: in one process of each role, and in one
	// of three nodes. Zero for clocks that are right.
	Clocked string
	Skew    time.Duration
}

// DefaultCluster has one broker, and two processes of each role.
func DefaultCluster() ClusterConfig {
	return ClusterConfig{Nodes: 1, Ingest: 2, Matcher: 2, Deliver: 2, Offline: 2, ShardBits: 9}
}

// ChaosCluster has three brokers, and two processes of each role.
func ChaosCluster() ClusterConfig {
	c := DefaultCluster()
	c.Nodes, c.ShardBits = 3, 12
	return c
}

// Validate says what is wrong, in a sentence.
func (c ClusterConfig) Validate() error {
	switch {
	case c.Ingest < 1 || c.Matcher < 1 || c.Deliver < 1 || c.Offline < 1:
		return errors.New("there must be a process of each role")
	case c.Nodes != 1 && c.Nodes != 3:
		return fmt.Errorf("the broker has one node or three, not %d", c.Nodes)
	case c.ShardBits < 4 || c.ShardBits > 20:
		return fmt.Errorf("a shard has 4 to 20 bits, not %d", c.ShardBits)
	case c.Binary == "" || c.Dir == "" || c.Nodes == 1 && len(c.Broker) == 0:
		return errors.New("a cluster needs the binary, a directory and the broker's command")
	case c.Skew != 0 && c.Clocked == "":
		return errors.New("a clock can be wrong only in a binary that was made for it")
	case c.Skew < 0 || c.Skew%time.Second != 0:
		return fmt.Errorf("clocks are wrong by whole seconds, not by %v", c.Skew)
	}
	return nil
}

// The app of the runs.
const (
	soakApp   push.AppID = 1400000001
	soakAdmin            = "administrator"
	soakKey              = "a key for trials only"
)

// Ports of hosts that share theirs with nobody.
const (
	restPort     = 8080
	sessionsPort = 8081
	probesPort   = 8082
	natsPort     = 4222
	routePort    = 6222
)

// plan makes the processes of a cluster, with their places and configurations.
type plan struct {
	ClusterConfig
	c     *Cluster
	ports []string // of the loopback interface, where there is no network
	auth  map[string]any
	nodes []string // addresses of the broker
}

// newPlan prepares the places.
func newPlan(cfg ClusterConfig, c *Cluster) (*plan, error) {
	p := &plan{ClusterConfig: cfg, c: c, auth: map[string]any{}}
	if c.net != nil {
		return p, nil
	}
	var err error
	p.ports, err = freePorts(3*cfg.Nodes + 2*(cfg.Ingest+cfg.Matcher+cfg.Deliver+cfg.Offline))
	return p, err
}

// host is where a process is to be; none without a network.
func (p *plan) host() (*lab.Host, error) {
	if p.c.net == nil {
		return nil, nil
	}
	return p.c.net.Add()
}

// address of a process in its host, or one that nobody has.
func (p *plan) address(h *lab.Host, port int) string {
	if h != nil {
		return net.JoinHostPort(h.IP, strconv.Itoa(port))
	}
	free := p.ports[0]
	p.ports = p.ports[1:]
	return free
}

// single is the broker alone.
func (p *plan) single() error {
	h, err := p.host()
	if err != nil {
		return err
	}
	at := p.address(h, natsPort)
	p.nodes = []string{at}
	p.c.add(p.Dir, &process{slot: Broker, host: h, args: slices.Concat(p.Broker, []string{filepath.Join(p.Dir, Broker), at}), env: p.BrokerEnv, health: at})
	return nil
}

// three are the nodes of a cluster. The second has a clock that can be wrong, the third a disk that can be full or slow.
func (p *plan) three() error {
	p.auth = map[string]any{"user": "carillon", "password": rand.Text(), "replicas": p.Nodes}
	hosts, routes := make([]*lab.Host, p.Nodes), make([]string, p.Nodes)
	for i := range p.Nodes {
		h, err := p.host()
		if err != nil {
			return err
		}
		hosts[i], routes[i] = h, p.address(h, routePort)
		p.nodes = append(p.nodes, p.address(h, natsPort))
	}
	for i, h := range hosts {
		slot, probes := fmt.Sprintf("%s-%d", Broker, i+1), p.address(h, probesPort)
		data := filepath.Join(p.Dir, slot)
		if i == p.Nodes-1 && p.Lab {
			p.c.mount(slot, data+".disk", data)
		}
		nats := map[string]any{
			"listen": p.nodes[i], "node": slot, "cluster_listen": routes[i],
			"cluster_routes": strings.Join(slices.Delete(slices.Clone(routes), i, i+1), ","),
		}
		for k, v := range p.auth {
			nats[k] = v
		}
		file, err := p.write(slot, map[string]any{"data": data, "admin": map[string]any{"listen": probes}, "nats": nats})
		if err != nil {
			return err
		}
		p.c.add(p.Dir, p.clocked(i == 1, p.Skew, &process{
			slot: slot, host: h, args: []string{p.Binary, Broker, "--config", file}, health: "http://" + probes + "/readyz",
		}))
	}
	return nil
}

// roles are the other processes. The second of each has a clock that can be wrong: early or late.
func (p *plan) roles() error {
	nats := map[string]any{"url": "nats://" + strings.Join(p.nodes, ",nats://")}
	for k, v := range p.auth {
		nats[k] = v
	}
	file, err := p.write("carillon", map[string]any{
		"nats":     nats,
		"sharding": map[string]any{"bits": p.ShardBits},
		"sessions": map[string]any{"heartbeat": "5s", "drain": "2s", "queue": 64 << 10, "per_account": 8},
		"log":      map[string]any{"access": "off"},
		"apps": []any{map[string]any{
			"sdkappid": soakApp, "key": soakKey, "admins": []string{soakAdmin},
			"push_interval": "0s", "push_per_day": 0, "calls_per_second": 1_000_000,
		}},
	})
	if err != nil {
		return err
	}
	for _, role := range []struct {
		name string
		n    int
		skew time.Duration
	}{{Ingest, p.Ingest, p.Skew}, {Matcher, p.Matcher, -p.Skew}, {Deliver, p.Deliver, p.Skew}, {Offline, p.Offline, -p.Skew}} {
		for i := range role.n {
			h, err := p.host()
			if err != nil {
				return err
			}
			rest, sessions := p.address(h, restPort), p.address(h, sessionsPort)
			slot := fmt.Sprintf("%s-%d", role.name, i+1)
			p.c.add(p.Dir, p.clocked(i == 1, role.skew, &process{
				slot: slot, host: h, health: "http://" + rest + "/readyz",
				args: []string{p.Binary, role.name, "--config", file, "--http.listen", rest, "--sessions.listen", sessions},
			}))
			switch role.name {
			case Ingest:
				p.c.site.REST = append(p.c.site.REST, "http://"+rest)
			case Deliver:
				p.c.site.Gateways, p.c.site.Names = append(p.c.site.Gateways, sessions), append(p.c.site.Names, slot)
			}
		}
	}
	return nil
}

// clocked makes the clock of a process wrong, where it is to be.
func (p *plan) clocked(wrong bool, by time.Duration, of *process) *process {
	if wrong && p.Skew != 0 {
		of.args[0], of.env = p.Clocked, append(of.env, lab.ClockEnv(by))
	}
	return of
}

// write writes a configuration, which holds secrets, for its owner alone.
func (p *plan) write(name string, cfg map[string]any) (file string, err error) {
	text, err := json.MarshalIndent(cfg, "", "  ") // JSON is YAML
	if err != nil {
		return "", fmt.Errorf("write the configuration of %s: %w", name, err)
	}
	file = filepath.Join(p.Dir, name+".yaml")
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
