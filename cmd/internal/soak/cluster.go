package soak

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
)

// ClusterConfig says what to start.
type ClusterConfig struct {
	// Binary is the carillon to try.
	Binary string
	// Broker is the command that serves the broker (ServeBroker) in a process of its own; the cluster adds the data
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
}

// DefaultCluster has two processes of each role.
func DefaultCluster() ClusterConfig {
	return ClusterConfig{Ingest: 2, Matcher: 2, Deliver: 2, Offline: 2, ShardBits: 9}
}

// Validate says what is wrong, in a sentence.
func (c ClusterConfig) Validate() error {
	switch {
	case c.Ingest < 1 || c.Matcher < 1 || c.Deliver < 1 || c.Offline < 1:
		return errors.New("there must be a process of each role")
	case c.ShardBits < 4 || c.ShardBits > 20:
		return fmt.Errorf("a shard has 4 to 20 bits, not %d", c.ShardBits)
	case c.Binary == "" || c.Dir == "" || len(c.Broker) == 0:
		return errors.New("a cluster needs the binary, a directory and the broker's command")
	}
	return nil
}

// Cluster is a service in processes of its own, each at the same address in all its lives.
type Cluster struct {
	site      Site
	starter   *starter
	processes []*process
	bySlot    map[string]*process
	odd       func(format string, args ...any)
}

// The app of the runs.
const (
	soakApp   push.AppID = 1400000001
	soakAdmin            = "administrator"
	soakKey              = "a key for trials only"
)

// NewCluster prepares the processes; Start starts them. What goes wrong with a process unasked is told to odd.
func NewCluster(cfg ClusterConfig, odd func(format string, args ...any)) (*Cluster, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c := &Cluster{site: Site{App: soakApp, Admin: soakAdmin, Key: soakKey}, starter: newStarter(), bySlot: map[string]*process{}, odd: odd}
	roles := []struct {
		name string
		n    int
	}{{Ingest, cfg.Ingest}, {Matcher, cfg.Matcher}, {Deliver, cfg.Deliver}, {Offline, cfg.Offline}}
	ports, err := freePorts(1 + 2*(cfg.Ingest+cfg.Matcher+cfg.Deliver+cfg.Offline))
	if err != nil {
		return nil, err
	}
	nats := ports[0]
	ports = ports[1:]
	file := filepath.Join(cfg.Dir, "carillon.yaml")
	if err := writeConfig(file, nats, cfg.ShardBits); err != nil {
		return nil, err
	}
	c.add(cfg, &process{slot: Broker, args: append(append([]string{}, cfg.Broker...), filepath.Join(cfg.Dir, Broker), nats), env: cfg.BrokerEnv, health: nats})
	for _, role := range roles {
		for i := range role.n {
			rest, sessions := ports[0], ports[1]
			ports = ports[2:]
			slot := fmt.Sprintf("%s-%d", role.name, i+1)
			c.add(cfg, &process{
				slot: slot, health: "http://" + rest + "/readyz",
				args: []string{cfg.Binary, role.name, "--config", file, "--http.listen", rest, "--sessions.listen", sessions},
			})
			switch role.name {
			case Ingest:
				c.site.REST = append(c.site.REST, "http://"+rest)
			case Deliver:
				c.site.Gateways, c.site.Names = append(c.site.Gateways, sessions), append(c.site.Names, slot)
			}
		}
	}
	return c, nil
}

func (c *Cluster) add(cfg ClusterConfig, p *process) {
	p.log, p.starter, p.crashed = filepath.Join(cfg.Dir, p.slot+".log"), c.starter, c.crashed
	c.processes = append(c.processes, p)
	c.bySlot[p.slot] = p
}

func (c *Cluster) crashed(slot, how string) {
	c.odd("%s ended by itself: %s; the last lines of its log:\n%s", slot, how, c.bySlot[slot].lastLines(15))
}

// writeConfig writes what all processes have in common.
func writeConfig(file, nats string, shardBits int) error {
	cfg := map[string]any{ // JSON is YAML
		"nats":     map[string]any{"url": "nats://" + nats},
		"sharding": map[string]any{"bits": shardBits},
		"sessions": map[string]any{"heartbeat": "5s", "drain": "2s", "queue": 64 << 10, "per_account": 8},
		"log":      map[string]any{"access": "off"},
		"apps": []any{map[string]any{
			"sdkappid": soakApp, "key": soakKey, "admins": []string{soakAdmin},
			"push_interval": "0s", "push_per_day": 0, "calls_per_second": 1_000_000,
		}},
	}
	b, err := json.MarshalIndent(cfg, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		return fmt.Errorf("write the processes' configuration: %w", err)
	}
	return nil
}

// Ports are drawn from below those that the kernel gives to connections: a process that is down must find its own free.
const minPort, maxPort = 20_000, 32_000

func freePorts(n int) ([]string, error) {
	var found []string
	for range 100 * n {
		if len(found) == n {
			return found, nil
		}
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(minPort+rand.IntN(maxPort-minPort)))
		if l, err := net.Listen("tcp", address); err == nil {
			defer l.Close() // all are kept until all are found, so that none is found twice
			found = append(found, address)
		}
	}
	return nil, fmt.Errorf("only %d of %d free ports were found", len(found), n)
}

// Site says where the service is.
func (c *Cluster) Site() Site { return c.site }

// Slots are the names of the processes.
func (c *Cluster) Slots() []string {
	var slots []string
	for _, p := range c.processes {
		slots = append(slots, p.slot)
	}
	return slots
}

// Start starts every process and waits until all are ready.
func (c *Cluster) Start(ctx context.Context) error {
	for _, p := range c.processes {
		p.mu.Lock()
		err := p.up()
		p.mu.Unlock()
		if err != nil {
			return err
		}
		if p.slot == Broker {
			if err := c.await(ctx, p); err != nil {
				return err
			}
		}
	}
	return c.Restore(ctx)
}

// Disturb does what the schedule says, and undoes it; begun and over are told when.
func (c *Cluster) Disturb(ctx context.Context, d Disturbance, begun, over func()) {
	if err := c.bySlot[d.Slot].disturb(ctx, d, begun); err != nil && ctx.Err() == nil {
		c.odd("%v", err)
	}
	over()
}

// Restore waits until every process is ready, and starts those that have ended by themselves.
func (c *Cluster) Restore(ctx context.Context) error {
	for _, p := range c.processes {
		if err := c.await(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) await(ctx context.Context, p *process) error {
	for {
		p.mu.Lock()
		err := p.revive()
		p.mu.Unlock()
		if err != nil {
			return err
		}
		if p.ready(ctx) {
			return nil
		}
		pause(ctx, 50*time.Millisecond)
		if ctx.Err() != nil {
			return fmt.Errorf("%s is not ready; the last lines of its log:\n%s", p.slot, p.lastLines(15))
		}
	}
}

// Watch starts processes again that end by themselves, until ctx ends.
func (c *Cluster) Watch(ctx context.Context) {
	for ctx.Err() == nil {
		for _, p := range c.processes {
			if !p.mu.TryLock() {
				continue // something is being done to it
			}
			err := p.revive()
			p.mu.Unlock()
			if err != nil && ctx.Err() == nil {
				c.odd("%v", err)
			}
		}
		pause(ctx, time.Second)
	}
}

// logFaults are what must not be in any process's log.
var logFaults = []string{"panic:", "fatal error:", "DATA RACE", "goroutine 1 ["}

// Inspect tells of the faults that are in the processes' logs.
func (c *Cluster) Inspect() {
	for _, p := range c.processes {
		text := p.lastLines(math.MaxInt)
		for _, fault := range logFaults {
			if i := strings.Index(text, fault); i >= 0 {
				c.odd("the log of %s has %q:\n%.2000s", p.slot, fault, text[i:])
				break
			}
		}
	}
}

// Close kills what is left of the processes.
func (c *Cluster) Close() {
	for _, p := range c.processes {
		p.mu.Lock()
		p.down(syscall.SIGKILL, drainPatience)
		p.mu.Unlock()
	}
	c.starter.close()
}

// ServeBroker serves the broker alone, in the process that a cluster starts for it, until ctx ends.
func ServeBroker(ctx context.Context, dir, listen string, log *slog.Logger) error {
	cfg := broker.Default()
	cfg.Dir, cfg.Listen = dir, listen
	b, err := broker.Open(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer b.Close()
	<-ctx.Done()
	return nil
}
