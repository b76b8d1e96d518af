// Command bench measures Carillon, each figure side by side with its peer in the same run, and keeps what came out in
// docs/benchmarks. Everything stays on the loopback, in processes and directories of its own, and ends by itself. It builds
// the service that it measures, so that it must be run in the module's root.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/carillon-push/carillon/bench/crowd"
	"github.com/carillon-push/carillon/bench/notify"
)

func main() {
	crowd.Child()
	notify.Child()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// latest is where figures are kept that are published.
const latest = "docs/benchmarks"

// request is what the flags ask for.
type request struct {
	only                                []string
	isShort, isLong, stale, check, rows bool
	dir                                 string
	command                             string // with its flags, but for where it writes to, which is nobody's business
}

func (r request) size() size {
	switch {
	case r.isShort:
		return short
	case r.isLong:
		return long
	}
	return full
}

// run does what the arguments ask for.
func run(ctx context.Context, args []string, out io.Writer) error {
	r, err := parse(args, out)
	if err != nil {
		return err
	}
	if r.check {
		return check(ctx, r.dir, out)
	}
	return r.measure(ctx, out)
}

func parse(args []string, out io.Writer) (r request, err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(out)
	only := flags.String("only", "", "measure only these, separated by commas, and replace their sections: "+strings.Join(names(measurements), ", "))
	flags.BoolVar(&r.stale, "stale", false, "measure only those whose code is not what it was when they were measured")
	flags.BoolVar(&r.isShort, "short", false, "measure at sizes that say nothing, to see that it works")
	flags.BoolVar(&r.isLong, "long", false, "measure longer where that says more: match, topology, failover, takeover, traffic, growth; and those that take long in any case: tests, chaos")
	flags.BoolVar(&r.check, "check", false, "measure nothing, and fail when a section is not of the code in the tree, or the page not of its sections")
	flags.BoolVar(&r.rows, "rows", false, "with -short: fail when the rows differ from those in "+latest+", whatever their numbers, or a goal has no figure")
	flags.StringVar(&r.dir, "out", "", "the directory of the sections and the page; "+latest+", with -short none")
	if err := flags.Parse(args); err != nil {
		return r, err
	}
	if *only != "" {
		r.only = strings.Split(*only, ",")
	}
	r.command = "go run ./bench"
	flags.Visit(func(f *flag.Flag) {
		switch {
		case f.Name == "out":
		case f.Value.String() == "true":
			r.command += " -" + f.Name
		default:
			r.command += " -" + f.Name + " " + f.Value.String()
		}
	})
	switch {
	case flags.NArg() > 0:
		return r, fmt.Errorf("%q is no flag", flags.Arg(0))
	case r.isShort && r.isLong:
		return r, errors.New("a run is -short or -long")
	case r.check && (r.isShort || r.isLong || r.stale || r.only != nil):
		return r, errors.New("-check measures nothing: it goes with -out only")
	case r.stale && (r.isShort || r.only != nil):
		return r, errors.New("-stale finds by itself what to measure, in full")
	case r.rows && !r.isShort:
		return r, errors.New("-rows goes with -short: in full, it is the page that is made")
	case r.isShort && filepath.Clean(r.dir) == latest:
		return r, fmt.Errorf("what -short measures says nothing, and is not for %s", latest)
	}
	for _, name := range r.only {
		switch {
		case !slices.Contains(names(measurements), name):
			return r, fmt.Errorf("there is no measurement %q; there are %s", name, strings.Join(names(measurements), ", "))
		case r.isShort && slow[name] != "":
			return r, fmt.Errorf("%s takes %s, and has no short form", name, slow[name])
		}
	}
	if r.dir == "" && !r.isShort {
		r.dir = latest
	}
	return r, nil
}

// choose gives the measurements that are asked for, in their order, and the names of those that are left out of a run of all.
func (r request) choose(ctx context.Context) (chosen []measurement, leftOut []string, err error) {
	switch {
	case r.only != nil:
		return named(r.only), nil, nil
	case r.stale:
		faults, err := stale(ctx, r.dir)
		if err != nil {
			return nil, nil, err
		}
		return slices.DeleteFunc(slices.Clone(measurements), func(m measurement) bool { return faults[m.name] == "" }), nil, nil
	}
	for _, m := range measurements {
		if slow[m.name] != "" && !r.isLong {
			leftOut = append(leftOut, m.name)
			continue
		}
		chosen = append(chosen, m)
	}
	return chosen, leftOut, nil
}
