package main

import (
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/carillon-push/carillon/cmd/internal/bulk"
	"github.com/carillon-push/carillon/pkg/client"
)

func importCommand() *cobra.Command {
	var of bulkFlags
	cfg := bulk.DefaultImport()
	c := &cobra.Command{
		Use:   "import FILE",
		Short: "Import users with their attributes and tags from a file of any length",
		Long: `Import users with their attributes and tags from a file of any length, NDJSON or CSV, and either may be compressed by gzip:

  {"account":"u1","attributes":{"city":"Shenzhen"},"tags":["a","b"]}

  account,tags,city
  u1,a|b,Shenzhen

Accounts that exist keep what the file does not mention. Every line that cannot be imported is reported with its reason, and
the import goes on; its exit status is 1 then, unless --allow-rejects is given. When an import is stopped the same command goes
on where it was. FILE may be - for standard input, which must be imported from its beginning again.`,
		Example: "  carillon import users.csv\n  carillon import users.ndjson.gz --rejects rejects.ndjson --url https://push.example.com\n  zcat users.gz | carillon import -",
		Args:    cobra.ExactArgs(1),
	}
	of.register(c, (*string)(&cfg.Format), &cfg.Separator)
	f := c.Flags()
	f.StringVar(&cfg.Rejects, "rejects", "", "The file for lines that cannot be imported, as NDJSON of line, reason and text. Empty: they are printed.")
	f.BoolVar(&cfg.AllowRejects, "allow-rejects", false, "Exit with status 0 even if there are such lines.")
	f.BoolVar(&cfg.Restart, "restart", false, "Begin at the beginning, even if an import of this file was stopped.")
	f.IntVar(&cfg.Callers, "callers", cfg.Callers, "How many batches of lines are under way at once.")
	c.RunE = func(c *cobra.Command, args []string) error {
		cfg.File = args[0]
		if err := cfg.Validate(); err != nil {
			return err
		}
		rest, err := of.rest(c, cfg.Callers)
		if err != nil {
			return err
		}
		return bulk.Import(c.Context(), cfg, rest, streams(c))
	}
	return c
}

// bulkFlags are what import and export have in common.
type bulkFlags struct {
	appFlags
	url string
}

func (f *bulkFlags) register(c *cobra.Command, format, separator *string) {
	f.appFlags.register(c)
	c.Flags().StringVar(&f.url, "url", "", "The base of the REST interface, such as https://push.example.com. Empty: http.listen of the configuration.")
	c.Flags().StringVar(format, "format", "", "ndjson or csv. Empty: by the file's extension.")
	c.Flags().StringVar(separator, "separator", *separator, "What stands between the tags in a field of CSV.")
}

// callTimeout is longer than the service takes to give a call up.
const callTimeout = time.Minute

// rest calls as the chosen app's first admin, with so many calls under way at once.
func (f *bulkFlags) rest(c *cobra.Command, callers int) (*client.REST, error) {
	cfg, a, err := f.load(c)
	if err != nil {
		return nil, err
	}
	url := strings.TrimSuffix(f.url, "/")
	if url == "" {
		url = "http://" + cfg.HTTP.Listen
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = callers
	return &client.REST{
		URL: url, App: a.SDKAppID, Admin: a.Admins[0], Key: a.Key,
		HTTP: &http.Client{Transport: transport, Timeout: callTimeout},
	}, nil
}

func streams(c *cobra.Command) bulk.Streams {
	return bulk.Streams{In: c.InOrStdin(), Out: c.OutOrStdout(), Err: c.ErrOrStderr()}
}
