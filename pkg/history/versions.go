package history

import (
	"context"
	"errors"
	"fmt"
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
}

// versions are what is known of one user's record: in order, without a gap, and the last is the record of now.
type versions []version

// versions reads a user's versions, with the sequence of the one before the first of them: 0 when there was none, and
// wire.BeforeUnknown when nothing tells. Of an account without a record there are none.
func (h *History) versions(ctx context.Context, app push.AppID, ordinal push.Ordinal) (vs versions, before uint64, err error) {
	shard := h.b.Sharding().Shard(ordinal)
	m, err := h.b.Last(ctx, wire.UsersStream(app, shard), wire.UserSubject(app, shard, ordinal))
	if errors.Is(err, broker.ErrNotFound) {
		return nil, wire.BeforeUnknown, nil
	}
	if err != nil {
		return nil, 0, err
	}
	last, err := wire.DecodeVersion(m.Data, m.Seq, m.Time, m.Header[wire.HeaderBefore])
	var all []wire.Version
	if err == nil {
		all, before, err = last.Versions()
	}
	if err != nil {
		return nil, 0, fmt.Errorf("the record of ordinal %d: %w", ordinal, err)
	}
	for _, v := range all {
		vs = append(vs, version{log: v.Seq, at: v.At, record: v.Record})
	}
	return vs, before, nil
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
	case i >= 0:
		return i, existing
	case born:
		return -1, absent
	}
	return -1, unknown
}
