package topology

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/pkg/client"
)

const (
	together = 100 // users that one call changes
	callers  = 8   // at once
)

// tag gives users a tag that is another in each round, and says how many a second. Users that are wanted again are taken
// from the first on.
func tag(ctx context.Context, rest *client.REST, o Options, round int) (float64, error) {
	calls := o.Changes / together
	size := min(together, o.Sessions) // a call names nobody twice
	bodies := make([]any, calls)
	for i := range bodies {
		users := make([]any, size)
		for j := range users {
			users[j] = map[string]any{
				"To_Account": "u" + strconv.Itoa((i*size+j)%o.Sessions),
				"Tags":       []string{fmt.Sprintf("changed-%d-%d", round, i*size/o.Sessions)},
			}
		}
		bodies[i] = map[string]any{"UserTags": users}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(callers)
	start := time.Now()
	for _, body := range bodies {
		g.Go(func() error {
			if err := rest.Call(ctx, "all_member_push/im_add_tag", body, nil); err != nil {
				return fmt.Errorf("change users: %w", err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	return float64(calls*size) / time.Since(start).Seconds(), nil
}
