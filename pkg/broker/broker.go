// Package broker is Carillon's way to NATS JetStream: it embeds a server or dials one, makes the streams that package wire
// describes, and offers the few verbs that the roles are built of:
//
//   - Publish and Write put messages into streams, with compare-and-set and create-once. Write gathers concurrent writes of
//     a stream into atomic batches, since the embedded server syncs to disk once a batch, not once a message.
//   - Last, LastOf and Get read single messages.
//   - Fold replays a stream in order and then follows it; Work takes tasks from a shared durable consumer.
//   - Request, Serve and Gather are the plain requests between processes.
//
// Why a crash between any two lines is safe: a write is in the stream or it is not, and whoever had no answer asks again
// with the same name or the same expected sequence, so that the second writing is refused (ErrConflict) or recognised.
package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// Errors that callers tell apart.
var (
	// ErrConflict is returned by Publish and Write when the subject's last sequence is not the expected one, and for a
	// message that may only be a repeat and is none.
	ErrConflict = errors.New("the subject has changed")
	// ErrRefused is returned by Publish when it is certain that the message is not in its stream. After any error but this
	// and ErrConflict it may be there.
	ErrRefused = errors.New("the broker refuses the message")
	// ErrNotFound is returned by Last and Get when there is no such message.
	ErrNotFound = errors.New("no such message")
	// ErrUnavailable is returned by Request when nobody serves the subject.
	ErrUnavailable = errors.New("nobody serves this now")
	// ErrClosed is returned by whatever asks the broker after Abandon or Close.
	ErrClosed = nats.ErrConnectionClosed
	// ErrLocked is returned by Open when another process has the data directory.
	ErrLocked = errors.New("the data directory is in use by another process")
)

// Broker is a connection to JetStream, and the embedded server where there is one. Its methods are safe for concurrent use.
type Broker struct {
	*core
	// fault, when set, is asked before and after each operation that changes something, and its error is the operation's.
	fault func(operation string) error
}

// core is what a Broker shares with its Faulty views.
type core struct {
	cfg  Config
	log  *slog.Logger
	nc   *nats.Conn          // writes, and requests between processes
	js   jetstream.JetStream // on nc
	bulk *nats.Conn          // batches: what is written alone, as a push is, does not stand behind a thousand messages
	in   jetstream.JetStream // reads, on a connection of their own: a replay does not stand before a write
	srv  *server.Server      // nil when dialled
	lock *dirLock            // nil when dialled

	waits bool // for servers without a leader, as long as they answer

	conns connections

	mu      sync.Mutex
	streams map[string]jetstream.Stream
	writers map[string]*writer
	shards  map[shardKey]bool // whose streams this process has made or seen
	floors  floors
	roles   map[string]membership

	followers map[*follower]struct{}
	metrics   *metrics
	full      fullness
	state     stateCache
}

type shardKey struct {
	app   push.AppID
	shard push.Shard
}

// Open is Connect, and makes the streams that every installation has. It waits for servers without a leader as long as they
// answer. The error is a *Misfit when one is there that cannot be worked with.
func Open(ctx context.Context, cfg Config, log *slog.Logger) (*Broker, error) {
	b, err := connect(ctx, cfg, log, true)
	if err != nil {
		return nil, err
	}
	if err := b.ensureAll(ctx, b.fixed()); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// Connect starts the embedded server or dials, and waits until JetStream answers; for servers of URL at most half a minute.
// Close ends it all.
func Connect(ctx context.Context, cfg Config, log *slog.Logger) (*Broker, error) {
	return connect(ctx, cfg, log, false)
}

func connect(ctx context.Context, cfg Config, log *slog.Logger, waits bool) (*Broker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	b := &Broker{core: &core{
		cfg: cfg, log: log.With("component", "broker"), waits: waits,
		streams: map[string]jetstream.Stream{}, writers: map[string]*writer{}, shards: map[shardKey]bool{},
		roles: map[string]membership{}, metrics: newMetrics(),
	}}
	if err := b.connect(ctx); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

func (b *Broker) connect(ctx context.Context) error {
	opts := []nats.Option{
		nats.Name(b.cfg.Name),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(100 * time.Millisecond),
		nats.RetryOnFailedConnect(true),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			if errors.Is(err, nats.ErrSlowConsumer) {
				b.metrics.slow.Inc()
			}
			b.log.Warn("connection to the broker", "subject", subject, "err", err)
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			b.conns.lost()
			b.metrics.disconnects.Inc()
			if err != nil {
				b.log.Warn("disconnected from the broker", "err", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { b.log.Info("reconnected to the broker") }),
	}
	url := b.cfg.URL
	if url == "" {
		var err error
		if b.lock, err = lockDir(b.cfg.Dir); err != nil {
			return err
		}
		if b.srv, err = embed(ctx, b.cfg, b.log); err != nil {
			return err
		}
		opts = append(opts, nats.InProcessServer(b.srv))
		opts = append(opts, b.cfg.Auth.options()...)
	} else {
		opts = append(opts, b.cfg.clientOptions()...)
	}
	var err error
	if b.nc, b.js, err = dial(url, opts); err != nil {
		return err
	}
	if b.bulk, _, err = dial(url, opts); err != nil {
		return err
	}
	// A read of many subjects makes a channel of this length, whose default is half a megabyte.
	if _, b.in, err = dial(url, append(opts, nats.SyncQueueLen(2*maxLastOf))); err != nil {
		return err
	}
	// A cluster elects its leaders after it takes connections.
	return b.settle(ctx, "answer", askTime, b.Answers)
}

// Answers says whether JetStream answers: in a cluster, whether it has a leader.
func (b *Broker) Answers(ctx context.Context) error {
	if _, err := b.js.AccountInfo(ctx); err != nil {
		return fmt.Errorf("ask JetStream at %s: %w", place(b.cfg.URL), err)
	}
	return nil
}

// answerTime is how long the broker may take to answer where the caller sets no time. What a server had not answered when it
// died is never answered, and another leads after some seconds.
const answerTime = 5 * time.Second

func dial(url string, opts []nats.Option) (*nats.Conn, jetstream.JetStream, error) {
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		return nil, nil, fmt.Errorf("connect to the broker at %s: %w", place(url), err)
	}
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(answerTime))
	if err != nil {
		nc.Close()
		return nil, nil, fmt.Errorf("connect to the broker at %s: %w", place(url), err)
	}
	return nc, js, nil
}

// place is where the broker is, for people: the addresses without the passwords that they may hold.
func place(urls string) string {
	if urls == "" {
		return "this process"
	}
	var places []string
	for u := range strings.SplitSeq(urls, ",") {
		if _, behind, hidden := strings.Cut(u, "@"); hidden {
			u = behind
		}
		places = append(places, strings.TrimSpace(u))
	}
	return strings.Join(places, ", ")
}

// Faulty is a view of the broker whose changing operations fail when fault says so. Tests crash a role between any two
// of its steps with it: fault is asked before an operation, when a failure means that it never happened, and after it,
// when it means that nobody heard that it did.
func (b *Broker) Faulty(fault func(operation string) error) *Broker {
	return &Broker{core: b.core, fault: fault}
}

// guarded runs one changing operation under the view's faults.
func (b *Broker) guarded(operation string, f func() error) error {
	if b.fault == nil {
		return f()
	}
	if err := b.fault("before " + operation); err != nil {
		return err
	}
	if err := f(); err != nil {
		return err
	}
	return b.fault("after " + operation)
}

// Sharding of this installation.
func (b *Broker) Sharding() push.Sharding { return b.cfg.Sharding }

// Retention of pushes, audiences and receipts.
func (b *Broker) Retention() time.Duration { return b.cfg.Retention }

// TasksRetention is how long the counts of a push are kept, from its acceptance.
func (b *Broker) TasksRetention() time.Duration { return b.cfg.Tasks }

// Ready says whether the broker can be reached now.
func (b *Broker) Ready(ctx context.Context) error {
	if b.nc.Status() != nats.CONNECTED {
		return fmt.Errorf("the connection to the broker is %v", b.nc.Status())
	}
	if _, err := b.stream(ctx, wire.PushesStream); err != nil {
		return fmt.Errorf("ask the broker for %s: %w", wire.PushesStream, err)
	}
	return nil
}

// Bytes is how much the installation's streams hold on the broker, by stream name.
func (b *Broker) Bytes(ctx context.Context) (map[string]uint64, error) {
	sizes := map[string]uint64{}
	l := b.js.ListStreams(ctx)
	for info := range l.Info() {
		sizes[info.Config.Name] = info.State.Bytes
	}
	if err := l.Err(); err != nil {
		return nil, fmt.Errorf("list the broker's streams: %w", err)
	}
	return sizes, nil
}

// Abandon ends the connections: whatever waits for the broker fails at once, and so does whatever asks it from now on. It is
// for who cannot wait any longer; Close is still to be called.
func (b *Broker) Abandon() {
	for _, nc := range []*nats.Conn{b.in.Conn(), b.bulk, b.nc} {
		nc.Close()
	}
}

// Close ends the connection and then the embedded server. Everything that publishes or consumes must have ended before.
func (b *Broker) Close() {
	if b.in != nil {
		b.in.Conn().Close()
	}
	if b.bulk != nil {
		b.bulk.Close()
	}
	if b.nc != nil {
		b.nc.Close()
	}
	if b.srv != nil {
		b.srv.Shutdown()
		b.srv.WaitForShutdown()
	}
	if b.lock != nil {
		b.lock.release()
	}
}

// stream gives the handle of a stream, from the broker once and then from memory.
func (b *Broker) stream(ctx context.Context, name string) (jetstream.Stream, error) {
	b.mu.Lock()
	s := b.streams[name]
	b.mu.Unlock()
	if s != nil {
		return s, nil
	}
	s, err := b.in.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("stream %s: %w", name, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("look up stream %s: %w", name, err)
	}
	b.mu.Lock()
	b.streams[name] = s
	b.mu.Unlock()
	return s, nil
}
