// Package logins measures how fast users log in, with none, one and many pushes waiting for each: from connecting until
// the last of them is there. Nothing is acknowledged, so that it waits for the next login too. The service is the real
// binary with every role in one process. Beside it stands the library centrifuge, which keeps as many messages in the
// history of a channel that all its clients share, in memory, and checks no signature.
//
// The request for an inbox, of which a login is the wrapping, is measured alone too: the offline role and an embedded
// broker, in this process.
//
// The servers are package crowd's, so that main and TestMain must call crowd.Child first.
package logins

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/bench/crowd"
	"github.com/carillon-push/carillon/bench/report"
	"github.com/carillon-push/carillon/bench/service"
)

// Options of a run. Use Default and change what differs.
type Options struct {
	// Logins of each kind, in each repeat, each of an account of its own.
	Logins int
	// Together is how many are under way at once.
	Together int
	// Live is how many pushes the inbox request looks through, and Inboxes how often it is asked.
	Live, Inboxes int
	// Repeats with fresh processes.
	Repeats int
}

// Default measures for about half a minute.
func Default() Options {
	return Options{Logins: 3000, Together: 32, Live: 700, Inboxes: 100_000, Repeats: 2}
}

// Short is a run for tests; what it measures means nothing.
func Short() Options { return Options{Logins: 20, Together: 4, Live: 10, Inboxes: 100, Repeats: 1} }

// Validate says what cannot work.
func (o Options) Validate() error {
	if o.Logins < 1 || o.Together < 1 || o.Live < 1 || o.Inboxes < 1 || o.Repeats < 1 {
		return errors.New("logins, those at once, live pushes, inboxes and repeats must be at least 1")
	}
	return nil
}

// outcome of one kind of login, by repeat.
type outcome struct {
	rate, cpu []float64 // logins a second, and a CPU-second of the server
	p50, p99  []float64 // milliseconds
}

// Run measures.
func Run(ctx context.Context, o Options) ([]report.Figure, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("measure logins: %w", err)
	}
	ours, theirs := make([]outcome, len(crowd.Kept)), make([]outcome, len(crowd.Kept))
	var alone, gathered outcome
	for i := range o.Repeats {
		if err := repeat(ctx, o, ours, theirs); err != nil {
			return nil, fmt.Errorf("measure logins, repeat %d of %d: %w", i+1, o.Repeats, err)
		}
		if err := requests(ctx, o, &alone, &gathered); err != nil {
			return nil, fmt.Errorf("measure requests for inboxes, repeat %d of %d: %w", i+1, o.Repeats, err)
		}
	}
	var all []report.Figure
	for i, kept := range crowd.Kept {
		what := fmt.Sprintf("logins with %d pending pushes each, %d at once", kept, o.Together)
		all = append(all,
			report.New(what+", against centrifuge with as much history in memory", "logins/s", ours[i].rate...).Over(theirs[i].rate...).
				Noting("the clients take their part of the processors"),
			report.New(what+", by the service's CPU time, against centrifuge's", "logins/CPU-s", ours[i].cpu...).Over(theirs[i].cpu...),
			report.New(what+": from connecting to the last pending push, p99, against centrifuge", "ms", ours[i].p99...).Under(theirs[i].p99...).
				Noting("p50 %s ms", report.Text(report.Median(ours[i].p50...))),
		)
	}
	asked := fmt.Sprintf("requests for an inbox over %d live pushes, half of them pending", o.Live)
	return append(all,
		report.New(asked, "requests/s", alone.rate...).AtLeast(30_000).
			Noting("the offline role, the broker and who asks in one process; %s requests a CPU-second", report.Text(report.Median(alone.cpu...))),
		report.New(asked+", p99", "ms", alone.p99...).AtMost(10).Noting("p50 %s ms; %d at once", report.Text(report.Median(alone.p50...)), o.Together),
		report.New(fmt.Sprintf("%s, %d users gathered in each, users", asked, o.gathered()), "users/s", gathered.rate...).AtLeast(30_000).
			Noting("as a gateway does that has %d requests under way; %s users a CPU-second; p99 %s ms", gatherers,
				report.Text(report.Median(gathered.cpu...)), report.Text(report.Median(gathered.p99...))),
	), nil
}

const messageSize = 300 // bytes

// repeat measures every kind once, at the service and then at the library.
func repeat(ctx context.Context, o Options, ours, theirs []outcome) (err error) {
	p, err := service.Start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
	server, err := crowd.Centrifuge(time.Millisecond).Start(ctx, crowd.Message(messageSize))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	for i, kept := range crowd.Kept {
		paths, err := prepare(ctx, p, o.Logins, kept)
		if err != nil {
			return err
		}
		at := visitor{addr: p.Sessions, want: kept}
		if err := at.until(ctx, paths[0]); err != nil {
			return fmt.Errorf("wait for the pending pushes: %w", err)
		}
		cpu := func() (time.Duration, error) { return p.CPU() }
		if err := ours[i].measure(ctx, o.Together, paths, at, cpu); err != nil {
			return fmt.Errorf("log in with %d pending pushes: %w", kept, err)
		}
		for j := range paths {
			paths[j] = server.Path(j)
		}
		at = visitor{addr: server.Addrs()[0], greeting: crowd.Wanting(kept), want: kept}
		cpu = func() (time.Duration, error) { return server.CPU(ctx) }
		if err := theirs[i].measure(ctx, o.Together, paths, at, cpu); err != nil {
			return fmt.Errorf("connect to centrifuge with %d messages: %w", kept, err)
		}
	}
	return nil
}

// lifetime of the pushes, in seconds.
const lifetime = 3600

// prepare makes accounts with a tag of their kind and pushes to it, and gives the paths by which they log in.
func prepare(ctx context.Context, p *service.Process, accounts, pending int) ([]string, error) {
	tag := "pending-" + strconv.Itoa(pending)
	names, paths, tagged := make([]string, accounts), make([]string, accounts), make([]any, accounts)
	var err error
	for i := range names {
		names[i] = tag + "-" + strconv.Itoa(i)
		if paths[i], err = service.SessionPath(names[i]); err != nil {
			return nil, err
		}
		tagged[i] = map[string]any{"To_Account": names[i], "Tags": []string{tag}}
	}
	if err := p.Import(ctx, names); err != nil {
		return nil, err
	}
	for len(tagged) > 0 {
		n := min(100, len(tagged))
		if err := p.REST.Call(ctx, "all_member_push/im_add_tag", map[string]any{"UserTags": tagged[:n]}, nil); err != nil {
			return nil, fmt.Errorf("tag accounts: %w", err)
		}
		tagged = tagged[n:]
	}
	for i := range pending { // repeats are told by their number
		_, err := p.REST.Push(ctx, map[string]any{
			"MsgRandom": pending*1000 + i, "MsgLifeTime": lifetime, "Condition": map[string]any{"TagsOr": []string{tag}},
			"MsgBody": []any{map[string]any{"MsgType": "TIMTextElem", "MsgContent": map[string]any{"Text": string(crowd.Message(messageSize))}}},
		})
		if err != nil {
			return nil, fmt.Errorf("push: %w", err)
		}
	}
	return paths, nil
}

// measure logs each path in once, so many together, but for a tenth of them, which warm up.
func (into *outcome) measure(ctx context.Context, together int, paths []string, v visitor, used func() (time.Duration, error)) error {
	warm := len(paths) / 10
	if _, err := v.all(ctx, together, paths[:warm]); err != nil {
		return err
	}
	before, err := used()
	if err != nil {
		return err
	}
	began := time.Now()
	took, err := v.all(ctx, together, paths[warm:])
	if err != nil {
		return err
	}
	wall := time.Since(began)
	after, err := used()
	into.add(took, wall, after-before, 1)
	return err
}

// add notes what each took, and what all did, where each was so many.
func (into *outcome) add(took []time.Duration, wall, cpu time.Duration, many int) {
	ms := make([]float64, len(took))
	for i, d := range took {
		ms[i] = float64(d) / float64(time.Millisecond)
	}
	n := float64(len(took) * many)
	into.rate = append(into.rate, n/wall.Seconds())
	into.cpu = append(into.cpu, n/cpu.Seconds())
	into.p50, into.p99 = append(into.p50, report.Percentile(ms, 50)), append(into.p99, report.Percentile(ms, 99))
}

// spread does n things, so many together, and gives what each took.
func spread(ctx context.Context, n, together int, do func(ctx context.Context, i int) error) ([]time.Duration, error) {
	took := make([]time.Duration, n)
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range together {
		g.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= n || ctx.Err() != nil {
					return ctx.Err()
				}
				began := time.Now()
				if err := do(ctx, i); err != nil {
					return err
				}
				took[i] = time.Since(began)
			}
		})
	}
	return took, g.Wait()
}
