package deliver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// inboxPatience is how long one offline worker is waited for alone. An answer comes in milliseconds, unless the worker has to
// wait for the logs, or hangs: one that hangs is still given requests, until the broker misses it.
const inboxPatience = 500 * time.Millisecond

// askInboxes asks one offline worker of a shard, and when that has not answered for a while, beside it all of them; the first
// answer is taken, so that one that may be slow is still waited for. A worker has one request twice at most at a time.
// While no worker answers it tries again until ctx ends, since one may be about to take the shard over.
func (d *Deliver) askInboxes(ctx context.Context, app push.AppID, shard push.Shard, q wire.InboxRequest) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx) // ends the request that is not needed any more
	defer cancel()
	type result struct {
		answer []byte
		err    error
	}
	const most = 2
	request, results := wire.EncodeInboxRequest(q), make(chan result, most)
	ask := func(subject string) {
		answer, err := d.b.Request(ctx, subject, request)
		results <- result{answer, err}
	}
	asking, pause := 1, 10*time.Millisecond
	go ask(wire.InboxSubject(app, shard))
	again := time.NewTimer(inboxPatience)
	defer again.Stop()
	for err := error(nil); ; {
		select { // an answer wakes it, or the time to ask again; ctx ends it
		case <-ctx.Done():
			return nil, errors.Join(err, ctx.Err())
		case r := <-results:
			if r.err == nil {
				return r.answer, nil
			}
			asking--
			err = r.err
			again.Reset(pause)
			pause = min(2*pause, inboxPatience)
		case <-again.C:
			switch asking {
			case 0:
				go ask(wire.InboxSubject(app, shard))
				again.Reset(inboxPatience)
			case 1:
				go ask(wire.InboxOfAllSubject(app, shard))
			case most:
				continue // the next result says when
			}
			asking++
		}
	}
}

// inbox asks what waits for a session that has joined, oldest first.
func (d *Deliver) inbox(ctx context.Context, se *session, dispatched uint64) ([]*known, error) {
	receipts, err := d.settle(ctx, se.shard, se.local)
	if err != nil {
		return nil, err
	}
	waiting, err := se.shard.asks.inbox(ctx, question{local: se.local, audiences: dispatched, receipts: receipts})
	if err != nil {
		return nil, fmt.Errorf("ask for the inbox: %w", err)
	}
	pushes := make([]*known, 0, len(waiting))
	now := time.Now().Unix()
	for _, seq := range waiting {
		p, err := d.pushes.get(ctx, seq)
		if errors.Is(err, broker.ErrNotFound) || unreadable(err) {
			continue // its time is over, an operator has removed it, or it is none
		}
		if err != nil {
			return nil, fmt.Errorf("fetch push %d: %w", seq, err)
		}
		if p.app == se.shard.app && p.expire > now {
			pushes = append(pushes, p)
		}
	}
	return pushes, nil
}
