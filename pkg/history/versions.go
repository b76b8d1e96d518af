package history

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// version is a user's record as it stood from one sequence of the shard's log to the next version's.
type version struct {
	log    uint64
	at     time.Time
	record push.Record
	// before is the sequence of the version before, 0 for the first, and nil where nothing tells.
	before *uint64
}

// versions are what is known of one user's record, in order.
type versions []version

// Times of a look at a user's versions: the history is some milliseconds behind the shard's log.
const (
	lateFirst = 5 * time.Millisecond
	lateWait  = 500 * time.Millisecond
)

// versions reads a user's versions: those of the history, and the last one from the shard's log. Where the log's last one
// tells that there was another before it which the history does not have, it looks again for a while.
func (h *History) versions(ctx context.Context, app push.AppID, ordinal push.Ordinal) (versions, error) {
	until := time.Now().Add(lateWait)
	for pause := lateFirst; ; pause *= 2 {
		vs, err := h.versionsNow(ctx, app, ordinal)
		if err != nil || !vs.late() || time.Now().Add(pause).After(until) {
			return vs, err
		}
		select { // the pause wakes it, ctx ends it
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (h *History) versionsNow(ctx context.Context, app push.AppID, ordinal push.Ordinal) (vs versions, err error) {
	shard := h.b.Sharding().Shard(ordinal)
	subject := wire.UserSubject(app, shard, ordinal)
	m, err := h.b.Last(ctx, wire.UsersStream(app, shard), subject)
	if errors.Is(err, broker.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	last := version{log: m.Seq, at: m.Time}
	if last.record, err = wire.DecodeRecord(m.Data); err != nil {
		return nil, fmt.Errorf("the record of ordinal %d: %w", ordinal, err)
	}
	if n, err := strconv.ParseUint(m.Header[wire.HeaderBefore], 10, 64); err == nil {
		last.before = &n
		if n == 0 { // the only one: no need to look for others
			return versions{last}, nil
		}
	}
	err = h.b.Fold(ctx, broker.FoldConfig{
		Stream: wire.HistoryStream(app), Filter: subject, StopWhenRead: true,
		Handle: func(m *broker.Message) error {
			at, err := wire.ParseSource(m.Header[wire.HeaderSource])
			if err != nil {
				return fmt.Errorf("a version of ordinal %d: %w", ordinal, err)
			}
			r, err := wire.DecodeRecord(m.Data)
			if err != nil {
				return fmt.Errorf("a version of ordinal %d: %w", ordinal, err)
			}
			// A source that begins anew may copy twice; and the log may have gone on since it was read.
			if log := uint64(at); log < last.log && (len(vs) == 0 || vs[len(vs)-1].log < log) {
				vs = append(vs, version{log: log, at: m.Time, record: r})
			}
			return nil
		},
	})
	return append(vs, last), err
}

// late says whether the last version followed one that is not there.
func (vs versions) late() bool {
	n := len(vs)
	if n == 0 || vs[n-1].before == nil || *vs[n-1].before == 0 {
		return false
	}
	return n == 1 || vs[n-2].log != *vs[n-1].before
}

// linked says whether nothing is missing between a version and the one before it. Only the last one can tell: where a
// record is copied the broker takes away what was before it.
func (vs versions) linked(i int) bool {
	return i > 0 && (vs[i].before == nil || *vs[i].before == vs[i-1].log)
}

// around puts the times of versions right to the push's: the log says what came before it, and the history's clock, which
// is some milliseconds late, does not.
func (vs versions) around(place uint64, cut time.Time) {
	for i := range vs {
		if v := &vs[i]; v.log < place && v.at.After(cut) || v.log > place && v.at.Before(cut) {
			v.at = cut
		}
	}
}

// state is what is known of a record at a place in the log.
type state int

const (
	unknown  state = iota // no version tells
	absent                // there was no record yet
	existing              // there was one; it may say that the account is deleted
)

// at gives which version stood at a place of the log. born says that the first version is the account's first.
func (vs versions) at(place uint64, born bool) (int, state) {
	i := -1
	for i+1 < len(vs) && vs[i+1].log <= place {
		i++
	}
	switch {
	case i >= 0 && (i+1 == len(vs) || vs.linked(i+1)):
		return i, existing
	case i >= 0:
		return i, unknown
	case len(vs) > 0 && born:
		return -1, absent
	}
	return -1, unknown
}

// born says whether the first version that is known is the account's first one: the log says so, or the history reaches
// back to before the account was registered.
func (h *History) born(ctx context.Context, app push.AppID, ordinal push.Ordinal, vs versions) (bool, error) {
	if len(vs) == 0 {
		return false, nil
	}
	if vs[0].before != nil {
		return *vs[0].before == 0, nil
	}
	from, err := h.reach(ctx, app)
	if err != nil || from.IsZero() {
		return err == nil, err
	}
	account, err := h.b.Get(ctx, wire.AccountsStream(app), uint64(ordinal))
	if errors.Is(err, broker.ErrNotFound) { // deleted, and nobody knows when it was registered
		return false, nil
	}
	return err == nil && account.Time.After(from), err
}

var errFirst = errors.New("the first message is enough")

// reach is since when the history has every version; the zero time when that is since ever.
func (h *History) reach(ctx context.Context, app push.AppID) (from time.Time, err error) {
	if _, err := h.b.Get(ctx, wire.HistoryStream(app), 1); err == nil {
		return time.Time{}, nil
	} else if !errors.Is(err, broker.ErrNotFound) {
		return h.now(), err
	}
	err = h.b.Fold(ctx, broker.FoldConfig{
		Stream: wire.HistoryStream(app), StopWhenRead: true,
		Handle: func(m *broker.Message) error {
			from = m.Time
			return errFirst
		},
	})
	if errors.Is(err, errFirst) {
		return from, nil
	}
	if err != nil {
		return h.now(), err
	}
	last, err := h.b.LastSeq(ctx, wire.HistoryStream(app))
	if err == nil && last == 0 {
		return time.Time{}, nil
	}
	return h.now(), err // emptied
}
