package traffic

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/carillon-push/carillon/bench/roles"
	"github.com/carillon-push/carillon/bench/service"
	"github.com/carillon-push/carillon/offline"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
)

// stage is the broker and who is connected to it.
type stage struct {
	o      Options
	dir    string
	server *server.Server
	cfg    broker.Config
	// Connections: ingest's, and one for all matchers.
	ingest, matchers *broker.Broker
	audiences        map[string]audience

	pushed int
	shards int

	working context.Context // of the matchers; end ends it
	end     context.CancelFunc
	ended   sync.WaitGroup
}

const startWait = 10 * time.Second

// serve starts the broker.
func serve(ctx context.Context, o Options) (s *stage, err error) {
	s = &stage{o: o}
	s.working, s.end = context.WithCancel(ctx)
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *stage) start(ctx context.Context) (err error) {
	if s.audiences, err = audiences(s.o); err != nil {
		return err
	}
	if s.dir, err = os.MkdirTemp("", "carillon-bench-"); err != nil {
		return fmt.Errorf("make a directory for the broker: %w", err)
	}
	// What is synced to the disk when does not change what is sent.
	s.server, err = server.NewServer(&server.Options{
		ServerName: "traffic", Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: s.dir, NoSigs: true, NoLog: true,
		DisableJetStreamBanner: true, MaxPayload: 1 << 20, JetStreamMaxMemory: 1 << 30, JetStreamMaxStore: 1 << 40,
	})
	if err != nil {
		return fmt.Errorf("make the broker: %w", err)
	}
	s.server.Start()
	if !s.server.ReadyForConnections(startWait) {
		return fmt.Errorf("the broker was not ready after %v", startWait)
	}
	s.cfg = broker.Default()
	s.cfg.URL = s.server.ClientURL()
	if s.ingest, err = s.connect(ctx); err != nil {
		return err
	}
	if s.matchers, err = s.connect(ctx); err != nil {
		return err
	}
	return s.ingest.EnsureApp(ctx, service.App)
}

func (s *stage) connect(ctx context.Context) (*broker.Broker, error) {
	return broker.Open(ctx, s.cfg, slog.New(slog.DiscardHandler))
}

// close ends everything and removes the broker's directory.
func (s *stage) close() error {
	s.end()
	s.ended.Wait()
	for _, b := range []*broker.Broker{s.ingest, s.matchers} {
		if b != nil {
			b.Close()
		}
	}
	if s.server != nil {
		s.server.Shutdown()
		s.server.WaitForShutdown()
	}
	if s.dir == "" {
		return nil
	}
	return os.RemoveAll(s.dir)
}

// offline does something beside the offline role, on a connection of its own.
func (s *stage) offline(ctx context.Context, do func() error) error {
	b, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer b.Close()
	return roles.Offline(ctx, b, func(*offline.Offline) error { return do() })
}

// grow makes shards until there are so many, with a matcher for each.
func (s *stage) grow(ctx context.Context, shards int) error {
	for ; s.shards < shards; s.shards++ {
		id := push.Shard(s.shards)
		if err := s.ingest.EnsureShard(ctx, service.App, id); err != nil {
			return err
		}
		s.ended.Go(func() { s.match(id) })
	}
	return nil
}

// load is what has passed in one direction.
type load struct{ messages, bytes float64 }

// counted is what has passed the broker's connections so far. A message that goes to three is three of those that go out.
type counted struct {
	in, out load
	at      time.Time
}

func (s *stage) counted() (counted, error) {
	v, err := s.server.Varz(nil)
	if err != nil {
		return counted{}, fmt.Errorf("ask the broker what has passed: %w", err)
	}
	return counted{
		in: load{float64(v.InMsgs), float64(v.InBytes)}, out: load{float64(v.OutMsgs), float64(v.OutBytes)}, at: time.Now(),
	}, nil
}

func (l load) minus(m load, times float64) load {
	return load{l.messages - m.messages*times, l.bytes - m.bytes*times}
}
