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
)

// serveBroker, as the first argument, makes this process the broker that a run starts and kills.
const serveBroker = "serve-broker"

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
	o, err := parse(args)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "carillon-soak-")
	if err != nil {
		return fmt.Errorf("make a directory for the run: %w", err)
	}
	broken, err := try(ctx, o, dir)
	if broken || o.keep {
		fmt.Fprintln(os.Stderr, "logs and data of the processes are in", dir)
	} else if rm := os.RemoveAll(dir); rm != nil && err == nil {
		err = fmt.Errorf("remove what the run has left: %w", rm)
	}
	if err == nil && broken {
		err = errBroken
	}
	return err
}

// options are the flags.
type options struct {
	run     soak.Config
	cluster soak.ClusterConfig
	race    bool
	keep    bool
}

func parse(args []string) (o options, err error) {
	o.run, o.cluster = soak.Default(), soak.DefaultCluster()
	o.run.Seed = rand.Uint64N(1_000_000)
	for _, a := range args { // its values are the defaults of the other flags
		if a == "-short" || a == "--short" {
			o.run = soak.Short()
		}
	}
	f := flag.NewFlagSet("soak", flag.ContinueOnError)
	f.Bool("short", false, "a small run of under a minute, with a seed that kills a process of every role")
	f.Uint64Var(&o.run.Seed, "seed", o.run.Seed, "what decides the schedule; drawn when it is not given")
	f.IntVar(&o.run.Users, "users", o.run.Users, "how many users there are")
	f.IntVar(&o.run.Sessions, "sessions", o.run.Sessions, "how many sessions are open at once")
	f.DurationVar(&o.run.Duration, "duration", o.run.Duration, "how long the schedule is")
	f.Float64Var(&o.run.Pushes, "pushes", o.run.Pushes, "pushes a second")
	f.Float64Var(&o.run.Changes, "changes", o.run.Changes, "calls a second that change users")
	f.Float64Var(&o.run.Revocations, "revocations", o.run.Revocations, "revocations a second")
	f.DurationVar(&o.run.Troubles, "troubles", o.run.Troubles, "the mean time between two processes being killed, drained or stopped; 0 for never")
	f.DurationVar(&o.run.Stay, "stay", o.run.Stay, "the mean time for which a user is online")
	f.DurationVar(&o.run.Progress, "progress", o.run.Progress, "the time between two lines of progress")
	f.DurationVar(&o.run.Grace, "grace", o.run.Grace, "how long a push may take to open sessions while processes come and go")
	f.IntVar(&o.cluster.Ingest, "ingest", o.cluster.Ingest, "processes of the ingest role")
	f.IntVar(&o.cluster.Matcher, "matcher", o.cluster.Matcher, "processes of the matcher role")
	f.IntVar(&o.cluster.Deliver, "deliver", o.cluster.Deliver, "processes of the deliver role")
	f.IntVar(&o.cluster.Offline, "offline", o.cluster.Offline, "processes of the offline role")
	f.IntVar(&o.cluster.ShardBits, "shard-bits", o.cluster.ShardBits, "a shard has 2 to the power of this many accounts")
	f.StringVar(&o.cluster.Binary, "binary", "", "the carillon to try; built from this tree when it is not given")
	f.BoolVar(&o.race, "race", false, "build it with the race detector")
	f.BoolVar(&o.keep, "keep", false, "keep the logs and data of the processes even when all is well")
	err = f.Parse(args)
	if err == nil && f.NArg() > 0 {
		err = fmt.Errorf("%q is not a flag", f.Arg(0))
	}
	return o, err
}

// try makes one run in a directory of its own. Broken is said of promises, and of a run that could not go on, whose logs say why.
func try(ctx context.Context, o options, dir string) (broken bool, err error) {
	fmt.Printf("seed %d: the same flags with this seed do the same at the same times; how long things take differs\n", o.run.Seed)
	if err := o.run.Validate(); err != nil {
		return false, err
	}
	if o.cluster.Binary == "" {
		o.cluster.Binary = filepath.Join(dir, "carillon")
		if err := build(ctx, o.cluster.Binary, o.race); err != nil {
			return false, err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return false, fmt.Errorf("find this program: %w", err)
	}
	o.cluster.Dir, o.cluster.Broker = dir, []string{self, serveBroker}
	l := soak.NewLedger(o.run.Users)
	cluster, err := soak.NewCluster(o.cluster, l.Odd)
	if err != nil {
		return false, err
	}
	v, err := func() (soak.Verdict, error) {
		defer cluster.Close()
		if err := cluster.Start(ctx); err != nil {
			return soak.Verdict{}, err
		}
		return soak.Run(ctx, o.run, cluster, l, os.Stdout)
	}()
	if ctx.Err() != nil {
		return false, errors.New("interrupted before its end; nothing was judged")
	}
	return err != nil || v.Failed(), err
}

func build(ctx context.Context, to string, race bool) error {
	args := []string{"build", "-o", to}
	if race {
		args = append(args, "-race")
	}
	c := exec.CommandContext(ctx, "go", append(args, "github.com/carillon-push/carillon/cmd/carillon")...)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("build carillon: %w\n%s", err, out)
	}
	return nil
}
