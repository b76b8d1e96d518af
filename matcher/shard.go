package matcher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/matcher/index"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/tracing"
	"github.com/carillon-push/carillon/pkg/wire"
)

const (
	// maxBatch is how many updates share one write lock of the index.
	maxBatch = 64
	// maxBuild is how many a builder, which has no lock, takes at once.
	maxBuild = 256
)

// shard matches the pushes of one shard while it is held.
type shard struct {
	m     *Matcher
	hold  *broker.Hold
	app   push.AppID
	id    push.Shard
	log   *slog.Logger
	index *index.Index    // since caught is closed; before, of the fold alone
	at    broker.Progress // sequence in the shard's log up to which the index is folded
	holes holes
	snap  snapshot // of the goroutine that loads it and then writes them

	// Of the fold alone.
	build  *index.Builder // while a log is read of which there is no snapshot; then nil, and what it built is the index
	built  sync.WaitGroup // of the batch that the builder takes while the next one is read
	batch  batch
	spare  batch         // the builder's, or free
	caught chan struct{} // closed when the log has been read

	room []byte // of the last audience, for the next one; of match alone

	waiting chan struct{} // a slot for each count that waits for the fold, see count.go
}

// batch is updates that are applied together.
type batch struct {
	updates []index.Update
	records []push.Record // of the updates, each in its place
}

func newBatch(most int) batch {
	return batch{make([]index.Update, 0, most), make([]push.Record, 0, most)}
}

func newShard(m *Matcher, h *broker.Hold) *shard {
	return &shard{
		m: m, hold: h, app: h.App, id: h.Shard, log: m.log.With("app", h.App, "shard", h.Shard), index: index.New(),
		batch: newBatch(maxBatch), caught: make(chan struct{}),
		waiting: make(chan struct{}, maxWaiting),
	}
}

// run folds the log from where the snapshot ends, and takes pushes once it has caught up: earlier it would only keep them
// from a matcher that has.
func (s *shard) run(ctx context.Context) error {
	begin := time.Now()
	defer s.built.Wait()
	folded := s.load(ctx)
	s.at.Advance(folded)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return s.m.b.Fold(ctx, broker.FoldConfig{
			Name: "matcher_users", Stream: wire.UsersStream(s.app, s.id), Start: folded + 1, Handle: s.fold,
			CaughtUp: func() {
				s.caughtUp()
				s.log.Info("shard is ready", "users", s.index.Users(), "bytes", s.index.Bytes(), "snapshot", folded > 0, "took", time.Since(begin))
				close(s.caught)
			},
		})
	})
	g.Go(func() error {
		select { // the fold wakes it, ctx ends it
		case <-s.caught:
		case <-ctx.Done():
			return ctx.Err()
		}
		return s.m.b.Work(ctx, broker.WorkConfig{
			Name: "matcher_pushes", Stream: wire.UsersStream(s.app, s.id), Durable: wire.MatcherConsumer, Filter: wire.PushFilter(s.app),
			Rank: s.hold.Rank, Handle: s.match,
		})
	})
	g.Go(func() error {
		select { // the fold wakes it, ctx ends it
		case <-s.caught:
		case <-ctx.Done():
			return ctx.Err()
		}
		return s.counts(ctx, s.hold.Ready)
	})
	g.Go(func() error {
		select { // the fold wakes it, ctx ends it
		case <-s.caught:
		case <-ctx.Done():
			return ctx.Err()
		}
		return s.snapshots(ctx)
	})
	return g.Wait()
}

// fold takes one message of the shard's log. Records gather into a batch as long as more are at hand.
func (s *shard) fold(m *broker.Message) error {
	s.holes.pass(m.Seq)
	if !wire.IsPushSubject(m.Subject) {
		if err := s.gather(m); err != nil {
			// What cannot be read is left out and told; stopping would leave the whole shard without pushes.
			s.log.Error("a user record cannot be read; until it is written again its user matches as before, and nothing after a restart", "subject", m.Subject, "seq", m.Seq, "err", err)
		}
	}
	if len(s.batch.updates) == cap(s.batch.updates) || m.More == 0 || wire.IsPushSubject(m.Subject) {
		s.apply()
		s.at.Advance(m.Seq)
	}
	return nil
}

func (s *shard) gather(m *broker.Message) error {
	ordinal, err := wire.ParseUserSubject(m.Subject)
	if err != nil {
		return err
	}
	rec, err := wire.DecodeRecord(m.Data)
	if err != nil {
		return err
	}
	b := &s.batch
	b.records = append(b.records, rec)
	b.updates = append(b.updates, index.Update{Local: s.m.b.Sharding().Local(ordinal), Record: &b.records[len(b.records)-1]})
	return nil
}

// builds says that the log is read from its beginning: what it says is given to a builder.
func (s *shard) builds() {
	s.snap, s.build = snapshot{}, index.NewBuilder(s.m.b.Sharding().Width())
	s.batch, s.spare = newBatch(maxBuild), newBatch(maxBuild)
}

// caughtUp ends the reading of the log's past. What has gathered may wait for more that are no longer there: the log's last
// messages can be deleted while it is read.
func (s *shard) caughtUp() {
	s.apply()
	if s.build != nil {
		s.built.Wait()
		s.index, s.build = s.build.Index(), nil
		s.batch, s.spare = newBatch(maxBatch), batch{}
	}
}

// apply applies the batch; a builder does so while the next one is read. Nobody asks the index before the past has been
// read, and a process that ends then begins anew.
func (s *shard) apply() {
	if len(s.batch.updates) == 0 {
		return
	}
	s.m.metrics.updates.Add(float64(len(s.batch.updates)))
	if s.build != nil {
		s.built.Wait()
		updates := s.batch.updates
		s.built.Go(func() { s.build.ApplyBatch(updates) })
		s.batch, s.spare = s.spare, s.batch
	} else {
		s.index.ApplyBatch(s.batch.updates)
	}
	s.batch.updates, s.batch.records = s.batch.updates[:0], s.batch.records[:0]
}

// match publishes the audience of one push.
func (s *shard) match(ctx context.Context, m *broker.Message) (err error) {
	p, node, err := decode(m)
	if err != nil {
		s.log.Error("a push cannot be read; nobody of the shard gets it", "seq", m.Seq, "err", err)
		s.m.metrics.evaluations.WithLabelValues(resultCorrupt).Inc()
		return nil
	}
	span := s.m.cfg.Tracer.Process(m.Header, "evaluate", wire.UsersStream(s.app, s.id), wire.PushPlace{App: s.app, Shard: s.id, Seq: p.Seq})
	defer func() { span.End(err) }()
	if err := s.await(ctx, m.Seq); err != nil {
		return fmt.Errorf("wait for the log up to push %d: %w", p.Seq, err)
	}
	audience := broker.Message{Subject: wire.AudienceSubject(s.app, s.id, p.Seq), Header: map[string]string{
		wire.HeaderEvaluated: strconv.FormatUint(s.at.At(), 10),
		wire.HeaderExpire:    strconv.FormatInt(p.Expire(), 10),
	}}
	var users uint64
	switch {
	case p.Revokes != 0:
		audience.Header[wire.HeaderRevokes] = strconv.FormatUint(uint64(p.Revokes), 10)
		audience.Data, users, err = layOut(s.audience(ctx, p.Revokes))
	case p.Again != 0:
		audience.Data, users, err = layOut(s.missed(ctx, p.Again))
	default:
		start := time.Now()
		audience.Data, users = s.index.Append(s.room[:0], node)
		s.m.metrics.seconds.Observe(time.Since(start).Seconds())
	}
	if err != nil {
		return err
	}
	audience.Header[wire.HeaderCardinality] = strconv.FormatUint(users, 10)
	span.Int("users", int(users))
	err = s.publish(ctx, audience.Once(), span)
	if s.room = nil; err == nil { // else somebody may still be at it
		s.room = audience.Data
	}
	if errors.Is(err, broker.ErrConflict) {
		s.m.metrics.evaluations.WithLabelValues(resultRepeated).Inc()
		return nil
	}
	if err != nil {
		return err
	}
	s.m.metrics.evaluations.WithLabelValues(resultPublished).Inc()
	s.m.metrics.matched.Add(float64(users))
	return nil
}

// layOut gives a bitmap, if it could be had, as it is published, and how many users it holds.
func layOut(b *roaring.Bitmap, err error) (data []byte, users uint64, _ error) {
	if err != nil {
		return nil, 0, err
	}
	data, err = wire.EncodeBitmap(b)
	return data, b.GetCardinality(), err
}

// publish publishes an audience as a part of the span of its evaluation.
func (s *shard) publish(ctx context.Context, audience broker.Message, of tracing.Span) error {
	span := of.Send(s.m.cfg.Tracer, wire.AudiencesStream)
	audience.Header = span.Inject(audience.Header)
	_, _, err := s.m.b.Publish(ctx, audience)
	span.End(err)
	return err
}

// decode reads a push, with its predicate; a revocation has none, and a replay goes by none.
func decode(m *broker.Message) (*push.Push, predicate.Node, error) {
	seq, err := wire.ParseSource(m.Header[wire.HeaderSource])
	if err != nil {
		return nil, nil, err
	}
	p, err := wire.DecodePush(m.Data, seq)
	if err != nil {
		return nil, nil, err
	}
	if p.Revokes != 0 || p.Again != 0 {
		return p, nil, nil
	}
	node, err := predicate.Parse(p.Condition)
	if err != nil {
		return nil, nil, fmt.Errorf("the condition of push %d: %w", seq, err)
	}
	return p, node, nil
}
