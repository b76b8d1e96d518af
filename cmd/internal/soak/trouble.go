package soak

import (
	"context"
	"strings"
	"syscall"
	"time"
)

// What is done to processes, to their part of the network, and to their disks.
const (
	Kill     = "kill -9"
	Term     = "drain"
	Stop     = "stop"
	CutOff   = "cut off"        // from all other processes; users still reach it
	CutOut   = "cannot send"    // to other processes, and hears them
	CutIn    = "cannot receive" // from other processes, and they hear it
	Late     = "delayed"        // every packet from and to other processes
	DiskFull = "disk full"
	DiskSlow = "disk slow"
)

// Times of troubles. A process that is gone for seconds is missed at once; what is cut off is missed only when it has not
// answered for a while, and that is what is to be seen.
const (
	leastDown, mostDown = 100 * time.Millisecond, 3 * time.Second
	mostNode            = 8 * time.Second
	leastCut, mostCut   = time.Second, 12 * time.Second
)

// Troubles are what may be done to this cluster.
func (c *Cluster) Troubles() []Offer {
	var all, nodes, roles []string
	for _, p := range c.processes {
		all = append(all, p.slot)
		if isNode(p.slot) {
			nodes = append(nodes, p.slot)
		} else {
			roles = append(roles, p.slot)
		}
	}
	if len(nodes) == 1 { // everybody leans on it
		return []Offer{
			{Kill, all, 45, leastDown, mostDown}, {Term, all, 18, leastDown, mostDown}, {Stop, all, 27, leastDown, mostDown},
			{Kill, nodes, 5, leastDown, mostDown}, {Term, nodes, 2, leastDown, mostDown}, {Stop, nodes, 3, leastDown, mostDown},
		}
	}
	offers := []Offer{
		{Kill, roles, 20, leastDown, mostDown}, {Term, roles, 8, leastDown, mostDown}, {Stop, roles, 10, leastDown, mostDown},
		{Kill, nodes, 10, leastDown, mostNode}, {Term, nodes, 5, leastDown, mostNode}, {Stop, nodes, 6, leastDown, mostNode},
		{Kill, pairs(nodes), 3, 2 * time.Second, mostNode},
	}
	if c.net != nil {
		offers = append(offers,
			Offer{CutOff, roles, 8, leastCut, mostCut}, Offer{CutOut, roles, 4, leastCut, mostCut}, Offer{CutIn, roles, 4, leastCut, mostCut},
			Offer{CutOff, nodes, 6, leastCut, mostCut}, Offer{CutOut, nodes, 3, leastCut, mostCut}, Offer{CutIn, nodes, 3, leastCut, mostCut},
			Offer{Late, all, 5, leastCut, mostCut})
	}
	for slot := range c.disks {
		offers = append(offers, Offer{DiskFull, []string{slot}, 3, leastCut, mostCut}, Offer{DiskSlow, []string{slot}, 4, leastCut, mostCut})
	}
	return offers
}

// isNode says whether a slot is of the broker, or several of it.
func isNode(slot string) bool { return strings.HasPrefix(slot, Broker) }

// pairs are any two of three nodes, as one slot each.
func pairs(nodes []string) []string {
	var two []string
	for i, a := range nodes {
		for _, b := range nodes[i+1:] {
			two = append(two, a+both+b)
		}
	}
	return two
}

// both stands between the slots of two processes that are disturbed together.
const both = "+"

// nodeWait bounds the time that a node is given to be ready after it was disturbed, before another may be.
const nodeWait = 30 * time.Second

// Disturb does what the schedule says, and undoes it; begun and over are told when. A node of the broker is left alone
// while another is still disturbed, or on its way back: then nothing is begun.
func (c *Cluster) Disturb(ctx context.Context, d Disturbance, begun, over func()) {
	if isNode(d.Slot) {
		if !c.nodes.TryLock() {
			return
		}
		defer c.nodes.Unlock()
	}
	var of []*process
	for slot := range strings.SplitSeq(d.Slot, both) {
		of = append(of, c.bySlot[slot])
	}
	switch d.What {
	case CutOff, CutOut, CutIn, Late:
		begun()
		c.disconnect(of[0], d, true)
		pause(ctx, d.For)
		c.disconnect(of[0], d, false)
	case DiskFull:
		begun()
		c.disks[d.Slot].Full(true)
		pause(ctx, d.For)
		c.disks[d.Slot].Full(false)
	case DiskSlow:
		begun()
		c.disks[d.Slot].Slow(slowSync)
		pause(ctx, d.For)
		c.disks[d.Slot].Slow(0)
	default:
		if err := disturb(ctx, of, d, begun); err != nil && ctx.Err() == nil {
			c.odd("%v", err)
		}
	}
	over()
	if len(c.brokers()) > 1 && isNode(d.Slot) {
		c.recovered(ctx, of, d)
	}
}

// slowSync is what a sync takes longer on a slow disk.
const slowSync = 200 * time.Millisecond

// recovered waits until nodes are ready again. A server whose disk was full has given up its storage, and takes it up
// again when it is started anew: whoever makes room must do that.
func (c *Cluster) recovered(ctx context.Context, of []*process, d Disturbance) {
	if d.What == DiskFull {
		if err := disturb(ctx, of, Disturbance{What: Term}, func() {}); err != nil && ctx.Err() == nil {
			c.odd("%v", err)
		}
	}
	waiting, cancel := context.WithTimeout(ctx, nodeWait)
	defer cancel()
	for _, p := range of {
		for !p.ready(waiting) && waiting.Err() == nil {
			pause(waiting, 100*time.Millisecond)
		}
		if waiting.Err() != nil && ctx.Err() == nil {
			c.odd("%s was not ready %v after it was disturbed (%s)", p.slot, nodeWait, d.What)
		}
	}
}

// disconnect breaks the network between a process and all others, or mends it.
func (c *Cluster) disconnect(p *process, d Disturbance, broken bool) {
	cut, by := c.net.Mend, -(leastLate + d.For%(mostLate-leastLate))
	if broken {
		cut, by = c.net.Cut, -by
	}
	for _, o := range c.processes {
		if o == p {
			continue
		}
		if d.What == Late {
			c.net.Delay(p.host, o.host, by)
			c.net.Delay(o.host, p.host, by)
		}
		if d.What == CutOff || d.What == CutOut {
			cut(p.host, o.host)
		}
		if d.What == CutOff || d.What == CutIn {
			cut(o.host, p.host)
		}
	}
}

// Bounds of a delay, each way. What it is depends on how long it lasts, so that the schedule decides it.
const leastLate, mostLate = 50 * time.Millisecond, 200 * time.Millisecond

// disturb does something to processes themselves, and undoes it after the time. Begun is told when it has begun.
func disturb(ctx context.Context, of []*process, d Disturbance, begun func()) error {
	for _, p := range of {
		p.mu.Lock()
		defer p.mu.Unlock()
	}
	begun()
	if d.What == Stop {
		for _, p := range of {
			p.signal(syscall.SIGSTOP)
		}
		pause(ctx, d.For)
		for _, p := range of {
			p.signal(syscall.SIGCONT)
		}
		return nil
	}
	sig := syscall.SIGKILL
	if d.What == Term {
		sig = syscall.SIGTERM
	}
	for _, p := range of {
		if unasked := p.down(sig, drainPatience); unasked != "" {
			p.crashed(p.slot, unasked)
		}
	}
	pause(ctx, d.For)
	for _, p := range of {
		if err := p.up(); err != nil {
			return err
		}
	}
	return nil
}
