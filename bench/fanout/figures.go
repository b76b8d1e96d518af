package fanout

import (
	"context"
	"fmt"
	"time"

	"github.com/carillon-push/carillon/bench/crowd"
	"github.com/carillon-push/carillon/bench/report"
)

// Options of a run. Use Default and change what differs.
type Options struct {
	// Sizes are numbers of sessions, each a contest of its own.
	Sizes []int
	// Messages that each candidate sends one at a time, a repeat; in bursts it sends half as many again, or more.
	Messages int
	// Secure is the number of sessions over TLS.
	Secure int
	// Repeats of each contest.
	Repeats int
}

// Default measures a usual number of sessions, and as many as a limit of 20,000 open files lets be, in about four minutes.
func Default() Options {
	return Options{Sizes: []int{5000, 19_000}, Messages: 150_000, Secure: 2000, Repeats: 2}
}

// Short is a run for tests; what it measures means nothing.
func Short() Options { return Options{Sizes: []int{40}, Messages: 400, Secure: 20, Repeats: 1} }

// burst is how many pushes wait together.
const burst = 10

// The contest's candidates, by their places in a Result.
const (
	bare = iota
	sockets
	service
	quick
	patient
	gorilla
	gws
)

// How long a client of centrifuge gathers what it is sent: no longer than nobody would notice, and long enough for most
// of a burst to share a write, which every push is then late by.
const (
	quickGather   = 5 * time.Millisecond
	patientGather = 100 * time.Millisecond
)

func (o Options) contest(sessions int) Contest {
	return Contest{
		Sessions: sessions, Repeats: o.Repeats,
		Bursts: []Burst{
			{Pushes: 1, Rounds: max(1, o.Messages/sessions)},
			{Pushes: burst, Rounds: max(2, o.Messages*3/2/burst/sessions)},
		},
		Candidates: []crowd.Candidate{crowd.Sockets(), crowd.Carillon(sessions), crowd.Centrifuge(quickGather), crowd.Centrifuge(patientGather), crowd.Gorilla(), crowd.Gws()},
	}
}

// Run measures package deliver/socket and the whole service against the bare loop and the library.
func Run(ctx context.Context, o Options) ([]report.Figure, error) {
	var all []report.Figure
	for _, sessions := range o.Sizes {
		r, err := Measure(ctx, o.contest(sessions))
		if err != nil {
			return nil, err
		}
		all = append(all, figures(r, sessions)...)
	}
	r, err := Measure(ctx, o.secure())
	if err != nil {
		return nil, err
	}
	return append(all, secureFigures(r, o.Secure)...), nil
}

// secure is a contest between the whole service with plain sessions and with TLS.
func (o Options) secure() Contest {
	return Contest{
		Sessions: o.Secure, Repeats: o.Repeats,
		Bursts:     []Burst{{Pushes: 1, Rounds: max(1, o.Messages/3/o.Secure)}},
		Candidates: []crowd.Candidate{crowd.Carillon(o.Secure), crowd.CarillonTLS(o.Secure)},
	}
}

func secureFigures(r Result, n int) []report.Figure {
	const plain, secure = 1, 2 // places in the result
	sessions := report.Text(float64(n)) + " sessions"
	one := r.Bursts[0]
	ratios := one.Ratios(secure, plain)
	return []report.Figure{
		report.New(fmt.Sprintf("carillon serve: fan-out of one push of %d bytes to %s over TLS, against plain ones", messageSize, sessions), "messages/CPU-s", one.PerCPUSecond[secure]...).
			OverBy(report.Median(one.PerCPUSecond[plain]...), report.Median(ratios...)).
			Noting("ratio of the same repeat %s to %s", report.Text(ratios[0]), report.Text(ratios[len(ratios)-1])),
		report.New(fmt.Sprintf("carillon serve: resident memory an idle session over TLS, of %s, against plain ones", sessions), "bytes", r.RSSPerSession[secure]...).
			Under(r.RSSPerSession[plain]...).AtMost(16 << 10),
	}
}

func figures(r Result, n int) []report.Figure {
	var all []report.Figure
	sessions := report.Text(float64(n)) + " sessions"
	one, ten := r.Bursts[0], r.Bursts[1]
	for _, c := range []struct {
		name  string
		place int
	}{{"deliver/socket", sockets}, {"carillon serve", service}} {
		rate := func(what string, rates Rates, peer string, to int, goal float64) report.Figure {
			ratios := rates.Ratios(c.place, to)
			f := report.New(fmt.Sprintf("%s: %s to %s, against %s", c.name, what, sessions, peer), "messages/CPU-s", rates.PerCPUSecond[c.place]...).
				OverBy(report.Median(rates.PerCPUSecond[to]...), report.Median(ratios...)).
				Noting("ratio of the same repeat %s to %s", report.Text(ratios[0]), report.Text(ratios[len(ratios)-1]))
			if goal > 0 {
				f = f.Times(goal)
			}
			return f
		}
		push := fmt.Sprintf("fan-out of one push of %d bytes", messageSize)
		together := fmt.Sprintf("fan-out of %d pushes that wait together", burst)
		all = append(all,
			rate(push, one, "a bare sendto loop", bare, 0.95),
			rate(push, one, "centrifuge", quick, 2.5),
			rate(push, one, "gorilla/websocket", gorilla, 0),
			rate(push, one, "gws", gws, 0),
			rate(together, ten, "a bare sendto for each", bare, 6),
			rate(together, ten, "centrifuge, which gathers for "+quickGather.String(), quick, 8),
			rate(together, ten, "centrifuge, which gathers for "+patientGather.String(), patient, 0),
			rate(together, ten, "gorilla/websocket", gorilla, 0),
			rate(together, ten, "gws", gws, 0),
			report.New(fmt.Sprintf("%s: one push to %s until the last has it, against a bare sendto loop", c.name, sessions), "ms", one.RoundMillis[c.place]...).
				Under(one.RoundMillis[bare]...),
			report.New(fmt.Sprintf("%s: resident memory an idle session, of %s, against centrifuge", c.name, sessions), "bytes", r.RSSPerSession[c.place]...).
				Under(r.RSSPerSession[quick]...).AtMost(512).
				Noting("without the kernel's own of a socket; a bare socket in a list takes %s bytes, a session of gorilla/websocket %s, of gws %s",
					text(r.RSSPerSession[bare]), text(r.RSSPerSession[gorilla]), text(r.RSSPerSession[gws])),
		)
	}
	return all
}

func text(values []float64) string { return report.Text(report.Median(values...)) }
