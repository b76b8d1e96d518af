package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/carillon-push/carillon/pkg/history"
	"github.com/carillon-push/carillon/pkg/push"
)

// logFlags choose a part of the logs.
type logFlags struct {
	since, until, push, seq string
	asJSON                  bool
}

func logCommand() *cobra.Command {
	var of appFlags
	var f logFlags
	c := &cobra.Command{
		Use:   "log",
		Short: "Read the logs as one story: pushes, audiences, receipts and users' records",
		Long: `Read the logs of an app from the broker as one story, in the order in which the broker took its entries: pushes that were accepted,
their audiences shard by shard, receipts, and users' records. Of a user's records the logs keep the last. With --push or --seq
the story is of those pushes alone, without users' records. A PUSH is a TaskId, whose last number is the push's sequence.

The broker is that of the configuration. With an embedded broker whose process runs, nats.listen must be set, for this command to
reach it.`,
		Example: "  carillon replay log --since 1h\n  carillon replay log --push 1400000001-42 --json\n" +
			"  carillon replay log --seq 40..60 --nats.url nats://10.0.0.1:4222\n  carillon replay log --since 2026-03-01T10:00:00Z --until 2026-03-01T10:05:00Z",
		Args: cobra.NoArgs,
	}
	of.register(c)
	c.Flags().StringVar(&f.since, "since", "", "From this time on, such as 2026-03-01T10:00:00Z, or for so long back, such as 90m.")
	c.Flags().StringVar(&f.until, "until", "", "Up to this time, in the same forms.")
	c.Flags().StringVar(&f.push, "push", "", "One push, with its revocation and its replay.")
	c.Flags().StringVar(&f.seq, "seq", "", "Pushes with sequences A..B; either may be left out.")
	c.Flags().BoolVar(&f.asJSON, "json", false, "A JSON object for each entry, one a line.")
	c.MarkFlagsMutuallyExclusive("push", "seq")
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, a, err := of.load(c)
		if err != nil {
			return err
		}
		part, err := f.part(a.SDKAppID, time.Now())
		if err != nil {
			return err
		}
		b, err := reach(c.Context(), cfg)
		if err != nil {
			return err
		}
		defer b.Close()
		w := bufio.NewWriter(c.OutOrStdout())
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		err = history.New(b, newLog(os.Stderr, cfg.Log)).Log(c.Context(), part, func(entry *history.Entry) error {
			if f.asJSON {
				return e.Encode(entry)
			}
			_, err := fmt.Fprintln(w, entry)
			return err
		})
		return errors.Join(err, w.Flush())
	}
	return c
}

// part is what the flags choose.
func (f *logFlags) part(app push.AppID, now time.Time) (part history.LogConfig, err error) {
	part.App = app
	if part.Since, err = moment("since", f.since, now); err != nil {
		return part, err
	}
	if part.Until, err = moment("until", f.until, now); err != nil {
		return part, err
	}
	if f.push != "" {
		of, seq, err := push.TaskID(f.push).Parse()
		if err != nil || of != app || seq == 0 {
			return part, fmt.Errorf("--push: %q is no push of the app %d", f.push, app)
		}
		part.First, part.Last = seq, seq
	}
	if f.seq != "" {
		first, last, ranged := strings.Cut(f.seq, "..")
		if !ranged {
			last = first
		}
		for _, end := range []struct {
			text string
			seq  *push.Seq
		}{{first, &part.First}, {last, &part.Last}} {
			n, err := strconv.ParseUint(end.text, 10, 64)
			if end.text != "" && (err != nil || n == 0) || first+last == "" {
				return part, fmt.Errorf("--seq: %q is not A..B, with sequences of pushes from 1 on", f.seq)
			}
			*end.seq = push.Seq(n)
		}
	}
	return part, part.Validate()
}

// moment reads a time, or how long ago it is.
func moment(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return at, fmt.Errorf("--%s: %q is neither a time such as 2026-03-01T10:00:00Z nor a duration such as 90m", flag, text)
	}
	return at, nil
}
