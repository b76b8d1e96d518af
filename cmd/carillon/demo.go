package main

import (
	"github.com/spf13/cobra"

	"github.com/carillon-push/carillon/cmd/internal/demo"
)

func demoCommand() *cobra.Command {
	cfg := demo.Default()
	c := &cobra.Command{
		Use:   "demo",
		Short: "Run the main job on real input, and check every recipient",
		Long: `Draw a population whose cities are real and weighted by their inhabitants, import it through the REST interface, connect a
part of it, push to everyone, to the followers of two stocks and to the platinum members of one city, let the others log in
later, and compare what every single account got with a plain filter over the same population. Any difference fails it.
It runs in a temporary directory and on free ports, and takes some minutes at its full size.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return demo.Run(c.Context(), cfg, c.OutOrStdout())
		},
	}
	f := c.Flags()
	f.IntVar(&cfg.Accounts, "accounts", cfg.Accounts, "How many accounts are drawn.")
	f.IntVar(&cfg.Online, "online", cfg.Online, "How many of them have a session while the pushes are made.")
	f.Uint64Var(&cfg.Seed, "seed", cfg.Seed, "What decides everything that is drawn: the same seed and sizes make the same demo.")
	f.IntVar(&cfg.Logins, "logins", cfg.Logins, "How many sessions are opened or closed at once.")
	f.StringVar(&cfg.Data, "data", cfg.Data, "The service's directory, kept afterwards. Empty: a temporary one.")
	return c
}
