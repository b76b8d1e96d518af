package broker

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/carillon-push/carillon/pkg/wire"
)

// behind gives consumers that are on a server which lacks messages of the stream: they say that there are no more than it has,
// and give the others after some while.
type behind struct {
	jetstream.JetStream
	// has is how many messages the server of each consumer has when that is made, in the order of their making; a later one has
	// them all.
	has []int
	// away is how many times such a consumer is asked in vain for a message that its server lacks.
	away int
	made int
}

func (j *behind) CreateConsumer(ctx context.Context, stream string, cfg jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	c, err := j.JetStream.CreateConsumer(ctx, stream, cfg)
	if j.made++; err != nil || j.made > len(j.has) {
		return c, err
	}
	return &lagging{Consumer: c, has: j.has[j.made-1], away: j.away}, nil
}

type lagging struct {
	jetstream.Consumer
	has, away int
}

func (c *lagging) CachedInfo() *jetstream.ConsumerInfo {
	info := *c.Consumer.CachedInfo()
	info.NumPending = uint64(c.has)
	return &info
}

func (c *lagging) Messages(opts ...jetstream.PullMessagesOpt) (jetstream.MessagesContext, error) {
	msgs, err := c.Consumer.Messages(opts...)
	return &late{MessagesContext: msgs, has: c.has, away: c.away}, err
}

type late struct {
	jetstream.MessagesContext
	has, given, away int
}

func (m *late) Next(opts ...jetstream.NextOpt) (jetstream.Msg, error) {
	if m.given >= m.has && m.away > 0 {
		m.away--
		return nil, context.DeadlineExceeded
	}
	msg, err := m.MessagesContext.Next(opts...)
	if err != nil {
		return nil, err
	}
	m.given++
	return entry{msg, uint64(max(0, m.has-m.given))}, nil
}

type entry struct {
	jetstream.Msg
	pending uint64
}

func (e entry) Metadata() (*jetstream.MsgMetadata, error) {
	meta, err := e.Msg.Metadata()
	if err == nil {
		meta.NumPending = e.pending
	}
	return meta, err
}

// open is a broker of one server.
func open(t *testing.T) *Broker {
	t.Helper()
	cfg := Default()
	cfg.Dir = t.TempDir()
	b, err := Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// viewed is a broker whose streams count as replicated, or do not, and whose consumers are those of in.
func viewed(b *Broker, replicas int, in jetstream.JetStream) *Broker {
	cfg := b.cfg
	cfg.Replicas = replicas
	return &Broker{core: &core{
		cfg: cfg, log: b.log, nc: b.nc, js: b.js, in: in, metrics: b.metrics,
		streams: map[string]jetstream.Stream{}, followers: map[*follower]struct{}{},
	}}
}

// A fold has caught up when it has what the stream has, and not what the server of its consumer has. One whose server stays
// behind goes on by another.
func TestAFoldOnAServerThatIsBehind(t *testing.T) {
	t.Parallel()
	b := open(t)
	const n = 10
	for i := range n {
		if _, _, err := b.Publish(t.Context(), Message{Subject: wire.PushSubject(7, fmt.Sprint(i))}); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		has  []int
		away int
	}{
		"has nothing":                {[]int{0}, 3},
		"has some":                   {[]int{6}, 3},
		"has all":                    {[]int{n}, 3},
		"stays behind":               {[]int{6}, 1 << 40},
		"one after the other behind": {[]int{3, 0}, 1 << 40},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			view := viewed(b, 3, &behind{JetStream: b.in, has: c.has, away: c.away})
			var got []uint64
			caught := 0
			err := view.Fold(t.Context(), FoldConfig{
				Stream: wire.PushesStream, StopWhenRead: true,
				CaughtUp: func() {
					if caught++; len(got) != n {
						t.Errorf("caught up with %v", got)
					}
				},
				Handle: func(m *Message) error { got = append(got, m.Seq); return nil },
			})
			if err != nil || caught != 1 {
				t.Errorf("caught up %d times, %v", caught, err)
			}
			if len(got) != n || !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != n {
				t.Errorf("handled %v", got)
			}
		})
	}
}

// Only where there is another server to be behind of is the leader asked: once, where nothing is behind.
func TestTheLeaderIsAskedOnlyWithReplicas(t *testing.T) {
	t.Parallel()
	b := open(t)
	if _, _, err := b.Publish(t.Context(), Message{Subject: wire.PushSubject(7, "a")}); err != nil {
		t.Fatal(err)
	}
	asked, err := b.nc.SubscribeSync(wire.LeaderSubject(wire.PushesStream))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		replicas int
		want     int
	}{{1, 0}, {3, 1}} {
		view := viewed(b, c.replicas, b.in)
		err := view.Fold(t.Context(), FoldConfig{Stream: wire.PushesStream, StopWhenRead: true, Handle: func(*Message) error { return nil }})
		if err != nil {
			t.Fatal(err)
		}
		// What the fold has asked went to the server before this, which answers behind it.
		if err := b.in.Conn().Flush(); err != nil {
			t.Fatal(err)
		}
		if err := b.nc.Flush(); err != nil {
			t.Fatal(err)
		}
		n, _, err := asked.Pending()
		if err != nil || n != c.want {
			t.Errorf("with %d replicas the leader was asked %d times, %v, want %d", c.replicas, n, err, c.want)
		}
	}
}

// What a fold of one message costs, and what the question to the leader adds to it.
func BenchmarkFoldCatchesUp(b *testing.B) {
	cfg := Default()
	cfg.Dir = b.TempDir()
	br, err := Open(b.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer br.Close()
	if _, _, err := br.Publish(b.Context(), Message{Subject: wire.PushSubject(7, "a")}); err != nil {
		b.Fatal(err)
	}
	for _, replicas := range []int{1, 3} {
		b.Run(fmt.Sprint("replicas=", replicas), func(b *testing.B) {
			view := viewed(br, replicas, br.in)
			for b.Loop() {
				err := view.Fold(b.Context(), FoldConfig{Stream: wire.PushesStream, StopWhenRead: true, Handle: func(*Message) error { return nil }})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
