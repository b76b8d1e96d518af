package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Pulls are short, so that a lost broker is noticed in seconds.
const (
	pullExpiry    = 5 * time.Second
	pullHeartbeat = time.Second
	foldPull      = 5000    // messages fetched ahead: a replay runs at the broker's speed
	foldBytes     = 8 << 20 // bytes fetched ahead: a log of bitmaps must not fill the memory
	maxBackoff    = 2 * time.Second
)

// FoldConfig says what to replay.
type FoldConfig struct {
	Stream string
	// Filter is a subject filter within the stream; empty for all.
	Filter string
	// Start is the first sequence wanted; zero for the stream's first.
	Start uint64
	// LastOnly replays only the last message of each subject.
	LastOnly bool
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
	f := fold{cfg: cfg, next: cfg.Start}
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
	failed error  // from Handle
}

// foldOnce follows the stream by a consumer of its own, until that is lost. The client's own ordered consumer would make
// another of the same name, and where a cluster has given that name to a server that is gone, never get it.
func (b *Broker) foldOnce(ctx context.Context, f *fold) error {
	cons, err := b.consumer(ctx, f)
	if err != nil {
		return fmt.Errorf("follow %s: %w", f.cfg.Stream, err)
	}
	if cons.CachedInfo().NumPending == 0 && f.caughtUp() {
		return nil
	}
	msgs, err := cons.Messages(jetstream.PullMaxMessagesWithBytesLimit(foldPull, foldBytes), jetstream.PullExpiry(pullExpiry), jetstream.PullHeartbeat(pullHeartbeat))
	if err != nil {
		return fmt.Errorf("follow %s: %w", f.cfg.Stream, err)
	}
	defer msgs.Stop()
	for delivered := uint64(1); ; delivered++ {
		m, err := msgs.Next(jetstream.NextContext(ctx))
		if errors.Is(err, jetstream.ErrNoHeartbeat) {
			return fmt.Errorf("follow %s: %w", f.cfg.Stream, err)
		}
		if err != nil {
			return err
		}
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("follow %s: %w", f.cfg.Stream, err)
		}
		if meta.Sequence.Consumer != delivered { // one was lost on its way here
			return fmt.Errorf("follow %s: message %d came as number %d of this consumer, not as %d", f.cfg.Stream, meta.Sequence.Stream, meta.Sequence.Consumer, delivered)
		}
		msg := fromStream(m, meta)
		if f.failed = f.cfg.Handle(&msg); f.failed != nil {
			return f.failed
		}
		f.next = msg.Seq + 1
		if msg.More == 0 && f.caughtUp() {
			return nil
		}
	}
}

const (
	// consumerTime is how long making a consumer may take: the server that is to have it may be gone, and the next try may
	// get another.
	consumerTime = 2 * time.Second
	// consumerIdle is how long the broker keeps a consumer that nobody reads any more.
	consumerIdle = time.Minute
)

// consumer makes one that begins where the fold has come to. It is in one server's memory: when that goes, so does it.
func (b *Broker) consumer(ctx context.Context, f *fold) (jetstream.Consumer, error) {
	cfg := jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverAllPolicy, FilterSubject: f.cfg.Filter, AckPolicy: jetstream.AckNonePolicy, MaxDeliver: -1,
		InactiveThreshold: consumerIdle, MemoryStorage: true, Replicas: 1,
	}
	switch {
	case f.next > 0 && f.next != f.cfg.Start || f.next > 0 && !f.cfg.LastOnly:
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, f.next
	case f.cfg.LastOnly:
		cfg.DeliverPolicy = jetstream.DeliverLastPerSubjectPolicy
		if f.cfg.Filter == "" {
			cfg.FilterSubject = ">"
		}
	}
	ctx, cancel := context.WithTimeout(ctx, consumerTime)
	defer cancel()
	return b.in.CreateConsumer(ctx, f.cfg.Stream, cfg)
}

// caughtUp notes that the start's messages have been handled, and says whether that ends the fold.
func (f *fold) caughtUp() bool {
	if !f.read {
		f.read = true
		if f.cfg.CaughtUp != nil {
			f.cfg.CaughtUp()
		}
	}
	return f.cfg.StopWhenRead
}

func fromStream(m jetstream.Msg, meta *jetstream.MsgMetadata) Message {
	return Message{
		Subject: m.Subject(), Data: m.Data(), Header: header(m.Headers()),
		Seq: meta.Sequence.Stream, Time: meta.Timestamp, More: meta.NumPending,
	}
}
