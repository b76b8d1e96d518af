// Command bench measures Carillon, each figure side by side with its peer in the same run, and writes what came out to
// docs/benchmarks. Everything stays on the loopback, in processes and directories of its own, and ends by itself. It builds
// the service that it measures, so that it must be run within the module.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/carillon-push/carillon/bench/crowd"
	"github.com/carillon-push/carillon/bench/notify"
	"github.com/carillon-push/carillon/bench/report"
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

// latest is where a run of everything in full is written to.
const latest = "docs/benchmarks"

// run measures what the arguments name.
func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(out)
	only := flags.String("only", "", "measure only these, separated by commas: "+strings.Join(names(), ", "))
	isShort := flags.Bool("short", false, "measure at sizes that say nothing, to see that it works")
	isLong := flags.Bool("long", false, "measure longer where that says more: match, topology, failover, takeover, traffic")
	dir := flags.String("out", "", "the directory to write "+report.JSONFile+" and "+report.MarkdownFile+" to; "+latest+" for a run of everything in full, else none")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q is no flag", flags.Arg(0))
	}
	of := full
	switch {
	case *isShort && *isLong:
		return errors.New("a run is -short or -long")
	case *isShort:
		of = short
	case *isLong:
		of = long
	}
	chosen, err := choose(*only)
	if err != nil {
		return err
	}
	if *dir == "" && !*isShort && *only == "" {
		*dir = latest
	}
	command := "go run ./bench" // where it writes to is nobody's business
	flags.Visit(func(f *flag.Flag) {
		if f.Name != "out" {
			command += fmt.Sprintf(" -%s=%v", f.Name, f.Value)
		}
	})
	result := report.Run{Command: command, Machine: report.ThisMachine()}
	for _, m := range chosen {
		fmt.Fprintf(out, "%s\n", m.title)
		start := time.Now()
		list, err := m.run(ctx, of)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		for _, f := range list {
			fmt.Fprintf(out, "  %v\n", f)
		}
		fmt.Fprintf(out, "  took %v\n\n", time.Since(start).Round(100*time.Millisecond))
		result.Sections = append(result.Sections, report.Section{Title: m.title, Figures: list})
	}
	if *dir == "" {
		return nil
	}
	if err := result.Write(*dir); err != nil {
		return err
	}
	fmt.Fprintf(out, "written to %s\n", *dir)
	return nil
}

// choose gives the measurements that a list of names asks for, in their own order; all for an empty one.
func choose(only string) ([]measurement, error) {
	if only == "" {
		return measurements, nil
	}
	wanted := strings.Split(only, ",")
	for _, w := range wanted {
		if !slices.Contains(names(), w) {
			return nil, fmt.Errorf("there is no measurement %q; there are %s", w, strings.Join(names(), ", "))
		}
	}
	return slices.DeleteFunc(slices.Clone(measurements), func(m measurement) bool { return !slices.Contains(wanted, m.name) }), nil
}

func names() []string {
	var all []string
	for _, m := range measurements {
		all = append(all, m.name)
	}
	return all
}
