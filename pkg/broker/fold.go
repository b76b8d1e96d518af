package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/carillon-push/carillon/pkg/wire"
)

// Pulls are short, so that a lost broker is noticed in seconds.
const (
	pullExpiry    = 5 * time.Second
	pullHeartbeat = time.Second
	foldPull      = 5000    // messages fetched ahead: a replay runs at the broker's speed
	foldBytes     = 8 << 20 // bytes fetched ahead: a log of bitmaps must not fill the memory
	maxBackoff    = 2 * time.Second
	// foldIdle is how long the broker keeps the consumer of a fold that has gone without a word.
	foldIdle = 30 * time.Second
	// consumerTime is how long making a consumer may take: the server that is to have it may be gone, and the next try may
	// get another. Who follows again waits for a quarter of that at first, as a cluster gives consumers to a server that has
	// just died as to any other, and for twice as long each time, as it may be the broker that is slow.
	consumerTime = 2 * time.Second
	// foldRecheck is how often a fold that waits for a server which is behind asks again what is to come.
	foldRecheck = 20 * time.Millisecond
	// foldBehind is how long a fold waits for messages that the stream has, and the server of its consumer has not.
	foldBehind = 2 * time.Second
)

// FoldConfig says what to replay.
type FoldConfig struct {
	// Name shows how far the fold is behind, in the metrics and to Stuck; one of few. Empty: it is not shown.
	Name   string
	Stream string
	// Filter is a subject filter within the stream; empty for all.
	Filter string
	// Start is the first sequence wanted; zero for the stream's first.
	Start uint64
	// Since is the broker's time of the first message wanted, where Start is not set.
	Since time.Time
	// StopWhenRead ends the fold, without error, when everything that was there at its start has been handled.
	StopWhenRead bool
	// CaughtUp, when set, is called once: when everything that was there at the start has been handled.
	CaughtUp func()
	// Handle takes the messages in order, one at a time. An error ends the fold.
	Handle func(*Message) error
}

// Fold replays a stream in order and then follows it, until ctx ends or Handle fails. It survives the loss of the broker:
// it goes on behind the last message that was handled. Each message is handled exactly once by one call of Fold.
func (b *Broker) Fold(ctx context.Context, cfg FoldConfig) error {
	f := fold{cfg: cfg, next: cfg.Start, seen: follower{name: cfg.Name, stream: cfg.Stream, filter: cfg.Filter}}
	defer b.track(&f.seen)()
	backoff := 50 * time.Millisecond
	for {
		handled := f.next
		err := b.foldOnce(ctx, &f)
		if f.failed != nil {
			return f.failed
		}
		if f.read && cfg.StopWhenRead {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if f.next != handled {
			backoff = 50 * time.Millisecond
		}
		f.seen.broke(err)
		b.metrics.interrupted.WithLabelValues(interruptedFold).Inc()
		b.log.Warn("following a stream was interrupted; will go on", "stream", cfg.Stream, "filter", cfg.Filter, "at", f.next, "err", err)
		select { // the pause wakes it, ctx ends it
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(backoff):
			backoff = min(2*backoff, maxBackoff)
		}
	}
}

type fold struct {
	cfg    FoldConfig
	next   uint64 // sequence behind the last handled one
	read   bool   // everything that was there at the start has been handled
	goal   uint64 // sequence behind the newest message when it was asked for
	asked  bool
	again  bool  // it has had, or tried to have, a consumer
	mute   int   // tries in a row, but the first of all, to make one that were not answered
	failed error // from Handle
	seen   follower
}

// errGap is why a fold begins again behind what it has: a message was lost on its way here.
var errGap = errors.New("a message was lost on its way")

// errBehind is why a fold begins again, with a consumer that may be on another server.
var errBehind = errors.New("the server that was asked does not have the newest messages yet")

// foldOnce follows until the connection is lost, or something on it. The consumer is a plain one, and not the client's
// ordered one: the way back of that may wait for ten seconds for an answer that went with the connection, and asks for the
// same name again, which a cluster may have given to a server that is gone.
func (b *Broker) foldOnce(ctx context.Context, f *fold) (err error) {
	ctx, cancel := b.conns.until(ctx)
	defer cancel()
	defer func() { err = cause(ctx, err) }()
	if f.again {
		if err := b.answering(ctx, wire.ClusterSubject); err != nil {
			return fmt.Errorf("follow %s: %w", f.cfg.Stream, err)
		}
	}
	making, made := context.WithTimeout(ctx, f.patience())
	cons, err := b.in.CreateConsumer(making, f.cfg.Stream, f.consumer())
	made()
	if f.again = true; err != nil {
		return fmt.Errorf("follow %s: %w", f.cfg.Stream, err)
	}
	f.mute = 0
	info := cons.CachedInfo()
	defer b.forget(ctx, f.cfg.Stream, info.Name)
	f.seen.follows(info.Name)
	read := info.NumPending == 0
	if read && b.caughtUp(ctx, f) {
		return nil
	}
	msgs, err := cons.Messages(jetstream.PullMaxMessagesWithBytesLimit(foldPull, foldBytes), jetstream.PullExpiry(pullExpiry),
		jetstream.PullHeartbeat(pullHeartbeat), jetstream.WithMessagesErrOnMissingHeartbeat(true))
	if err != nil {
		return fmt.Errorf("follow %s: %w", f.cfg.Stream, err)
	}
	defer msgs.Stop()
	begun := time.Now()
	for last := uint64(0); ; {
		m, err := f.message(ctx, msgs, read)
		if read && errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			f.asked = false // what was the newest may be gone
			if b.caughtUp(ctx, f) {
				return nil
			}
			if !f.read && time.Since(begun) > foldBehind {
				return fmt.Errorf("follow %s: %w", f.cfg.Stream, errBehind)
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("follow %s: %w", f.cfg.Stream, err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("follow %s: %w", f.cfg.Stream, err)
		}
		if meta.Sequence.Consumer != last+1 {
			return fmt.Errorf("follow %s: %w", f.cfg.Stream, errGap)
		}
		last++
		msg := fromStream(m, meta)
		f.seen.begin(last, msg.More)
		if f.failed = f.cfg.Handle(&msg); f.failed != nil {
			return f.failed
		}
		f.seen.end(last)
		f.next = msg.Seq + 1
		read = read || msg.More == 0
		if read && b.caughtUp(ctx, f) {
			return nil
		}
	}
}

// patience is how long the next try to make a consumer may take.
func (f *fold) patience() time.Duration {
	if !f.again {
		return consumerTime
	}
	f.mute++
	return consumerTime >> max(0, 3-f.mute)
}

// consumer is what hands the fold its messages from where it is. It is this process's alone, and keeps nothing.
func (f *fold) consumer() jetstream.ConsumerConfig {
	c := jetstream.ConsumerConfig{
		FilterSubject: f.cfg.Filter, DeliverPolicy: jetstream.DeliverAllPolicy, AckPolicy: jetstream.AckNonePolicy,
		InactiveThreshold: foldIdle, MemoryStorage: true, Replicas: 1,
	}
	switch {
	case f.next == 0 && !f.cfg.Since.IsZero():
		c.DeliverPolicy, c.OptStartTime = jetstream.DeliverByStartTimePolicy, &f.cfg.Since
	case f.next > 0:
		c.DeliverPolicy, c.OptStartSeq = jetstream.DeliverByStartSequencePolicy, f.next
	}
	return c
}

// message waits for the next message; for a moment only while it has to be asked again whether there is one (read).
func (f *fold) message(ctx context.Context, msgs jetstream.MessagesContext, read bool) (jetstream.Msg, error) {
	if read && !f.read {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, foldRecheck)
		defer cancel()
	}
	return msgs.Next(jetstream.NextContext(ctx))
}

// caughtUp notes that the start's messages have been handled, once the broker had said that there were no more, and says
// whether that ends the fold. A consumer is on one server of a cluster, and knows of no more than that has: one that is
// catching up has less than the stream. The stream's leader says which is the newest, and what does not have that waits.
func (b *Broker) caughtUp(ctx context.Context, f *fold) bool {
	if f.read {
		return f.cfg.StopWhenRead
	}
	if !f.asked {
		goal, err := b.goal(ctx, f.cfg)
		if err != nil {
			return false
		}
		f.goal, f.asked = goal, true
	}
	if f.next < f.goal {
		return false
	}
	f.read = true
	if f.cfg.CaughtUp != nil {
		f.cfg.CaughtUp()
	}
	return f.cfg.StopWhenRead
}

// goal is the sequence behind the newest message that a fold of a replicated stream is to have, by its leader's word; 0 when
// there is none, or only one server that could be asked.
func (b *Broker) goal(ctx context.Context, cfg FoldConfig) (uint64, error) {
	s, err := b.stream(ctx, cfg.Stream)
	if err != nil {
		return 0, err
	}
	if !b.replicated(s) {
		return 0, nil
	}
	filter := cfg.Filter
	if filter == "" {
		filter = ">"
	}
	newest, err := b.fromLeader(ctx, cfg.Stream, msgGet{LastFor: filter})
	if errors.Is(err, ErrNotFound) || err == nil && newest.Time.Before(cfg.Since) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return newest.Seq + 1, nil
}

// forget takes a fold's consumer from the broker, which keeps a limited number of them for each stream. One that cannot be
// reached the broker takes itself after foldIdle.
func (b *Broker) forget(ctx context.Context, stream, consumer string) {
	if errors.Is(context.Cause(ctx), ErrLost) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = b.in.DeleteConsumer(ctx, stream, consumer)
}

func fromStream(m jetstream.Msg, meta *jetstream.MsgMetadata) Message {
	msg := Message{
		Subject: m.Subject(), Data: m.Data(), Header: header(m.Headers()),
		Seq: meta.Sequence.Stream, Time: meta.Timestamp, More: meta.NumPending,
	}
	if ttl, has := msg.Header[jetstream.MsgTTLHeader]; has {
		msg.TTL, _ = time.ParseDuration(ttl) // as nats writes it; what another client has written otherwise is none
	}
	return msg
}
