package main

import (
	"github.com/spf13/cobra"

	"github.com/carillon-push/carillon/cmd/internal/bulk"
)

func exportCommand() *cobra.Command {
	var of bulkFlags
	cfg := bulk.DefaultExport()
	c := &cobra.Command{
		Use:   "export [FILE]",
		Short: "Export all users with their attributes and tags, in the form that import reads",
		Long: `Export all users of an app with their attributes and tags to standard output or a file, in the form that import reads: NDJSON or
CSV, compressed by gzip where the file's name ends in .gz. The file appears when it is whole.`,
		Example: "  carillon export users.ndjson.gz\n  carillon export --format csv > users.csv",
		Args:    cobra.MaximumNArgs(1),
	}
	of.register(c, (*string)(&cfg.Format), &cfg.Separator)
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			cfg.File = args[0]
		}
		if err := cfg.Validate(); err != nil {
			return err
		}
		rest, err := of.rest(c, 1)
		if err != nil {
			return err
		}
		return bulk.Export(c.Context(), cfg, rest, streams(c))
	}
	return c
}
