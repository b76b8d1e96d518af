package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/carillon-push/carillon/pkg/history"
	"github.com/carillon-push/carillon/pkg/push"
)

// missedFlags are those of sending a push again.
type missedFlags struct {
	missed, dry bool
	lifetime    time.Duration
}

func (f *missedFlags) register(c *cobra.Command) {
	c.Flags().BoolVar(&f.missed, "missed", false, "Send the push again to those who missed it.")
	c.Flags().BoolVar(&f.dry, "dry-run", false, "With --missed: only count them.")
	c.Flags().DurationVar(&f.lifetime, "lifetime", 0, "With --missed: how long the replay is kept for users who are offline, in whole seconds; 0 for online users only. Not given: as long as the push was.")
}

func (f *missedFlags) check(c *cobra.Command) error {
	switch {
	case !f.missed && (f.dry || c.Flags().Changed("lifetime")):
		return errors.New("--dry-run and --lifetime belong to --missed")
	case f.lifetime < 0 || f.lifetime > push.MaxLifetime*time.Second || f.lifetime%time.Second != 0:
		return fmt.Errorf("--lifetime is whole seconds from 0s to %v, not %v", push.MaxLifetime*time.Second, f.lifetime)
	}
	return nil
}

// evaluateTime is how long the command waits for the matchers before it goes without the replay's count.
const evaluateTime = 10 * time.Second

// send tells how many missed a push, and sends it again to them.
func (f *missedFlags) send(c *cobra.Command, n *native, path string) error {
	ctx, w := c.Context(), c.OutOrStdout()
	raw, err := n.call(ctx, http.MethodPost, path, nil, map[string]any{"only": "missed", "dryRun": true})
	if err != nil {
		return err
	}
	var count history.Missed
	if err := json.Unmarshal(raw, &count); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	fmt.Fprintf(w, "it was for %d: %d have received it, %d are deleted, %d missed it\n", count.Audience, count.Received, count.Deleted, count.Missed)
	if f.dry || count.Missed == 0 {
		return nil
	}
	body := map[string]any{"only": "missed"}
	if c.Flags().Changed("lifetime") {
		body["lifetime"] = int(f.lifetime / time.Second)
	}
	if raw, err = n.call(ctx, http.MethodPost, path, nil, body); err != nil {
		return err
	}
	var sent struct{ ID push.TaskID }
	if err := json.Unmarshal(raw, &sent); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	fmt.Fprintf(w, "it is sent again as %s\n", sent.ID)
	var now struct {
		Evaluated bool
		Matched   uint64
	}
	end := time.Now().Add(evaluateTime)
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		if raw, err = n.get(ctx, "/v1/pushes/"+url.PathEscape(string(sent.ID)), nil); err != nil {
			return err
		}
		if err := json.Unmarshal(raw, &now); err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
		if now.Evaluated {
			fmt.Fprintf(w, "%s is for %d\n", sent.ID, now.Matched)
			return nil
		}
		if time.Now().After(end) {
			fmt.Fprintf(w, "%s is not evaluated everywhere yet: it is for %d so far\n", sent.ID, now.Matched)
			return nil
		}
		select { // the pause wakes it, ctx ends it
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
