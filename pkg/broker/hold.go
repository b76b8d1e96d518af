package broker

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// Hold is a shard that a member holds: it knows the shard's state, and does its work when it comes to it.
type Hold struct {
	App   push.AppID
	Shard push.Shard

	member *Member
	ready  chan struct{} // closed once
	settle func()
}

// Rank is this member's place in the shard, and a channel that is closed when it may be another. The member is first at 0,
// and holds at any place until it has been told to end.
func (h *Hold) Rank() (rank int, changed <-chan struct{}) { return h.member.Rank(h.App, h.Shard) }

// Ready says that the shard's work is being done here from now on. It is called once at most.
func (h *Hold) Ready() {
	close(h.ready)
	h.settle()
}

// hold does the work on a shard until another member does it that comes before this one and the shard is no more ours, or
// ctx ends; only the latter is an error.
func (r *ShardRunner) hold(ctx context.Context, app push.AppID, id push.Shard, settle func()) error {
	h := &Hold{App: app, Shard: id, member: r.member, ready: make(chan struct{}), settle: settle}
	r.mu.Lock()
	r.holds[h] = struct{}{}
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.holds, h)
		r.mu.Unlock()
	}()
	g, holding := errgroup.WithContext(ctx)
	g.Go(func() error { return r.work(holding, h) })
	g.Go(func() error { return r.tell(holding, h) })
	g.Go(func() error { return r.keep(holding, h) })
	err := g.Wait()
	if ctx.Err() == nil && errors.Is(err, errLetGo) {
		return nil
	}
	return err
}

// tell answers who asks for those that do the shard's work, once this member does.
func (r *ShardRunner) tell(ctx context.Context, h *Hold) error {
	select { // the work wakes it, ctx ends it
	case <-h.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	return r.b.Serve(ctx, wire.HolderSubject(r.cfg.Role, h.App, h.Shard), "", nil, func(q *Request) {
		if err := q.Respond([]byte(r.member.ID())); err != nil {
			r.b.log.Warn("answer who holds a shard", "app", h.App, "shard", h.Shard, "err", err)
		}
	})
}

// errLetGo ends the work on a shard that is another's.
var errLetGo = errors.New("another member does the shard's work")

const (
	// letGoAfter is how long a shard must not have been ours before it is let go: longer than a member that died is taken for
	// one. When it has come back under another id, it counts twice for so long, and who stands by would lose its place to
	// nobody, and with it the state that it has to have when the other dies again.
	letGoAfter = (maxMissed + 2) * pingEvery
	letGoEvery = 200 * time.Millisecond // how often it is asked whether the shard can be let go
	letGoWait  = 100 * time.Millisecond // how long the answers may take
)

// keep ends with errLetGo when the shard has not been ours for a while and somebody before us does its work, or with ctx.
func (r *ShardRunner) keep(ctx context.Context, h *Hold) error {
	var lost time.Time // when it was found to be no more ours; zero while it is
	for {
		rank, changed := h.Rank()
		again := (<-chan time.Time)(nil)
		switch {
		case rank <= r.cfg.Standby:
			lost = time.Time{}
		case lost.IsZero():
			lost, again = time.Now(), time.After(letGoAfter)
		case time.Since(lost) < letGoAfter:
			again = time.After(letGoAfter - time.Since(lost))
		case r.replaced(ctx, h, rank):
			return errLetGo
		default:
			again = time.After(letGoEvery)
		}
		select { // another view of the members or the time wakes it, ctx ends it
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-again:
		}
	}
}

// replaced says whether a member that comes before this one does the shard's work.
func (r *ShardRunner) replaced(ctx context.Context, h *Hold, rank int) bool {
	holders, err := r.b.ask(ctx, wire.HolderSubject(r.cfg.Role, h.App, h.Shard), nil, letGoWait, maxMembers)
	if err != nil {
		r.b.log.Warn("ask who holds a shard; will ask again", "app", h.App, "shard", h.Shard, "err", err)
		return false
	}
	ids, _ := r.member.Members()
	for _, id := range holders {
		if slices.Contains(ids, string(id)) && Rank(h.App, h.Shard, string(id), ids) < rank {
			return true
		}
	}
	return false
}
