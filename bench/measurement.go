package main

import (
	"context"

	"github.com/carillon-push/carillon/bench/failover"
	"github.com/carillon-push/carillon/bench/fanout"
	"github.com/carillon-push/carillon/bench/latency"
	"github.com/carillon-push/carillon/bench/logins"
	"github.com/carillon-push/carillon/bench/match"
	"github.com/carillon-push/carillon/bench/notify"
	"github.com/carillon-push/carillon/bench/pending"
	"github.com/carillon-push/carillon/bench/receipts"
	"github.com/carillon-push/carillon/bench/report"
	"github.com/carillon-push/carillon/bench/rest"
	"github.com/carillon-push/carillon/bench/stalled"
	"github.com/carillon-push/carillon/bench/takeover"
	"github.com/carillon-push/carillon/bench/topology"
	"github.com/carillon-push/carillon/bench/traffic"
)

// measurement is one that can be asked for by name.
type measurement struct {
	name, title string
	run         func(ctx context.Context, s size) ([]report.Figure, error)
}

// size of a run.
type size int

const (
	full size = iota
	short
	long // of those that can say more in more time; the others are full
)

// measurements in the order in which they are made.
var measurements = []measurement{
	{"fanout", "Fan-out: what the gateway's sessions cost", sized(fanout.Run, fanout.Default, fanout.Short)},
	{"match", "Matching: who a condition holds for", lengthy(match.Run, match.Default, match.Short, match.Long)},
	{"pending", "Pending: what a push to offline users leaves behind", sized(pending.Run, pending.Default, pending.Short)},
	{"rest", "REST: importing, tagging and pushing", sized(rest.Run, rest.Default, rest.Short)},
	{"latency", "Latency: from acceptance to the last session", sized(latency.Run, latency.Default, latency.Short)},
	{"stalled", "Stalled clients: what they do to the others", sized(stalled.Run, stalled.Default, stalled.Short)},
	{"logins", "Logins: with what waits for the user", sized(logins.Run, logins.Default, logins.Short)},
	{"receipts", "Receipts: on the wire, and folded", sized(receipts.Run, receipts.Default, receipts.Short)},
	{"notify", "Notifications: what the vendors' channels cost, and finding whose phones", sized(notify.Run, notify.Default, notify.Short)},
	{"topology", "Topologies: one process, two gateways, three brokers", lengthy(topology.Run, topology.Default, topology.Short, topology.Long)},
	{"failover", "Failover: what users see of a process that is killed", lengthy(failover.Run, failover.Default, failover.Short, failover.Long)},
	{"takeover", "Takeover: a matcher that is given a full shard", lengthy(takeover.Run, takeover.Default, takeover.Short, takeover.Long)},
	{"traffic", "Traffic: what a push sends through the broker", lengthy(traffic.Run, traffic.Default, traffic.Short, traffic.Long)},
}

// sized makes a measurement of one that has a size for either case.
func sized[O any](run func(context.Context, O) ([]report.Figure, error), full, short func() O) func(context.Context, size) ([]report.Figure, error) {
	return lengthy(run, full, short, full)
}

// lengthy makes a measurement of one that has a size for each case.
func lengthy[O any](run func(context.Context, O) ([]report.Figure, error), of, inShort, atLength func() O) func(context.Context, size) ([]report.Figure, error) {
	return func(ctx context.Context, s size) ([]report.Figure, error) {
		switch s {
		case short:
			return run(ctx, inShort())
		case long:
			return run(ctx, atLength())
		}
		return run(ctx, of())
	}
}
