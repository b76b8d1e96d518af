package takeover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-push/carillon/bench/match"
	"github.com/carillon-push/carillon/bench/service"
	"github.com/carillon-push/carillon/matcher"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// stage is where matchers begin, one after the other.
type stage struct {
	b      *broker.Broker
	o      Options
	pushed int
}

const (
	// patience bounds each start.
	patience = time.Minute
	// never is so far in the log that no snapshot is due.
	never = 1 << 62
)

// begin starts a matcher that has a push to match, waits for the audience, and ends it.
func (s *stage) begin(ctx context.Context, into *[]taken) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	seq, err := s.push(ctx)
	if err != nil {
		return err
	}
	ready := &listener{news: make(chan heard, 1)}
	start := time.Now()
	stop, err := s.run(ctx, never, prometheus.NewRegistry(), ready)
	if err != nil {
		return err
	}
	audience, err := s.audience(ctx, seq)
	if err = errors.Join(err, stop()); err != nil {
		return err
	}
	said, err := ready.await(ctx)
	if err != nil {
		return err
	}
	*into = append(*into, taken{
		held: audience.Sub(said.at.Add(-said.took)).Seconds(), ready: said.took.Seconds(), all: audience.Sub(start).Seconds(),
	})
	return nil
}

// run starts a matcher; stop ends it and waits for it.
func (s *stage) run(ctx context.Context, changes uint64, reg *prometheus.Registry, log slog.Handler) (stop func() error, err error) {
	cfg := matcher.Default()
	cfg.Apps, cfg.Snapshot, cfg.SnapshotChanges = []push.AppID{service.App}, 100*time.Millisecond, changes
	m, err := matcher.New(cfg, s.b, reg, slog.New(log))
	if err != nil {
		return nil, err
	}
	running, end := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- m.Run(running) }()
	return func() error {
		end()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			return fmt.Errorf("the matcher ended with %w", err)
		}
		return nil
	}, nil
}

// push publishes a push to the users with a tag.
func (s *stage) push(ctx context.Context) (push.Seq, error) {
	s.pushed++
	data, err := wire.EncodePush(&push.Push{
		App: service.App, Sender: service.Admin, Random: uint32(s.pushed), At: time.Now(), Condition: predicate.String(predicate.Tag{Name: "tag-1"}), Body: []byte(`[]`),
	})
	if err != nil {
		return 0, err
	}
	seq, _, err := s.b.Publish(ctx, broker.Message{Subject: wire.PushSubject(service.App, strconv.Itoa(s.pushed)), Data: data, TTL: s.b.Retention()})
	return push.Seq(seq), err
}

var errThere = errors.New("it is there")

// audience waits for the one of a push, and says when it came.
func (s *stage) audience(ctx context.Context, seq push.Seq) (at time.Time, err error) {
	err = s.b.Fold(ctx, broker.FoldConfig{
		Stream: wire.AudiencesStream, Filter: wire.AudienceSubject(service.App, shard, seq),
		Handle: func(*broker.Message) error {
			at = time.Now()
			return errThere
		},
	})
	if !errors.Is(err, errThere) {
		return at, fmt.Errorf("wait for an audience: %w", err)
	}
	return at, nil
}

// write has a matcher write a snapshot, of the whole log as it is.
func (s *stage) write(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	reg := prometheus.NewRegistry()
	stop, err := s.run(ctx, 1, reg, slog.DiscardHandler)
	if err != nil {
		return err
	}
	return errors.Join(written(ctx, reg), stop())
}

// written waits until a matcher says that it has written a snapshot.
func written(ctx context.Context, reg *prometheus.Registry) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		families, err := reg.Gather()
		if err != nil {
			return err
		}
		for _, f := range families {
			if f.GetName() != "carillon_matcher_snapshots_total" {
				continue
			}
			for _, m := range f.GetMetric() {
				if m.GetCounter().GetValue() > 0 && m.GetLabel()[0].GetValue() == "written" {
					return nil
				}
			}
		}
		select { // the ticker wakes it, ctx ends it
		case <-ctx.Done():
			return fmt.Errorf("wait for a snapshot: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// loaded does something while users change, and says how many did a second.
func (s *stage) loaded(ctx context.Context, do func(context.Context) error) (rate float64, err error) {
	changing, stop := context.WithCancel(ctx)
	var failed error
	var changed int
	var load sync.WaitGroup
	start := time.Now()
	load.Go(func() { changed, failed = s.change(changing) })
	err = do(ctx)
	took := time.Since(start)
	stop()
	load.Wait()
	return float64(changed) / took.Seconds(), errors.Join(err, failed)
}

// change changes users until ctx ends.
func (s *stage) change(ctx context.Context) (n int, err error) {
	r := rand.New(rand.NewPCG(7, 7))
	tick := time.NewTicker(changeEvery)
	defer tick.Stop()
	for {
		select { // the ticker wakes it, ctx ends it
		case <-ctx.Done():
			return n, nil
		case <-tick.C:
		}
		first := 1 + r.IntN(s.o.Users-s.o.Changes)
		var msgs []broker.Message
		for u := first; u < first+s.o.Changes; u++ {
			rec := match.Record(uint32(u))
			rec.Attrs[0] = strconv.Itoa(r.IntN(2))
			msgs = append(msgs, broker.Message{Subject: wire.UserSubject(service.App, shard, push.Ordinal(u)), Data: wire.AppendRecord(nil, rec)})
		}
		if _, err := s.b.Write(wire.UsersStream(service.App, shard), msgs...); err != nil {
			return n, fmt.Errorf("change users: %w", err)
		}
		n += len(msgs)
	}
}

// heard is what a matcher said of its shard: when it had read it, and how long that had taken since it was made its holder.
type heard struct {
	at   time.Time
	took time.Duration
}

// listener is a log in which a matcher says so.
type listener struct{ news chan heard }

// ready is the line.
const ready = "shard is ready"

func (*listener) Enabled(context.Context, slog.Level) bool { return true }

func (l *listener) Handle(_ context.Context, r slog.Record) error {
	if r.Message != ready {
		return nil
	}
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "took" {
			select { // never waits: the first is what counts
			case l.news <- heard{r.Time, a.Value.Duration()}:
			default:
			}
		}
		return true
	})
	return nil
}

func (l *listener) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l *listener) WithGroup(string) slog.Handler      { return l }

func (l *listener) await(ctx context.Context) (heard, error) {
	select { // the matcher wakes it, ctx ends it
	case h := <-l.news:
		return h, nil
	case <-ctx.Done():
		return heard{}, fmt.Errorf("wait for the matcher to say that its shard is ready: %w", ctx.Err())
	}
}
