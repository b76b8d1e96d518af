package traffic

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/wire"
)

// passed is what the pushes of one kind came to.
type passed struct {
	in, out  load
	stored   float64 // bytes
	audience int     // bytes
	idle     float64 // messages a second that pass without a push
}

// with counts the pushes of each kind while there are so many gateways.
func (s *stage) with(ctx context.Context, gateways int) (all []passed, err error) {
	ctx, stop := context.WithCancelCause(ctx)
	var done atomic.Int64
	var ended sync.WaitGroup
	var brokers []*broker.Broker
	defer func() {
		stop(nil)
		ended.Wait()
		for _, b := range brokers {
			b.Close()
		}
	}()
	last, err := s.ingest.LastSeq(ctx, wire.AudiencesStream)
	if err != nil {
		return nil, err
	}
	ready := make(chan struct{}, gateways)
	for i := range gateways {
		b, err := s.connect(ctx)
		if err != nil {
			return nil, err
		}
		brokers = append(brokers, b)
		g, err := s.newGateway(b, i, gateways, &done)
		if err != nil {
			return nil, err
		}
		ended.Go(func() {
			if err := g.run(ctx, last+1, func() { ready <- struct{}{} }); ctx.Err() == nil {
				stop(err)
			}
		})
	}
	for range gateways {
		select { // a gateway wakes it, ctx ends it
		case <-ready:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	// A push before the first that counts: whatever is made when it is needed is there then.
	if err := s.round(ctx, kinds()[len(kinds())-1], 1, gateways, &done); err != nil {
		return nil, err
	}
	still, err := s.still(ctx)
	if err != nil {
		return nil, err
	}
	for _, k := range kinds() {
		p, err := s.kind(ctx, k, gateways, still, &done)
		if err != nil {
			return nil, fmt.Errorf("a push to %s: %w", k.name, errors.Join(err, context.Cause(ctx)))
		}
		all = append(all, p)
	}
	return all, nil
}

// rate is what passes in a second.
type rate struct{ in, out load }

// still counts what passes while nothing is pushed.
func (s *stage) still(ctx context.Context) (r rate, err error) {
	before, err := s.counted()
	if err != nil {
		return r, err
	}
	select { // the time wakes it, ctx ends it
	case <-ctx.Done():
		return r, context.Cause(ctx)
	case <-time.After(s.o.Idle):
	}
	after, err := s.counted()
	if err != nil {
		return r, err
	}
	over := 1 / after.at.Sub(before.at).Seconds()
	none := load{}
	return rate{
		none.minus(after.in.minus(before.in, 1), -over), none.minus(after.out.minus(before.out, 1), -over),
	}, nil
}

// kind counts the pushes of one kind.
func (s *stage) kind(ctx context.Context, k kind, gateways int, still rate, done *atomic.Int64) (p passed, err error) {
	stored, err := s.stored(ctx)
	if err != nil {
		return p, err
	}
	before, err := s.counted()
	if err != nil {
		return p, err
	}
	if err := s.round(ctx, k, s.o.Pushes, gateways, done); err != nil {
		return p, err
	}
	after, err := s.counted()
	if err != nil {
		return p, err
	}
	took := after.at.Sub(before.at).Seconds()
	p.in = after.in.minus(before.in, 1).minus(still.in, took)
	p.out = after.out.minus(before.out, 1).minus(still.out, took)
	p.audience = len(s.audiences[predicate.String(k.condition())].data)
	p.idle = still.in.messages + still.out.messages
	now, err := s.stored(ctx)
	p.stored = now - stored
	return p, err
}

// stored is how many bytes the streams have.
func (s *stage) stored(ctx context.Context) (sum float64, err error) {
	sizes, err := s.ingest.Bytes(ctx)
	for _, n := range sizes {
		sum += float64(n)
	}
	return sum, err
}

const (
	// roundWait bounds a round.
	roundWait = time.Minute
	lookEvery = 20 * time.Millisecond
)

// round pushes so many times, and waits until every gateway has written its receipts, and the offline role its entries and
// has been given the receipts.
func (s *stage) round(ctx context.Context, k kind, pushes, gateways int, done *atomic.Int64) error {
	ctx, cancel := context.WithTimeout(ctx, roundWait)
	defer cancel()
	receipts := done.Load() + int64(pushes*s.shards*gateways)
	entries, err := s.ingest.LastSeq(ctx, wire.PendingStream)
	if err != nil {
		return err
	}
	entries += uint64(pushes * s.shards)
	for range pushes {
		if err := s.push(ctx, k); err != nil {
			return err
		}
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		last, err := s.ingest.LastSeq(ctx, wire.PendingStream)
		if err != nil {
			return err
		}
		if done.Load() >= receipts && last >= entries {
			return s.delivered(ctx)
		}
		select { // the ticker wakes it, ctx ends it
		case <-ctx.Done():
			return fmt.Errorf("%d receipts of %d and %d entries of %d are written: %w", done.Load(), receipts, last, entries, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// delivered waits until the broker has nothing on its way out any more.
func (s *stage) delivered(ctx context.Context) error {
	tick := time.NewTicker(5 * lookEvery)
	defer tick.Stop()
	for calm := 0; calm < 2; {
		before, err := s.counted()
		if err != nil {
			return err
		}
		select { // the ticker wakes it, ctx ends it
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		after, err := s.counted()
		if err != nil {
			return err
		}
		if after.out.bytes-before.out.bytes < float64(quiet*max(s.shards, 10)) {
			calm++
		} else {
			calm = 0
		}
	}
	return nil
}

// quiet is fewer bytes than a receipt of a shard, and more than its consumers' signs of life take in a look.
const quiet = 400
