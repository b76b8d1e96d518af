package main

import (
	"context"
	"fmt"

	"github.com/carillon-push/carillon/bench/fanout"
	"github.com/carillon-push/carillon/bench/latency"
	"github.com/carillon-push/carillon/bench/match"
	"github.com/carillon-push/carillon/bench/pending"
	"github.com/carillon-push/carillon/bench/report"
	"github.com/carillon-push/carillon/bench/rest"
)

// measurement is one that can be asked for by name.
type measurement struct {
	name, title string
	run         func(ctx context.Context, short bool) ([]report.Figure, error)
}

// measurements in the order in which they are made.
var measurements = []measurement{
	{"fanout", "Fan-out: what the gateway's sessions cost", measureFanout},
	{"match", "Matching: who a condition holds for", sized(match.Run, match.Default, match.Short)},
	{"pending", "Pending: what a push to offline users leaves behind", sized(pending.Run, pending.Default, pending.Short)},
	{"rest", "REST: importing, tagging and pushing", sized(rest.Run, rest.Default, rest.Short)},
	{"latency", "Latency: from acceptance to the last session", sized(latency.Run, latency.Default, latency.Short)},
}

// sized makes a measurement of one that has a size for either case.
func sized[O any](run func(context.Context, O) ([]report.Figure, error), full, short func() O) func(context.Context, bool) ([]report.Figure, error) {
	return func(ctx context.Context, isShort bool) ([]report.Figure, error) {
		if isShort {
			return run(ctx, short())
		}
		return run(ctx, full())
	}
}

// measureFanout measures the gateway's sockets alone, and then the whole service.
func measureFanout(ctx context.Context, short bool) ([]report.Figure, error) {
	o := fanout.Default()
	if short {
		o.Sessions, o.Rounds, o.Repeats = 40, 12, 1
	}
	var all []report.Figure
	for _, c := range []fanout.Candidate{fanout.Sockets(), fanout.Carillon(o.Sessions)} {
		o.Candidate = c
		r, err := fanout.Run(ctx, o)
		if err != nil {
			return nil, err
		}
		all = append(all, fanoutFigures(o, r)...)
	}
	return all, nil
}

func fanoutFigures(o fanout.Options, r fanout.Result) []report.Figure {
	name, sessions := r.Candidate.Name, report.Text(float64(o.Sessions))+" sessions"
	rate := report.New(fmt.Sprintf("%s: fan-out of %d bytes to %s, against a bare sendto loop", name, o.MessageSize, sessions), "messages/CPU-s", values(r.Candidate.PerCPUSecond)...).
		OverBy(r.Bare.PerCPUSecond.Median, r.Ratio.Median).Times(0.8).
		Noting("ratio of the same repeat %s to %s", report.Text(r.Ratio.Min), report.Text(r.Ratio.Max))
	return []report.Figure{
		rate,
		report.New(name+": resident memory an idle session, of "+sessions, "bytes", values(r.Candidate.RSSPerSession)...).AtMost(1024).
			Noting("without the kernel's own of a socket; a bare socket in a list takes %s bytes", report.Text(r.Bare.RSSPerSession.Median)),
		report.New(name+": one round to "+sessions+" until the last has it, against a bare sendto loop", "ms", values(r.Candidate.RoundMillis)...).
			Under(r.Bare.RoundMillis.Median),
	}
}

// values whose median, lowest and highest are the spread's.
func values(s fanout.Spread) []float64 { return []float64{s.Min, s.Median, s.Max} }
