package main

import (
	"context"
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/carillon-push/carillon/cmd/internal/app"
	"github.com/carillon-push/carillon/cmd/internal/config"
)

func brokerCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "broker",
		Short: "Run the broker alone, or one server of its cluster, for roles in other processes",
		Long: `Run the broker that is in ` + "`carillon serve`" + ` without any role: a NATS server, alone or one of a cluster (nats.cluster_listen), for
roles in other processes. It makes no streams and looks at none, and so it also serves what ` + "`carillon admin topology`" + ` is to migrate
where the roles refuse to start.`,
		Args: cobra.NoArgs,
	}
	config.RegisterFlags(c.Flags())
	c.RunE = func(c *cobra.Command, _ []string) error {
		load := func() (*config.Config, error) { return config.Load(c.Flags(), os.Environ()) }
		cfg, err := load()
		if err != nil {
			return err
		}
		if !cfg.NATS.Embedded() || cfg.NATS.Listen == "" {
			return errors.New("a broker alone is for others: leave nats.url empty and set nats.listen")
		}
		return run(c.Context(), cfg, load, nil, func(context.Context, *app.App) error { return nil })
	}
	return c
}
