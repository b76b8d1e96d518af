package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/carillon-push/carillon/cmd/internal/app"
	"github.com/carillon-push/carillon/cmd/internal/config"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
)

// Exit codes of `carillon admin topology`, besides 0 and 1.
const (
	exitDiffers  = 3
	exitRecreate = 4
)

// exit is an error that ends the process with a code of its own.
type exit struct {
	code int
	error
}

func adminCommand() *cobra.Command {
	c := &cobra.Command{Use: "admin", Short: "Look after an installation"}
	c.AddCommand(topologyCommand())
	return c
}

func topologyCommand() *cobra.Command {
	var apply, asJSON bool
	c := &cobra.Command{
		Use:   "topology",
		Short: "Compare the broker's streams with what this version and configuration need, and migrate them",
		Long: `Compare the streams, buckets and feeding consumers that the broker has with what this version and configuration need, and show
each difference with what ends it:

  create     what is missing is made; a consumer goes on where the one before it had come to
  update     it is changed in place, and what is stored stays
  recreate   it would have to be made anew, and what is stored would be lost: this is never done here

Nothing is changed without --apply, which does the first two. Roles may be running. With an embedded broker whose process runs,
nats.listen must be set, for this command to reach it.

Exit codes: 0 nothing differs (any more); 3 something differs that --apply would change; 4 something would have to be made anew;
1 it could not be found out.`,
		Example: "  carillon admin topology --nats.url nats://10.0.0.1:4222 --nats.replicas 3\n  carillon admin topology --config carillon.yaml --apply",
		Args:    cobra.NoArgs,
	}
	config.RegisterFlags(c.Flags())
	c.Flags().BoolVar(&apply, "apply", false, "Create and update what differs.")
	c.Flags().BoolVar(&asJSON, "json", false, "Show the differences as JSON.")
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := config.Load(c.Flags(), os.Environ())
		if err == nil && len(cfg.Apps) == 0 {
			if !cfg.NATS.Embedded() {
				return errors.New("no apps are configured: set apps, the same as in every process")
			}
			err = app.Development(cfg)
		}
		if err != nil {
			return err
		}
		b, err := reach(c.Context(), cfg)
		if err != nil {
			return err
		}
		defer b.Close()
		return topology(c.Context(), b, apps(cfg), apply, asJSON, c.OutOrStdout())
	}
	return c
}

func apps(cfg *config.Config) (ids []push.AppID) {
	for _, a := range cfg.Apps {
		ids = append(ids, a.SDKAppID)
	}
	return ids
}

// reach connects to the broker of a configuration. An embedded one is opened here unless its process runs; a cluster of them
// is always called, since one server alone is none.
func reach(ctx context.Context, cfg *config.Config) (*broker.Broker, error) {
	log := newLog(os.Stderr, cfg.Log)
	c := app.BrokerConfig(cfg)
	if c.URL != "" || !c.Cluster.Set() {
		b, err := broker.Connect(ctx, c, log)
		if !errors.Is(err, broker.ErrLocked) {
			return b, err
		}
		if c.Listen == "" {
			return nil, fmt.Errorf("%w: stop it, or give it a nats.listen", err)
		}
	}
	if c.Listen == "" {
		return nil, errors.New("the servers of a cluster are reached at nats.listen, which is empty")
	}
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return nil, fmt.Errorf("read nats.listen: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	c.URL, c.Listen, c.Cluster = "nats://"+net.JoinHostPort(host, port), "", broker.Cluster{}
	return broker.Connect(ctx, c, log)
}

// topology shows what differs, does what it may about it, and says what is left by its error.
func topology(ctx context.Context, b *broker.Broker, apps []push.AppID, apply, asJSON bool, out io.Writer) error {
	ds, err := b.Topology(ctx, apps)
	if err != nil {
		return err
	}
	var left []broker.Difference
	if left = ds; apply && len(ds) > 0 {
		if err := b.Migrate(ctx, apps); err != nil {
			return err
		}
		if left, err = b.Topology(ctx, apps); err != nil {
			return err
		}
	}
	if asJSON {
		err = writeJSON(out, ds, left, apply)
	} else {
		err = writeTable(out, ds, len(ds)-len(left), apply)
	}
	if err != nil {
		return fmt.Errorf("show the differences: %w", err)
	}
	for _, d := range left {
		if d.Remedy == broker.Recreate {
			return exit{exitRecreate, errors.New("there are streams or consumers that would have to be made anew: export what they hold, delete them, and import it again, or go back to the configuration that made them")}
		}
	}
	if len(left) > 0 {
		return exit{exitDiffers, errors.New("the broker is not as it is to be: --apply changes it")}
	}
	return nil
}

func writeJSON(out io.Writer, ds, left []broker.Difference, applied bool) error {
	none := []broker.Difference{}
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(struct {
		Differences []broker.Difference `json:"differences"`
		Applied     bool                `json:"applied"`
		Left        []broker.Difference `json:"left"`
	}{append(none, ds...), applied, append(none, left...)})
}

func writeTable(out io.Writer, ds []broker.Difference, ended int, applied bool) error {
	if len(ds) == 0 {
		_, err := fmt.Fprintln(out, "The broker has what it needs; nothing differs.")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "STREAM\tCONSUMER\tFIELD\tHAS\tNEEDS\tREMEDY\tA ROLE STARTS")
	for _, d := range ds {
		starts := "no"
		if d.Harmless {
			starts = "yes"
		}
		whole := "(missing)"
		if d.Remedy == broker.Delete {
			whole = "(not used)"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.Stream, cmp.Or(d.Consumer, "-"), cmp.Or(d.Field, whole),
			cmp.Or(d.Have, "-"), cmp.Or(d.Want, "-"), d.Remedy, starts)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if applied {
		_, err := fmt.Fprintf(out, "%d of %d differences are ended.\n", ended, len(ds))
		return err
	}
	return nil
}
