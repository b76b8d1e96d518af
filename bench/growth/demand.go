package growth

import "math"

// Demand is what a service is to bear, and the machines that there are for it.
type Demand struct {
	Fleet
	// PushesToAll and PushesToSome are pushes a day, the latter each to Some of the users, at random. A push lives for Days.
	PushesToAll, PushesToSome, Some, Days float64
	// Logins a second.
	Logins float64
	// Cores and GiB of a machine, of which Usable may be filled.
	Cores, GiB, Usable float64
}

// HundredMillion is the worked example of docs/scale.md.
func HundredMillion() Demand {
	return Demand{
		Fleet: Fleet{
			Users: 100e6, Width: 1 << 20, Sessions: 10e6, Gateways: 100, Matchers: 2, Offline: 2, Replicas: 3,
		},
		PushesToAll: 5, PushesToSome: 95, Some: 0.01, Days: 7, Logins: 1e6 / 60, Cores: 8, GiB: 32, Usable: 0.8,
	}
}

// live pushes at a time, and the bytes that their bitmaps have.
func (d Demand) live() (pushes, bitmaps float64) {
	all, some := d.PushesToAll*d.Days, d.PushesToSome*d.Days
	// Of a push to all those who have it are missing, at random: its bitmap is then as large as one can be.
	return all + some, all*d.Shards()*d.Width/8 + some*d.Audience(d.Some)
}

// need of a role: memory and processor, and how many machines these come to.
type need struct {
	role     string
	gib      float64 // of all processes
	cores    float64 // busy on average
	machines float64
	because  string // what asks for so many
}

// needs of all roles. A broker's server holds a third of all replicas of the records and, of three of them, all names.
func (d Demand) needs() []need {
	pushes, bitmaps := d.live()
	m, room := d.Memory(pushes, bitmaps), d.GiB*d.Usable
	day := func(of func(Push) float64) float64 { // ms of CPU a day, as cores
		return (d.PushesToAll*of(d.Push(1)) + d.PushesToSome*of(d.Push(d.Some))) / 1000 / 86_400
	}
	logins := d.Logins * login.value / 1000
	gib := func(mebibytes float64) float64 { return mebibytes / 1024 }
	list := []need{
		{role: "ingest", gib: 0.1, cores: day(func(p Push) float64 { return p.Ingest }), machines: 2, because: "one may be lost"},
		{
			role: "broker", gib: gib(d.Replicas * (m.Accounts + m.Records)),
			cores:   day(func(p Push) float64 { return d.Replicas * (p.Broker + counts*countShard.value*d.Shards()) }) + d.idle(),
			because: "memory; the three that have all names need more than others",
		},
		{role: "matcher", gib: gib(m.Matcher), cores: day(func(p Push) float64 { return d.Matchers * p.Matcher }), because: "memory, of two that hold each shard"},
		{role: "gateways", gib: gib(m.Deliver + m.Kernel), cores: day(func(p Push) float64 { return p.Deliver }) + logins, because: "a core for each of the processes, which a push keeps busy all at once"},
		{role: "offline worker", gib: gib(m.Offline), cores: day(func(p Push) float64 { return p.Offline }), because: "one may be lost"},
	}
	for i := range list {
		n := &list[i]
		n.machines = max(n.machines, math.Ceil(n.gib/room), math.Ceil(n.cores/d.Cores/d.Usable), 2)
		if n.role == "gateways" {
			n.machines = max(n.machines, math.Ceil(d.Gateways/d.Cores))
		}
		if n.role == "broker" {
			n.machines = max(n.machines, d.Replicas)
		}
	}
	return list
}

// counts of a push in its eight days, whose costs are taken for the broker's.
const counts = 10

// idle is how many cores the brokers use while nothing is pushed.
func (d Demand) idle() float64 { return d.Replicas * calmShard.value * d.Shards() / 1000 }

// names is how many accounts an app can have: the stream of their names is one, and must fit into each of its servers.
func (d Demand) names() float64 { return d.GiB * d.Usable * (1 << 30) / accountMemory.value }

// gateway is how long a gateway takes to write a push to a share of its sessions: one after the other, in s.
func (d Demand) gateway(share float64) float64 {
	s := d.Shards()
	return (gatewayPush.value + gatewayShard.value*s + gatewayByte.value*d.Audience(share)/1e6 + gatewaySession.value*share*d.Sessions/d.Gateways) / 1000
}
