package matcher

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/carillon-push/carillon/matcher/index"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/wire"
)

const (
	// loadWait bounds the reading of a snapshot: what takes longer is slower than the log.
	loadWait = 20 * time.Second
	// writeWait bounds the writing of one, and finalWait that of the last one of an orderly end.
	writeWait = time.Minute
	finalWait = 5 * time.Second
)

// snapshot is the shard's index as it stands in the INDEX bucket, as far as this matcher knows. Of the zero value nothing
// is known.
type snapshot struct {
	wire.IndexPlace
	bytes   uint64
	written time.Time
}

// load makes the index from the shard's snapshot, and says up to where in the log it is folded. Without a snapshot that can
// be used the place is 0, and the index will be built of the log, which has it all.
func (s *shard) load(ctx context.Context) uint64 {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, loadWait)
	defer cancel()
	err := s.read(ctx)
	result := resultLoaded
	switch {
	case errors.Is(err, broker.ErrNotFound):
		result = resultAbsent
	case errors.Is(err, errOtherLog):
		result = resultStale
	case errors.Is(err, index.ErrVersion):
		result = resultVersion
	case errors.Is(err, index.ErrCorrupt), errors.Is(err, wire.ErrCorrupt):
		result = resultCorrupt
	case err != nil:
		result = resultFailed
	}
	s.m.metrics.snapshots.WithLabelValues(result).Inc()
	if err != nil {
		s.builds()
		if result != resultAbsent && ctx.Err() == nil {
			s.log.Warn("the snapshot of the index cannot be used; reading the whole log instead", "err", err)
		}
		return 0
	}
	s.m.metrics.snapshotSeconds.WithLabelValues(operationLoad).Observe(time.Since(start).Seconds())
	return s.snap.Folded
}

// errOtherLog is of a snapshot that was folded from a stream that is no more, or goes further than ours.
var errOtherLog = errors.New("it is of another log")

// read takes over the shard's snapshot.
func (s *shard) read(ctx context.Context) error {
	log, err := s.m.b.Log(ctx, wire.UsersStream(s.app, s.id))
	if err != nil {
		return err
	}
	o, err := s.m.b.GetObject(ctx, wire.Indexes(), wire.IndexObject(s.app, s.id))
	if err != nil {
		return err
	}
	defer o.Close() //nolint:errcheck // it was read to its end, or is not used
	place, err := wire.DecodeIndexPlace(o.Meta)
	if err != nil {
		return err
	}
	if !place.Created.Equal(log.Created) || place.Folded > log.Last {
		return fmt.Errorf("%w: one made at %v, folded up to %d; ours was made at %v and goes up to %d", errOtherLog, place.Created, place.Folded, log.Created, log.Last)
	}
	x, err := index.Read(bufio.NewReaderSize(o, 256<<10), s.m.b.Sharding().Width())
	if err != nil {
		return err
	}
	s.index, s.snap = x, snapshot{place, o.Bytes, o.Written}
	s.m.keep(s.hold, s.snap)
	return nil
}

// snapshots writes the index to the INDEX bucket now and then while this matcher is the first of the shard, and once more
// at an orderly end.
func (s *shard) snapshots(ctx context.Context) error {
	tick := time.NewTicker(s.m.cfg.Snapshot)
	defer tick.Stop()
	for {
		select { // the ticker wakes it, ctx ends it
		case <-ctx.Done():
			s.write(context.WithoutCancel(ctx), finalWait)
			return ctx.Err()
		case <-tick.C:
			s.write(ctx, writeWait)
		}
	}
}

// write writes a snapshot when one is due. A process writes one at a time, as a copy of the index is in memory meanwhile.
func (s *shard) write(ctx context.Context, wait time.Duration) {
	if rank, _ := s.hold.Rank(); rank != 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	select { // the snapshot that is being written wakes it, ctx ends it
	case s.m.writing <- struct{}{}:
		defer func() { <-s.m.writing }()
	case <-ctx.Done():
		return
	}
	// Before the index is copied: it may hold more than this, which will be folded again and change nothing.
	folded := s.at.At()
	if !s.due(folded) {
		return
	}
	start := time.Now()
	snap, err := s.put(ctx, folded)
	if err != nil {
		s.m.metrics.snapshots.WithLabelValues(resultFailed).Inc()
		s.log.Warn("write a snapshot of the index; the one before stands", "err", err)
		return
	}
	s.snap = snap
	s.m.keep(s.hold, snap)
	s.m.metrics.snapshots.WithLabelValues(resultWritten).Inc()
	s.m.metrics.snapshotSeconds.WithLabelValues(operationWrite).Observe(time.Since(start).Seconds())
}

// due says whether a new snapshot is worth writing: when folding the log from the last one would take a while, or when that
// will soon be too old to be kept.
func (s *shard) due(folded uint64) bool {
	if s.snap.Folded == 0 {
		return folded >= s.m.cfg.SnapshotChanges
	}
	return folded >= s.snap.Folded+s.m.cfg.SnapshotChanges || time.Since(s.snap.written) > wire.Indexes().MaxAge/2
}

func (s *shard) put(ctx context.Context, folded uint64) (snapshot, error) {
	log, err := s.m.b.Log(ctx, wire.UsersStream(s.app, s.id))
	if err != nil {
		return snapshot{}, err
	}
	snap := snapshot{IndexPlace: wire.IndexPlace{Created: log.Created, Folded: folded}, written: time.Now()}
	if folded > log.Last {
		return snapshot{}, fmt.Errorf("%w: ours goes up to %d, and this index is folded up to %d", errOtherLog, log.Last, folded)
	}
	snap.bytes, err = s.m.b.PutObject(ctx, wire.Indexes(), wire.IndexObject(s.app, s.id), wire.EncodeIndexPlace(snap.IndexPlace), func(w io.Writer) error {
		gather := bufio.NewWriterSize(w, 128<<10) // the broker's pieces are as long as what it is given
		if err := s.index.Write(gather); err != nil {
			return err
		}
		return gather.Flush()
	})
	return snap, err
}
