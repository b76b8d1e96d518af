package soak

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/carillon-push/carillon/cmd/internal/soak/lab"
	"github.com/carillon-push/carillon/pkg/broker"
)

// Cluster is a service in processes of its own, each at the same address in all its lives.
type Cluster struct {
	site      Site
	starter   *starter
	processes []*process
	bySlot    map[string]*process
	odd       func(format string, args ...any)
	net       *lab.Network         // nil when all are on the loopback interface
	disks     map[string]*lab.Disk // of slots that have one
	without   []string             // what could not be had
	nodes     sync.Mutex           // held while a node is disturbed, and until it is back
}

// NewCluster prepares the processes; Start starts them, Close ends them. What goes wrong with a process unasked is told to odd.
func NewCluster(cfg ClusterConfig, odd func(format string, args ...any)) (*Cluster, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c := &Cluster{site: Site{App: soakApp, Admin: soakAdmin, Key: soakKey}, bySlot: map[string]*process{}, odd: odd, disks: map[string]*lab.Disk{}}
	if cfg.Lab {
		var err error
		if c.net, err = lab.NewNetwork(); err != nil {
			c.lacks("nothing is cut off or delayed", err)
		}
	}
	c.starter = newStarter(c.net)
	if err := c.plan(cfg); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Cluster) plan(cfg ClusterConfig) error {
	p, err := newPlan(cfg, c)
	if err != nil {
		return err
	}
	if cfg.Nodes == 1 {
		err = p.single()
	} else {
		err = p.three()
	}
	if err != nil {
		return err
	}
	return p.roles()
}

func (c *Cluster) add(dir string, p *process) {
	p.log, p.starter, p.crashed = filepath.Join(dir, p.slot+".log"), c.starter, c.crashed
	c.processes = append(c.processes, p)
	c.bySlot[p.slot] = p
}

// mount gives a slot a disk that can be full or slow, where it can be had.
func (c *Cluster) mount(slot, from, to string) {
	d, err := lab.MountDisk(from, to)
	if err != nil {
		c.lacks("no disk is full or slow", err)
		return
	}
	c.disks[slot] = d
}

func (c *Cluster) lacks(what string, why error) {
	c.without = append(c.without, fmt.Sprintf("%s: %v", what, why))
}

// Without says what this machine does not let be tried, and why, a sentence each.
func (c *Cluster) Without() []string { return c.without }

func (c *Cluster) crashed(slot, how string) {
	c.odd("%s ended by itself: %s; the last lines of its log:\n%s", slot, how, c.bySlot[slot].lastLines(15))
}

// brokers are the nodes.
func (c *Cluster) brokers() []*process {
	return slices.DeleteFunc(slices.Clone(c.processes), func(p *process) bool { return !isNode(p.slot) })
}

// Site says where the service is.
func (c *Cluster) Site() Site { return c.site }

// startWait bounds the time until every process is ready.
const startWait = 2 * time.Minute

// Start starts every process and waits until all are ready.
func (c *Cluster) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	brokers := c.brokers()
	for _, some := range [][]*process{brokers, c.processes[len(brokers):]} {
		for _, p := range some {
			p.mu.Lock()
			err := p.up()
			p.mu.Unlock()
			if err != nil {
				return err
			}
		}
		for _, p := range some {
			if err := c.await(ctx, p); err != nil {
				return err
			}
		}
	}
	return nil
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
	for slot, d := range c.disks {
		if err := d.Close(); err != nil {
			c.odd("the disk of %s: %v", slot, err)
		}
	}
	if c.net != nil {
		c.net.Close()
	}
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
