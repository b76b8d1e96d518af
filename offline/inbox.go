package offline

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

const (
	// inboxWait is how long a request may wait for the logs; the gateway tries again after that.
	inboxWait = 5 * time.Second
	// maxWaiting is how many requests of a shard may wait at once; one more is refused, and the gateway tries again.
	maxWaiting = 4096
	// longAnswer is how many bytes an answer has, and is then given, whoever is left: with one more user it is within what
	// the broker takes.
	longAnswer = 256 << 10
)

// inbox answers the logins of one shard.
type inbox struct {
	s       *shard
	waiting chan struct{} // a slot for each request that waits
	wg      sync.WaitGroup
}

func newInbox(s *shard) *inbox { return &inbox{s: s, waiting: make(chan struct{}, maxWaiting)} }

// queue is the group in which the workers of a shard share its requests.
const queue = "offline"

// serve answers until ctx ends; ready is called when it has begun. A request comes to one of the shard's workers, and to all
// when that one does not answer.
func (i *inbox) serve(ctx context.Context, ready func()) error {
	g, ctx := errgroup.WithContext(ctx)
	take := func(r *broker.Request) { i.take(ctx, r) }
	all := make(chan struct{})
	g.Go(func() error {
		return i.s.o.b.Serve(ctx, wire.InboxOfAllSubject(i.s.app, i.s.id), "", func() { close(all) }, take)
	})
	g.Go(func() error {
		select { // the broker knows where all are asked before it knows that there is one; ctx ends it
		case <-all:
		case <-ctx.Done():
			return ctx.Err()
		}
		return i.s.o.b.Serve(ctx, wire.InboxSubject(i.s.app, i.s.id), queue, ready, take)
	})
	err := g.Wait()
	i.wg.Wait()
	return err
}

// take answers at once when the logs are folded as far as the request names, and otherwise when they are.
func (i *inbox) take(ctx context.Context, r *broker.Request) {
	q, err := wire.DecodeInboxRequest(r.Data)
	if err != nil {
		i.refuse(r, 1, resultCorrupt, err.Error())
		return
	}
	if i.s.audiences.At() >= q.Audiences && i.s.receipts.At() >= q.Receipts {
		i.answer(r, q)
		return
	}
	select { // never waits: without a slot the request is refused
	case i.waiting <- struct{}{}:
	default:
		i.refuse(r, len(q.Locals), resultBusy, "too many logins are waiting")
		return
	}
	i.wg.Go(func() {
		logins := int64(len(q.Locals))
		i.s.o.waiting.Add(logins)
		defer func() { <-i.waiting; i.s.o.waiting.Add(-logins) }()
		wait, cancel := context.WithTimeout(ctx, inboxWait)
		defer cancel()
		if i.s.audiences.Await(wait, q.Audiences) != nil || i.s.receipts.Await(wait, q.Receipts) != nil {
			i.refuse(r, len(q.Locals), resultLate, "the logs are behind")
			return
		}
		i.answer(r, q)
	})
}

// answer is one that is being laid out.
type answer struct {
	seqs []push.Seq // of one user
	data []byte
}

var answers = sync.Pool{New: func() any { return new(answer) }}

// lay lays out what waits for users, until the answer is long. It says for how many that is, and how many pushes.
func (a *answer) lay(p *pending, users []uint32, now int64) (answered, pushes int) {
	a.data = a.data[:0]
	for _, u := range users {
		a.seqs = p.inbox(a.seqs[:0], u, now)
		a.data = wire.AppendInbox(a.data, a.seqs)
		answered++
		if pushes += len(a.seqs); len(a.data) >= longAnswer {
			break
		}
	}
	return answered, pushes
}

func (i *inbox) answer(r *broker.Request, q wire.InboxRequest) {
	a := answers.Get().(*answer)
	defer answers.Put(a) // the broker has copied it by then
	logins, pushes := a.lay(i.s.pending, q.Locals, time.Now().Unix())
	if q.Alone {
		a.data = wire.EncodeInboxAlone(a.seqs)
	}
	if err := r.Respond(a.data); err != nil {
		i.s.log.Warn("answer logins", "err", err)
		return
	}
	i.s.o.metrics.inbox.WithLabelValues(resultAnswered).Add(float64(logins))
	i.s.o.metrics.fetched.Add(float64(pushes))
}

func (i *inbox) refuse(r *broker.Request, logins int, result, why string) {
	i.s.o.metrics.inbox.WithLabelValues(result).Add(float64(logins))
	if err := r.Refuse(why); err != nil {
		i.s.log.Warn("refuse logins", "err", err)
	}
}
