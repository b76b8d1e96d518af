package deliver

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// trouble is since when logins have failed by our fault, and none has succeeded.
type trouble struct {
	mu    sync.Mutex
	since time.Time // zero: they succeed, or nobody has tried
	err   error
}

func (t *trouble) failed(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.since.IsZero() {
		t.since = time.Now()
	}
	t.err = err
}

func (t *trouble) over() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.since, t.err = time.Time{}, nil
}

func (t *trouble) now() (since time.Time, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.since, t.err
}

const (
	// maxTried is how many shards of an app are asked whether anybody could log in to them.
	maxTried = 8
	// tryWait is how long each may take to answer.
	tryWait = time.Second
)

// CanLogIn is an error when all logins have failed for so long, and there is no shard whose offline worker answers. Logins to
// one shard that fail are no such error: others succeed. It asks only when logins have failed, and finds out by itself that
// it is over: a gateway to which no client is sent any more would not hear of it.
func (d *Deliver) CanLogIn(ctx context.Context, after time.Duration) error {
	since, err := d.trouble.now()
	if since.IsZero() || time.Since(since) < after {
		return nil
	}
	shards := 0
	for id := range *d.apps.Load() {
		all, err := d.b.Shards(ctx, id)
		if err != nil {
			return fmt.Errorf("no login has succeeded since %s: %w", since.UTC().Format(time.RFC3339), err)
		}
		for _, s := range all[:min(len(all), maxTried)] {
			shards++
			if d.tryInbox(ctx, id, s) == nil {
				d.trouble.over()
				return nil
			}
		}
	}
	if shards == 0 { // the first login makes the first shard
		return nil
	}
	return fmt.Errorf("no login has succeeded since %s, and no offline worker answers: %w", since.UTC().Format(time.RFC3339), err)
}

// tryInbox asks what waits for the first user of a shard, and forgets it.
func (d *Deliver) tryInbox(ctx context.Context, app push.AppID, shard push.Shard) error {
	ctx, cancel := context.WithTimeout(ctx, tryWait)
	defer cancel()
	_, err := d.askInboxes(ctx, app, shard, wire.InboxRequest{Locals: []uint32{0}})
	return err
}
