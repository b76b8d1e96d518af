package deliver

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

const (
	// asksTogether is how many requests for inboxes of a shard are under way before logins gather for one: as many as the
	// shard has workers, by default.
	asksTogether = 2
	// asksWait bounds how long a login waits for others: the requests under way may have a worker that hangs.
	asksWait = 10 * time.Millisecond
)

// asks gathers the logins of a shard that come while others ask for their inboxes, so that they ask in one request. In
// a storm that is what most logins do, at a time when everybody is short of time; a login that comes alone asks at once.
type asks struct {
	request func(context.Context, wire.InboxRequest) ([]byte, error)

	mu    sync.Mutex
	under int    // requests under way
	next  *group // of those who gather; nil when nobody does
}

func newAsks(request func(context.Context, wire.InboxRequest) ([]byte, error)) *asks {
	return &asks{request: request}
}

// question of one login: what waits for a user, when the logs are folded up to there.
type question struct {
	local               uint32
	audiences, receipts uint64
}

// group is logins that ask together. Its fields are guarded by asks.mu until done is closed, and constant after that.
type group struct {
	q       wire.InboxRequest // up to where the logs must be folded for all of them
	members int               // who still wait
	gone    context.CancelFunc
	ctx     context.Context // ends when nobody waits any more
	timer   *time.Timer     // nil once the group asks
	done    chan struct{}
	inboxes [][]push.Seq // by member
	err     error
}

// inbox is what waits for a user. It is given up when ctx ends.
func (a *asks) inbox(ctx context.Context, q question) ([]push.Seq, error) {
	g, member := a.join(ctx, q)
	select { // the answer wakes it, ctx ends it
	case <-g.done:
		if g.err != nil {
			return nil, g.err
		}
		return g.inboxes[member], nil
	case <-ctx.Done():
		a.mu.Lock()
		defer a.mu.Unlock()
		if g.members--; g.members == 0 {
			if g.gone(); a.next == g { // nobody may join it any more
				a.next = nil
				g.timer.Stop()
			}
		}
		return nil, ctx.Err()
	}
}

// join puts a login into the group that gathers, which asks at once when few are under way or it is full.
func (a *asks) join(ctx context.Context, q question) (g *group, member int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.next == nil {
		a.next = &group{done: make(chan struct{})}
		// What the group does is traced as the first login's, and ends with the last's.
		a.next.ctx, a.next.gone = context.WithCancel(context.WithoutCancel(ctx))
	}
	g, member = a.next, len(a.next.q.Locals)
	g.members++
	g.q.Locals = append(g.q.Locals, q.local)
	g.q.Audiences, g.q.Receipts = max(g.q.Audiences, q.audiences), max(g.q.Receipts, q.receipts)
	switch {
	case a.under < asksTogether || len(g.q.Locals) == wire.MaxInboxUsers:
		a.send()
	case g.timer == nil:
		g.timer = time.AfterFunc(asksWait, func() {
			a.mu.Lock()
			defer a.mu.Unlock()
			if a.next == g {
				a.send()
			}
		})
	}
	return g, member
}

// send lets the group that gathers ask. The goroutine ends with the answer, or when nobody waits for it any more.
func (a *asks) send() {
	g := a.next
	if a.next = nil; g.timer != nil {
		g.timer.Stop()
	}
	a.under++
	go func() {
		inboxes, err := a.answers(g.ctx, g.q)
		g.gone()
		a.mu.Lock()
		defer a.mu.Unlock()
		g.inboxes, g.err = inboxes, err
		close(g.done)
		if a.under--; a.next != nil && a.under < asksTogether {
			a.send()
		}
	}()
}

// answers asks until everybody has an answer: one may be too long to be everybody's.
func (a *asks) answers(ctx context.Context, q wire.InboxRequest) ([][]push.Seq, error) {
	var all [][]push.Seq
	for len(q.Locals) > 0 {
		data, err := a.request(ctx, q)
		if err != nil {
			return nil, err
		}
		some, err := wire.DecodeInboxes(data)
		if err != nil {
			return nil, err
		}
		if len(some) > len(q.Locals) {
			return nil, fmt.Errorf("inbox: %w: %d users, and %d were asked for", wire.ErrCorrupt, len(some), len(q.Locals))
		}
		all, q.Locals = append(all, some...), q.Locals[len(some):]
	}
	return all, nil
}
