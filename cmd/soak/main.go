// Command soak tries the whole service for long, under failure, and checks every (push, user) pair; see docs/soak.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/carillon-push/carillon/cmd/internal/soak"
	"github.com/carillon-push/carillon/cmd/internal/soak/lab"
)

// serveBroker, as the first argument, makes this process the broker that a run starts and kills.
const serveBroker = "serve-broker"

// within, as the first argument, makes this process the run in namespaces of its own; a directory and the flags follow.
const within = "within"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once; what it started dies with it
	err := command(ctx, os.Args[1:])
	if err != nil {
		if !errors.Is(err, flag.ErrHelp) && !errors.Is(err, errBroken) {
			fmt.Fprintln(os.Stderr, "soak:", err)
		}
		os.Exit(1)
	}
}

// errBroken is a run that found broken promises, and has reported them.
var errBroken = errors.New("promises were broken")

func command(ctx context.Context, args []string) error {
	if len(args) == 3 && args[0] == serveBroker {
		return soak.ServeBroker(ctx, args[1], args[2], slog.New(slog.NewTextHandler(os.Stderr, nil)))
	}
	if len(args) > 2 && args[0] == within {
		o, err := parse(args[2:])
		if err != nil {
			return err
		}
		o.cluster.Lab = true
		return try(ctx, o, args[1])
	}
	o, err := parse(args)
	if err != nil {
		return err
	}
	if err := o.run.Validate(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "carillon-soak-")
	if err != nil {
		return fmt.Errorf("make a directory for the run: %w", err)
	}
	err = prepare(ctx, o, dir)
	if errors.Is(err, errBroken) || o.keep {
		fmt.Fprintln(os.Stderr, "logs and data of the processes are in", dir)
	} else if rm := os.RemoveAll(dir); rm != nil && err == nil {
		err = fmt.Errorf("remove what the run has left: %w", rm)
	}
	return err
}

// prepare builds what is to be tried, and tries it: with chaos, in namespaces of its own.
func prepare(ctx context.Context, o options, dir string) error {
	fmt.Printf("seed %d: the same flags with this seed do the same at the same times; how long things take differs\n", o.run.Seed)
	if o.cluster.Binary == "" {
		o.cluster.Binary = filepath.Join(dir, "carillon")
		if err := build(ctx, o.cluster.Binary, o.race, ""); err != nil {
			return err
		}
	}
	if o.run.Skew > 0 {
		overlay, err := lab.Clock(dir)
		if err != nil {
			return err
		}
		o.cluster.Clocked = filepath.Join(dir, "carillon-clock")
		if err := build(ctx, o.cluster.Clocked, o.race, overlay); err != nil {
			return err
		}
	}
	if !o.chaos {
		return try(ctx, o, dir)
	}
	again := append([]string{within, dir}, o.args...)
	code, err := lab.Enter(ctx, append(again, "-seed", fmt.Sprint(o.run.Seed), "-binary", o.cluster.Binary, "-clocked", o.cluster.Clocked), os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, lab.ErrNoNamespaces):
		fmt.Printf("nothing is cut off or delayed, and no disk is full or slow: %v\n", err)
		return try(ctx, o, dir)
	case err == nil && code != 0:
		return errBroken
	}
	return err
}

// options are the flags.
type options struct {
	run     soak.Config
	cluster soak.ClusterConfig
	chaos   bool
	race    bool
	keep    bool
	args    []string // as they were given
}

func parse(args []string) (o options, err error) {
	short := false
	for _, a := range args { // their values are the defaults of the other flags
		short = short || a == "-short" || a == "--short"
		o.chaos = o.chaos || a == "-chaos" || a == "--chaos"
	}
	switch o.cluster = soak.DefaultCluster(); {
	case o.chaos && short:
		o.run, o.cluster = soak.ShortChaos(), soak.ChaosCluster()
	case o.chaos:
		o.run, o.cluster = soak.Chaos(), soak.ChaosCluster()
	case short:
		o.run = soak.Short()
	default:
		o.run = soak.Default()
	}
	if !short {
		o.run.Seed = rand.Uint64N(1_000_000)
	}
	o.args = args
	f := flag.NewFlagSet("soak", flag.ContinueOnError)
	f.Bool("chaos", false, "three nodes of the broker, and a network, disks and clocks that fail")
	f.Bool("short", false, "a small run of about a minute, with a seed that tries a bit of everything")
	f.Uint64Var(&o.run.Seed, "seed", o.run.Seed, "what decides the schedule; drawn when it is not given")
	f.IntVar(&o.run.Users, "users", o.run.Users, "how many users there are")
	f.IntVar(&o.run.Sessions, "sessions", o.run.Sessions, "how many sessions are open at once")
	f.DurationVar(&o.run.Duration, "duration", o.run.Duration, "how long the schedule is")
	f.Float64Var(&o.run.Pushes, "pushes", o.run.Pushes, "pushes a second")
	f.Float64Var(&o.run.Changes, "changes", o.run.Changes, "calls a second that change users")
	f.Float64Var(&o.run.Revocations, "revocations", o.run.Revocations, "revocations a second")
	f.Float64Var(&o.run.Removals, "removals", o.run.Removals, "accounts deleted a second, and registered again")
	f.Float64Var(&o.run.Kicks, "kicks", o.run.Kicks, "accounts kicked a second")
	f.DurationVar(&o.run.Troubles, "troubles", o.run.Troubles, "the mean time between two troubles; 0 for none")
	f.DurationVar(&o.run.Stay, "stay", o.run.Stay, "the mean time for which a user is online")
	f.DurationVar(&o.run.Progress, "progress", o.run.Progress, "the time between two lines of progress")
	f.DurationVar(&o.run.Grace, "grace", o.run.Grace, "how long a push may take to open sessions while processes come and go")
	f.DurationVar(&o.run.Haunting, "haunting", o.run.Haunting, "how long a call without an answer may still be under way")
	f.DurationVar(&o.run.Skew, "skew", o.run.Skew, "how wrong the clocks of one process of each role are, and of one of three nodes")
	f.IntVar(&o.cluster.Ingest, "ingest", o.cluster.Ingest, "processes of the ingest role")
	f.IntVar(&o.cluster.Matcher, "matcher", o.cluster.Matcher, "processes of the matcher role")
	f.IntVar(&o.cluster.Deliver, "deliver", o.cluster.Deliver, "processes of the deliver role")
	f.IntVar(&o.cluster.Offline, "offline", o.cluster.Offline, "processes of the offline role")
	f.IntVar(&o.cluster.ShardBits, "shard-bits", o.cluster.ShardBits, "a shard has 2 to the power of this many accounts")
	f.StringVar(&o.cluster.Binary, "binary", "", "the carillon to try; built from this tree when it is not given")
	f.StringVar(&o.cluster.Clocked, "clocked", "", "the same with a clock that can be wrong; built when clocks are wrong")
	f.BoolVar(&o.race, "race", false, "build it with the race detector")
	f.BoolVar(&o.keep, "keep", false, "keep the logs and data of the processes even when all is well")
	err = f.Parse(args)
	if err == nil && f.NArg() > 0 {
		err = fmt.Errorf("%q is not a flag", f.Arg(0))
	}
	o.cluster.Skew = o.run.Skew
	return o, err
}

// try makes one run in a directory of its own. The error is errBroken for broken promises.
func try(ctx context.Context, o options, dir string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	o.cluster.Dir, o.cluster.Broker = dir, []string{self, serveBroker}
	l := soak.NewLedger(o.run.Users)
	cluster, err := soak.NewCluster(o.cluster, l.Odd)
	if err != nil {
		return err
	}
	for _, lack := range cluster.Without() {
		fmt.Println(lack)
	}
	v, err := func() (soak.Verdict, error) {
		defer cluster.Close()
		if err := cluster.Start(ctx); err != nil {
			return soak.Verdict{}, err
		}
		return soak.Run(ctx, o.run, cluster, l, os.Stdout)
	}()
	switch {
	case ctx.Err() != nil:
		return errors.New("interrupted before its end; nothing was judged")
	case err != nil: // it could not go on, and the logs say why
		fmt.Fprintln(os.Stderr, "soak:", err)
		return errBroken
	case v.Failed():
		return errBroken
	}
	return nil
}

func build(ctx context.Context, to string, race bool, overlay string) error {
	args := []string{"build", "-o", to}
	if race {
		args = append(args, "-race")
	}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	c := exec.CommandContext(ctx, "go", append(args, "github.com/carillon-push/carillon/cmd/carillon")...)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("build carillon: %w\n%s", err, out)
	}
	return nil
}
