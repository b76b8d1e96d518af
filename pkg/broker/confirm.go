package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/pkg/wire"
)

// Where a stream has replicas, any of them answers a read, and one may be behind what the stream's leader has acknowledged.
// So two answers are not believed before the leader has said the same: that there is no such message, and one that is older
// than what this process knows to be there, since it wrote it or was refused for it.

// floors remembers, for the subjects that were written last from here, the least sequence that their last message has. It is
// bounded: a subject that falls out is read from a replica again, by when that has long caught up.
type floors struct {
	mu    sync.Mutex
	least map[string]uint64
	order []string // a ring of the map's keys, in the order in which they came
	next  int
}

// maxFloors is how many subjects are remembered: 64 of the largest batches.
const maxFloors = 64 * maxBatch

func (f *floors) set(subject string, seq uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.least == nil {
		f.least = map[string]uint64{}
	}
	if _, ok := f.least[subject]; !ok {
		if len(f.order) < maxFloors {
			f.order = append(f.order, subject)
		} else {
			delete(f.least, f.order[f.next])
			f.order[f.next], f.next = subject, (f.next+1)%maxFloors
		}
	}
	f.least[subject] = seq
}

// stale says whether a sequence cannot be that of the subject's last message.
func (f *floors) stale(subject string, seq uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return seq < f.least[subject]
}

// wrote notes the outcome of a write. What was refused for its expected sequence has another one by now, and sequences grow.
func (b *core) wrote(err error, seqs []uint64, msgs ...Message) {
	if b.cfg.Replicas == 1 {
		return
	}
	for i, m := range msgs {
		switch {
		case err == nil && i < len(seqs):
			b.floors.set(m.Subject, seqs[i])
		case errors.Is(err, ErrConflict) && m.Expect != nil:
			b.floors.set(m.Subject, *m.Expect+1)
		}
	}
}

// replicated says whether a stream is read from replicas that may be behind.
func (b *core) replicated(s jetstream.Stream) bool {
	return b.cfg.Replicas > 1 || s.CachedInfo().Config.Replicas > 1
}

// msgGet is what the broker is asked for a message: by its sequence or as the last of a subject.
type msgGet struct {
	Seq     uint64 `json:"seq,omitempty"`
	LastFor string `json:"last_by_subj,omitempty"`
}

// leaderPatience bounds a read from the leader where the caller sets no time.
const leaderPatience = 10 * time.Second

// fromLeader reads a message from the stream's leader; the error is ErrNotFound when that has none.
func (b *core) fromLeader(ctx context.Context, stream string, get msgGet) (*Message, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, leaderPatience)
		defer cancel()
	}
	what := get.LastFor
	if what == "" {
		what = fmt.Sprintf("%s at %d", stream, get.Seq)
	}
	req, err := json.Marshal(get)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	var answer *nats.Msg
	err = b.conns.answered(ctx, func(ctx context.Context) (err error) {
		once, stop := context.WithTimeout(ctx, askTime)
		defer stop()
		answer, err = b.in.Conn().RequestWithContext(once, wire.LeaderSubject(stream), req)
		if err != nil && once.Err() != nil && ctx.Err() == nil { // perhaps there was no leader to answer
			answer, err = b.insist(ctx, wire.LeaderSubject(stream), req)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read %s from the leader of its stream: %w", what, err)
	}
	var got struct {
		Error   *jetstream.APIError `json:"error"`
		Message *struct {
			Subject string    `json:"subject"`
			Seq     uint64    `json:"seq"`
			Header  []byte    `json:"hdrs"`
			Data    []byte    `json:"data"`
			Time    time.Time `json:"time"`
		} `json:"message"`
	}
	if err := json.Unmarshal(answer.Data, &got); err != nil {
		return nil, fmt.Errorf("read %s from the leader of its stream: %w", what, err)
	}
	switch {
	case got.Error != nil && got.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return nil, fmt.Errorf("%s: %w", what, ErrNotFound)
	case got.Error != nil:
		return nil, fmt.Errorf("read %s from the leader of its stream: %w", what, got.Error)
	case got.Message == nil:
		return nil, fmt.Errorf("read %s from the leader of its stream: the answer is empty", what)
	}
	m := &Message{Subject: got.Message.Subject, Data: got.Message.Data, Seq: got.Message.Seq, Time: got.Message.Time}
	if len(got.Message.Header) > 0 {
		h, err := nats.DecodeHeadersMsg(got.Message.Header)
		if err != nil {
			return nil, fmt.Errorf("read %s from the leader of its stream: %w", what, err)
		}
		m.Header = header(h)
	}
	return m, nil
}

// confirmers is how many subjects of one read are asked of the leader at a time.
const confirmers = 16

// confirm asks the leader for those of the subjects that a replica has not found, or has too old.
func (b *core) confirm(ctx context.Context, stream string, subjects []string, found map[string]*Message) error {
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(confirmers)
	for _, subject := range subjects {
		mu.Lock()
		m := found[subject]
		mu.Unlock()
		if m != nil && !b.floors.stale(subject, m.Seq) {
			continue
		}
		g.Go(func() error {
			m, err := b.fromLeader(ctx, stream, msgGet{LastFor: subject})
			mu.Lock()
			defer mu.Unlock()
			if errors.Is(err, ErrNotFound) {
				delete(found, subject)
				return nil
			}
			if err == nil {
				found[subject] = m
				b.floors.set(subject, m.Seq)
			}
			return err
		})
	}
	return g.Wait()
}
