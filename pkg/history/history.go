// Package history reads back, from the logs, what became of pushes: the counts of a push, its story for one user, whom its
// condition holds for today, and the logs themselves. It writes nothing.
//
// What it reads, and how far each reaches back:
//
//   - PUSHES, AUDIENCES, RECEIPTS and NOTICES, for the retention of pushes.
//   - TASKS, for what stays of a push after that: its counts. While the logs have the push, they are what is asked.
//   - A shard's log, for where a push stands in it, and for the user's record, which carries its earlier versions
//     (wire.Past): those that pushes of the retention saw, as far as there is room for them.
//
// An audience says up to which sequence of the shard's log the matcher had folded the records when it evaluated the push
// (wire.HeaderEvaluated). So the record that the matcher saw is the last version at or before that sequence, whatever the
// clocks of this system say. Where no version tells, the answer is unknown, and never a guess.
package history

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/directory"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// ErrNoPush is returned for a push that never was, that is another app's, or that the logs no longer hold.
var ErrNoPush = errors.New("the app has no such push, or it is longer ago than pushes are kept")

// History of one installation. Its methods are safe for concurrent use.
type History struct {
	b   *broker.Broker
	dir *directory.Directory
	log *slog.Logger
	now func() time.Time
}

// New reads from a broker.
func New(b *broker.Broker, log *slog.Logger) *History {
	return &History{b: b, dir: directory.New(b), log: log.With("component", "history"), now: time.Now}
}

// Push gives a push of the app, ErrNoPush when there is none. A revocation is no push.
func (h *History) Push(ctx context.Context, app push.AppID, seq push.Seq) (*push.Push, error) {
	p, _, err := h.find(ctx, app, seq)
	return p, err
}

// find gives a push with its subject, which its copies have too.
func (h *History) find(ctx context.Context, app push.AppID, seq push.Seq) (*push.Push, string, error) {
	if seq == 0 {
		return nil, "", ErrNoPush
	}
	m, err := h.b.Get(ctx, wire.PushesStream, uint64(seq))
	if errors.Is(err, broker.ErrNotFound) {
		return nil, "", ErrNoPush
	}
	if err != nil {
		return nil, "", err
	}
	p, err := wire.DecodePush(m.Data, seq)
	if err != nil {
		return nil, "", err
	}
	if p.App != app || p.Revokes != 0 {
		return nil, "", ErrNoPush
	}
	return p, m.Subject, nil
}

// Revocation gives the revocation of a push, nil when it is not revoked.
func (h *History) Revocation(ctx context.Context, p *push.Push) (*push.Push, error) {
	m, err := h.b.Last(ctx, wire.PushesStream, wire.RevocationSubject(p.App, p.Seq))
	if errors.Is(err, broker.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r, err := wire.DecodePush(m.Data, push.Seq(m.Seq))
	if err != nil {
		return nil, fmt.Errorf("read the revocation of push %d: %w", p.Seq, err)
	}
	return r, nil
}
