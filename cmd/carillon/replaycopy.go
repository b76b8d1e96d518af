package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/carillon-push/carillon/cmd/internal/app"
	"github.com/carillon-push/carillon/cmd/internal/config"
	"github.com/carillon-push/carillon/matcher"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/history"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

func copyCommand() *cobra.Command {
	var of appFlags
	var into string
	var evaluate bool
	c := &cobra.Command{
		Use:   "copy",
		Short: "Copy the logs into a directory of their own, where they can be evaluated without reaching anybody",
		Long: `Copy the logs from the broker into the data directory of an embedded one: accounts, users' records, pushes, audiences, receipts
and attribute names, each entry with its place and time, so that ordinals, TaskIds and places in logs are the same there. Devices
are left out, as their tokens are secrets. Roles may be running. The copy is served with --data; nobody's session or phone reaches it.

With --evaluate audiences and receipts are left out too: a matcher evaluates all pushes of the app anew in the copy, as it stands,
and each push is compared with the audience that it has in the service. Who differs has changed since, or is at odds; the exit status
is 1 when anybody is at odds.`,
		Example: "  carillon replay copy --into /tmp/copy\n  carillon replay copy --into /tmp/copy --evaluate\n" +
			"  carillon trace 1400000001-42 alice --url http://127.0.0.1:9080   (of `carillon serve --data /tmp/copy --http.listen 127.0.0.1:9080`)",
		Args: cobra.NoArgs,
	}
	of.register(c)
	c.Flags().StringVar(&into, "into", "", "The directory, which is made, or empty.")
	c.Flags().BoolVar(&evaluate, "evaluate", false, "Evaluate the pushes anew there, and compare.")
	if err := c.MarkFlagRequired("into"); err != nil {
		panic(err) // the flag is registered above
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, a, err := of.load(c)
		if err != nil {
			return err
		}
		if entries, err := os.ReadDir(into); err == nil && len(entries) > 0 {
			return fmt.Errorf("--into: %s is not empty", into)
		}
		ctx := c.Context()
		from, err := reach(ctx, cfg)
		if err != nil {
			return err
		}
		defer from.Close()
		log := newLog(os.Stderr, cfg.Log)
		var without []string
		if evaluate {
			without = []string{wire.AudiencesStream, wire.ReceiptsStream}
		}
		if err := copyInto(ctx, cfg, from, into, c.OutOrStdout(), log, without...); err != nil || !evaluate {
			return err
		}
		return evaluateCopy(ctx, cfg, a.SDKAppID, from, into, c.OutOrStdout(), log)
	}
	return c
}

// copied is the configuration of a copy's broker.
func copied(cfg *config.Config, dir string) broker.Config {
	c := app.BrokerConfig(cfg)
	c.URL, c.Dir, c.Listen, c.Replicas = "", dir, "", 1
	c.Cluster, c.Auth, c.TLS = broker.Cluster{}, broker.Auth{}, broker.TLS{}
	return c
}

// copyInto makes the copy.
func copyInto(ctx context.Context, cfg *config.Config, from *broker.Broker, dir string, out io.Writer, log *slog.Logger, without ...string) error {
	to, err := broker.Connect(ctx, copied(cfg, dir), log)
	if err != nil {
		return err
	}
	defer to.Close()
	err = from.CopyTo(ctx, to, func(s broker.Copied) {
		fmt.Fprintf(out, "%s: %d messages, %d to %d\n", s.Stream, s.Messages, s.First, s.Last)
	}, without...)
	if err != nil {
		return err
	}
	return to.Migrate(ctx, apps(cfg))
}

// evaluateCopy runs a matcher on a copy without audiences, and compares what it makes with the originals.
func evaluateCopy(ctx context.Context, cfg *config.Config, app push.AppID, from *broker.Broker, dir string, out io.Writer, log *slog.Logger) error {
	to, err := broker.Open(ctx, copied(cfg, dir), log)
	if err != nil {
		return err
	}
	defer to.Close()
	settings := matcher.Default()
	settings.Apps = []push.AppID{app}
	m, err := matcher.New(settings, to, prometheus.NewRegistry(), log)
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- m.Run(running) }()
	all, err := history.New(to, log).Compare(ctx, app, from, evaluateWait)
	stop()
	if failed := <-ended; err == nil && !errors.Is(failed, context.Canceled) {
		err = failed
	}
	if err != nil {
		return err
	}
	odds := uint64(0)
	for _, d := range all {
		fmt.Fprintf(out, "%s: matched then %d, match in the copy %d: %d changed since, %d at odds", push.NewTaskID(app, d.Seq), d.Then, d.Now, d.Changed, d.Odds)
		if d.Unknown > 0 {
			fmt.Fprintf(out, "; %d shards no longer have their audience", d.Unknown)
		}
		fmt.Fprintln(out)
		odds += d.Odds
	}
	if odds > 0 {
		return fmt.Errorf("%d users are in an audience that their records do not explain, or are missing from one", odds)
	}
	return nil
}

// evaluateWait is how long a shard's matcher may take to evaluate the pushes of its log.
const evaluateWait = 10 * time.Minute
