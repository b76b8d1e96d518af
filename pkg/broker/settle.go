package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// How long a start waits for a broker that does not answer: for servers that are there, and for the others of a cluster that
// is formed here, which may be started by hand.
const (
	answerWait  = 30 * time.Second
	clusterWait = 2 * time.Minute
)

// How long a try may take: a question, and making a stream.
const (
	askTime  = 500 * time.Millisecond
	makeTime = 2 * time.Second
)

// How often it is tried again, and how often that is told.
const (
	settlePause = 100 * time.Millisecond
	settleTell  = 2 * time.Second
)

// settling tries again what a cluster cannot do yet: one that has just begun has no leaders, or too few servers, and
// containers start in any order.
type settling struct {
	// patience is how long it tries while nobody answers, or the answer is another than that there is no leader.
	patience time.Duration
	// stands says whether servers are there, which will have a leader some time: as long as they are, there is no end to
	// the patience. To end would help nobody, since whoever is started again waits for the same.
	stands func(context.Context) bool
	// tell is called now and then with the last reason.
	tell func(error)
}

// until tries until it succeeds, fails for good, ctx ends or the patience does. A try has a time, since what has no leader
// is not answered at all.
func (s settling) until(ctx context.Context, each time.Duration, try func(context.Context) error) error {
	hopeful, told := time.Now(), time.Now()
	for {
		once, stop := context.WithTimeout(ctx, each)
		err := try(once)
		stop()
		if err == nil || !unsettled(err) {
			return err
		}
		if leaderless(err) && ctx.Err() == nil && s.stands(ctx) {
			hopeful = time.Now()
		}
		if time.Since(hopeful) >= s.patience {
			return err
		}
		if time.Since(told) > settleTell {
			told = time.Now()
			s.tell(err)
		}
		select { // the pause wakes it, ctx ends it
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(settlePause):
		}
	}
}

// settle is settling at this broker.
func (b *core) settle(ctx context.Context, what string, each time.Duration, try func(context.Context) error) error {
	s := settling{patience: answerWait, stands: b.stands, tell: func(err error) { b.log.Info("waiting for the broker", "to", what, "err", err) }}
	if b.srv != nil && b.cfg.Cluster.Set() {
		s.patience = clusterWait
	}
	err := s.until(ctx, each, try)
	if err != nil && unsettled(err) {
		return fmt.Errorf("the broker at %s cannot %s: %w", place(b.cfg.URL), what, err)
	}
	return err
}

// stands says whether servers answer, for who waits for them however long it takes. The embedded one is ours: that counts
// once it has found another.
func (b *core) stands(ctx context.Context) bool {
	if b.srv != nil {
		return b.srv.NumRoutes() > 0
	}
	if !b.waits || b.nc.Status() != nats.CONNECTED {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	return b.nc.FlushWithContext(ctx) == nil
}

// Codes of a cluster that cannot do something now and will.
const (
	codeNoLeader      jetstream.ErrorCode = 10008 // the cluster's leader is gone
	codeNoPeers       jetstream.ErrorCode = 10005 // fewer servers are there than a stream has replicas
	codeStreamOffline jetstream.ErrorCode = 10118
)

// unsettled says whether an error may go by itself. A stream that another process is making exists for who makes it, and not
// yet for who looks it up.
func unsettled(err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.Code == 503 || api.ErrorCode == codeNoPeers || api.ErrorCode == codeStreamOffline || api.ErrorCode == jetstream.JSErrCodeStreamNotFound
	}
	return errors.Is(err, ErrNotFound) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrNoResponders) ||
		errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, jetstream.ErrJetStreamNotEnabled)
}

// leaderless says whether an error is what a cluster without a leader gives: it says so, or nobody answers for it.
func leaderless(err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.ErrorCode == codeNoLeader
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, jetstream.ErrNoStreamResponse)
}
