package history

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// Known is a push as far as anything tells of it.
type Known struct {
	// Push is without body, vendor part and random number when Past is set, and without condition when that is a long one.
	*push.Push
	// Past is what TASKS keeps of a push that the logs no longer have; nil while they do.
	Past *wire.Task
}

func past(app push.AppID, seq push.Seq, t *wire.Task) Known {
	return Known{Past: t, Push: &push.Push{
		App: app, Seq: seq, Sender: t.Sender, Caller: t.Caller, At: t.At, Lifetime: t.Lifetime, Condition: t.Condition,
	}}
}

// Know gives a push of the app from the logs, or from beyond them what is kept of it. The error is ErrNoPush when there is
// neither.
func (h *History) Know(ctx context.Context, app push.AppID, seq push.Seq) (Known, error) {
	p, err := h.Push(ctx, app, seq)
	if !errors.Is(err, ErrNoPush) {
		return Known{Push: p}, err
	}
	t, _, err := h.Task(ctx, app, seq)
	if err != nil {
		return Known{}, err
	}
	return past(app, seq, t), nil
}

// Task gives a push's entry of TASKS, and its revision; ErrNoPush when there is none, with the revision of what stands in
// its place.
func (h *History) Task(ctx context.Context, app push.AppID, seq push.Seq) (t *wire.Task, rev uint64, err error) {
	m, err := h.b.Last(ctx, wire.TasksStream, wire.TaskSubject(app, seq))
	if errors.Is(err, broker.ErrNotFound) {
		return nil, 0, ErrNoPush
	}
	if err != nil {
		return nil, 0, err
	}
	if len(m.Data) == 0 { // the broker's mark that its time is over
		return nil, m.Seq, ErrNoPush
	}
	if t, err = wire.DecodeTask(m.Data); err != nil {
		return nil, m.Seq, fmt.Errorf("what is kept of push %d: %w", seq, err)
	}
	return t, m.Seq, nil
}

// Past lists pushes of the app that TASKS knows, among them such as the logs still have: at most limit of those before a
// sequence, the newest first.
func (h *History) Past(ctx context.Context, app push.AppID, before push.Seq, limit int) ([]Known, error) {
	subjects, err := h.b.Subjects(ctx, wire.TasksStream, wire.TaskFilter(app))
	if err != nil {
		return nil, err
	}
	var seqs []push.Seq
	for _, subject := range subjects {
		_, seq, err := wire.ParseTaskSubject(subject)
		if err != nil {
			return nil, err
		}
		if seq < before {
			seqs = append(seqs, seq)
		}
	}
	slices.Sort(seqs)
	slices.Reverse(seqs)
	var all []Known
	for some := range slices.Chunk(seqs, max(1, limit)) {
		names := make([]string, len(some))
		for i, seq := range some {
			names[i] = wire.TaskSubject(app, seq)
		}
		found, err := h.b.LastOf(ctx, wire.TasksStream, names)
		if err != nil {
			return nil, err
		}
		for i, seq := range some {
			m := found[names[i]]
			if m == nil || len(m.Data) == 0 { // its time is over
				continue
			}
			if len(all) == limit {
				return all, nil
			}
			t, err := wire.DecodeTask(m.Data)
			if err != nil {
				h.log.Error("what is kept of a push cannot be read; it is left out", "app", app, "push", seq, "err", err)
				continue
			}
			all = append(all, past(app, seq, t))
		}
	}
	return all, nil
}
