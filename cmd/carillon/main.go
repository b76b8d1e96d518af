// Command carillon is the whole of Carillon in one binary: a mode is a set of roles over one broker.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // quotas.time_zone, where the system has no time zones

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	if err := root().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "carillon:", err)
		code := 1
		if e := (exit{}); errors.As(err, &e) {
			code = e.code
		}
		os.Exit(code)
	}
}

func root() *cobra.Command {
	c := &cobra.Command{
		Use:   "carillon",
		Short: "Push a message to all users of an app, to those with given tags, or to those with given attributes",
		Long: `Carillon pushes a message to all users of an app, to those with given tags, or to those with given attributes:
now, to whoever is online, and for up to seven days to whoever comes online later.

  carillon serve            runs everything in one process, with its own broker
  carillon listen --as u1   shows what the user u1 gets`,
		SilenceUsage: true, SilenceErrors: true,
	}
	c.AddCommand(serveCommand())
	for _, r := range roleCommands() {
		c.AddCommand(r)
	}
	c.AddCommand(brokerCommand(), adminCommand(), usersigCommand(), listenCommand(), importCommand(), exportCommand(), traceCommand(), replayCommand(), demoCommand(), versionCommand())
	return c
}
