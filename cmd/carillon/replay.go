package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/carillon-push/carillon/pkg/history"
	"github.com/carillon-push/carillon/pkg/push"
)

func replayCommand() *cobra.Command {
	var of nativeFlags
	var out string
	var missed missedFlags
	c := &cobra.Command{
		Use:   "replay PUSH",
		Short: "Evaluate a push again on the users of today, send it again to those who missed it, or read the logs",
		Long: `Evaluate a push again on the users of today: how many match now, how many did when it was pushed, and with --out who makes the
difference, as NDJSON. Nothing is sent. PUSH is a TaskId.

With --missed the push is sent again to those who have neither acknowledged nor opened it: a new push with its own TaskId, for
those of the first one's audience who are left. A push can be sent again when it is over, that is with lifetime 0 or when its
lifetime has passed, and once: those who missed that too are reached by replaying the replay.`,
		Example: "  carillon replay 1400000001-42 --out difference.ndjson\n  carillon replay 1400000001-42 --missed --dry-run\n" +
			"  carillon replay 1400000001-42 --missed --lifetime 1h\n  carillon replay log --since 1h --json",
		Args: cobra.ExactArgs(1),
	}
	of.register(c)
	c.Flags().StringVar(&out, "out", "", "The file for the difference: a line for each user who is added or removed. - is standard output.")
	missed.register(c)
	c.MarkFlagsMutuallyExclusive("out", "missed")
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := missed.check(c); err != nil {
			return err
		}
		n, err := of.native(c)
		if err != nil {
			return err
		}
		path := "/v1/pushes/" + url.PathEscape(args[0]) + "/replay"
		if missed.missed {
			return missed.send(c, n, path)
		}
		return evaluateAgain(c, n, path, out)
	}
	c.AddCommand(logCommand(), copyCommand())
	return c
}

// evaluateAgain shows how a push's audience would differ today.
func evaluateAgain(c *cobra.Command, n *native, path, out string) error {
	raw, err := n.get(c.Context(), path, nil)
	if err != nil {
		return err
	}
	var a history.Again
	if err := json.Unmarshal(raw, &a); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	w := c.OutOrStdout()
	if out == "-" {
		w = c.ErrOrStderr()
	}
	fmt.Fprintf(w, "matched then %d, match now %d: %d added, %d removed\n", a.Then, a.Now, a.Added, a.Removed)
	if a.Unknown > 0 {
		fmt.Fprintf(w, "%d shards no longer have their audience: whom of them it was for is unknown, and they count as added\n", a.Unknown)
	}
	switch out {
	case "":
		return nil
	case "-":
		return writeDifference(c.Context(), n, path, c.OutOrStdout())
	}
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	if err = writeDifference(c.Context(), n, path, f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// difference is one line of the output.
type difference struct {
	Change        string       `json:"change"`
	Ordinal       push.Ordinal `json:"ordinal"`
	Account       string       `json:"account,omitempty"`
	AccountBase64 []byte       `json:"accountBase64,omitempty"`
}

// writeDifference pages through both lists.
func writeDifference(ctx context.Context, n *native, path string, to io.Writer) error {
	w := bufio.NewWriter(to)
	e := json.NewEncoder(w)
	for _, change := range []string{"removed", "added"} {
		for after := push.Ordinal(0); ; {
			raw, err := n.get(ctx, path, url.Values{"change": {change}, "after": {strconv.FormatUint(uint64(after), 10)}, "limit": {"10000"}})
			if err != nil {
				return err
			}
			var page struct {
				Users []difference
				Next  push.Ordinal
			}
			if err := json.Unmarshal(raw, &page); err != nil {
				return fmt.Errorf("read the answer: %w", err)
			}
			for _, u := range page.Users {
				u.Change = change
				if err := e.Encode(u); err != nil {
					return fmt.Errorf("write the difference: %w", err)
				}
			}
			if after = page.Next; after == 0 {
				break
			}
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write the difference: %w", err)
	}
	return nil
}
