package main

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"github.com/carillon-push/carillon/bench/code"
	"github.com/carillon-push/carillon/bench/failover"
	"github.com/carillon-push/carillon/bench/fanout"
	"github.com/carillon-push/carillon/bench/growth"
	"github.com/carillon-push/carillon/bench/latency"
	"github.com/carillon-push/carillon/bench/logins"
	"github.com/carillon-push/carillon/bench/match"
	"github.com/carillon-push/carillon/bench/notify"
	"github.com/carillon-push/carillon/bench/pending"
	"github.com/carillon-push/carillon/bench/receipts"
	"github.com/carillon-push/carillon/bench/report"
	"github.com/carillon-push/carillon/bench/rest"
	"github.com/carillon-push/carillon/bench/stalled"
	"github.com/carillon-push/carillon/bench/start"
	"github.com/carillon-push/carillon/bench/suite"
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
	{"growth", "Growth: what each more of shards, gateways, live pushes and accounts costs", lengthy(growth.Run, growth.Default, growth.Short, growth.Long)},
	{"start", "Start: the whole system in a test", sized(start.Run, start.Default, start.Short)},
	{"tests", "Tests: how long all of them take", sized(suite.RunTests, suite.Tests, suite.Tests)},
	{"chaos", "Chaos: what a cluster that everything happens to has kept", sized(suite.RunChaos, suite.Chaos, suite.Chaos)},
}

// slow are those that are made when they are named, or at length, each with how long it takes. At a smaller size they would
// measure something else.
var slow = map[string]string{"tests": "five minutes", "chaos": "thirteen minutes"}

// fewer are the figures, by measurement, that a short run need not make: of disturbances that take long, and of databases that it
// does not install.
var fewer = map[string]*regexp.Regexp{
	"failover": regexp.MustCompile(`SIGSTOP|the server that leads`),
	"match":    regexp.MustCompile(`PostgreSQL|Redis|DuckDB`),
}

// module is this one's path.
const module = "github.com/carillon-push/carillon"

// builds is the package that builds the service's binary for those that measure it, and service the binary's.
const (
	builds  = module + "/bench/service"
	service = module + "/cmd/carillon"
)

// digest is that of the code that a measurement measures: its own package with all that it imports and what is beside it, and
// the service where it builds that, or what it runs by the go command.
func digest(tree *code.Tree, name string) (string, error) {
	pkg := module + "/bench/" + name
	switch name {
	case "start":
		return tree.Digest([]string{pkg, start.Package}, nil)
	case "tests":
		// The tests of what measures are among the others, but it would be measured anew for each word of the page.
		own := slices.DeleteFunc(tree.Packages(), func(p string) bool { return strings.HasPrefix(p, module+"/bench/") || p == module+"/bench" })
		return tree.Digest(append(own, module+"/bench/suite"), []string{"Makefile"})
	case "chaos":
		return tree.Digest([]string{module + "/bench/suite", module + "/cmd/soak", service}, nil)
	}
	beside, err := tree.Beside("bench/" + name)
	if err != nil {
		return "", err
	}
	if tree.Compiles(pkg, builds) {
		return tree.Digest([]string{pkg, service}, beside)
	}
	return tree.Digest([]string{pkg}, beside)
}

// digests of measurements, by their names.
func digests(ctx context.Context, of []measurement) (map[string]string, error) {
	tree, err := code.Read(ctx, ".")
	if err != nil {
		return nil, err
	}
	all := make(map[string]string)
	for _, m := range of {
		if all[m.name], err = digest(tree, m.name); err != nil {
			return nil, err
		}
	}
	return all, nil
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

func names(of []measurement) []string {
	var all []string
	for _, m := range of {
		all = append(all, m.name)
	}
	return all
}

// named are the measurements with some names, in their own order.
func named(wanted []string) []measurement {
	return slices.DeleteFunc(slices.Clone(measurements), func(m measurement) bool { return !slices.Contains(wanted, m.name) })
}
