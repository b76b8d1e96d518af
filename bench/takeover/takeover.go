// Package takeover measures how long a matcher takes to do the work of a full shard, from being made its holder until the
// audience of a push that waits is on the broker: from the shard's log and from a snapshot, while nothing else happens and
// while users change. The matcher is in this process, the broker in one of its own.
package takeover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/bench/fleet"
	"github.com/carillon-push/carillon/bench/match"
	"github.com/carillon-push/carillon/bench/report"
	"github.com/carillon-push/carillon/bench/service"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// Options of a run. Use Default and change what differs.
type Options struct {
	// Users of the shard, with twenty tags and values each on average.
	Users int
	// Logs and Snapshots are how often a matcher begins from either, idle and under load each.
	Logs, Snapshots int
	// Changes of users in a tick of changeEvery, under load.
	Changes int
}

// Default measures a million users in about a minute.
func Default() Options { return Options{Users: 1_000_000, Logs: 1, Snapshots: 5, Changes: 20} }

// Long repeats more, for about three minutes.
func Long() Options { return Options{Users: 1_000_000, Logs: 5, Snapshots: 20, Changes: 20} }

// Short is a run for tests; what it measures means nothing.
func Short() Options { return Options{Users: 3000, Logs: 1, Snapshots: 1, Changes: 5} }

// Validate says what cannot work.
func (o Options) Validate() error {
	if o.Users < 2 || o.Users >= int(push.DefaultSharding.Width()) {
		return fmt.Errorf("there are %d users; a shard has from 2 to %d", o.Users, push.DefaultSharding.Width()-1)
	}
	if o.Logs < 1 || o.Snapshots < 1 || o.Changes < 1 || o.Changes > batch {
		return fmt.Errorf("repeats must be at least 1, and changes 1 to %d", batch)
	}
	return nil
}

const (
	// changeEvery is the time between two batches of changes.
	changeEvery = 10 * time.Millisecond
	// batch is how many records are written at once.
	batch = 1000
	shard = push.Shard(0)
)

// outcome of the repeats, in seconds.
type outcome struct {
	log, logLoaded           []taken
	snapshot, snapshotLoaded []taken
	replay, object           []float64 // the peers: reading the log, and the snapshot, and doing nothing with it
	rate                     float64   // changes a second
	bytes                    uint64    // of the snapshot
}

// taken is how long one start took, in seconds.
type taken struct {
	// held is from being made holder to the first audience, ready to when the log was read, and all from the matcher's start,
	// with its joining the others.
	held, ready, all float64
}

// Run measures.
func Run(ctx context.Context, o Options) (figures []report.Figure, err error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("measure takeovers: %w", err)
	}
	f, err := fleet.Start(ctx, fleet.Shape{Brokers: 1})
	if err != nil {
		return nil, fmt.Errorf("measure takeovers: %w", err)
	}
	defer func() { err = errors.Join(err, f.Stop()) }()
	b, err := broker.Open(ctx, f.Broker, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, fmt.Errorf("measure takeovers: %w", err)
	}
	defer b.Close()
	var m outcome
	if err := m.measure(ctx, o, b); err != nil {
		return nil, fmt.Errorf("measure takeovers: %w", err)
	}
	return m.figures(o), nil
}

func (m *outcome) measure(ctx context.Context, o Options, b *broker.Broker) error {
	if err := fill(ctx, b, o); err != nil {
		return err
	}
	s := &stage{b: b, o: o}
	for range o.Logs {
		if err := m.replayed(ctx, b); err != nil {
			return err
		}
		if err := s.begin(ctx, &m.log); err != nil {
			return fmt.Errorf("from the log: %w", err)
		}
	}
	rate, err := s.loaded(ctx, func(ctx context.Context) error {
		for range o.Logs {
			if err := s.begin(ctx, &m.logLoaded); err != nil {
				return fmt.Errorf("from the log, under load: %w", err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	m.rate = rate
	if err := s.write(ctx); err != nil {
		return fmt.Errorf("write a snapshot: %w", err)
	}
	for range o.Snapshots {
		if err := m.fetched(ctx, b); err != nil {
			return err
		}
		if err := s.begin(ctx, &m.snapshot); err != nil {
			return fmt.Errorf("from a snapshot: %w", err)
		}
	}
	_, err = s.loaded(ctx, func(ctx context.Context) error {
		for range o.Snapshots {
			if err := s.begin(ctx, &m.snapshotLoaded); err != nil {
				return fmt.Errorf("from a snapshot, under load: %w", err)
			}
		}
		return nil
	})
	return err
}

// fill writes the users' records.
func fill(ctx context.Context, b *broker.Broker, o Options) error {
	if err := b.EnsureApp(ctx, service.App); err != nil {
		return err
	}
	if err := b.EnsureShard(ctx, service.App, shard); err != nil {
		return err
	}
	g, within := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for from := 1; from <= o.Users && within.Err() == nil; from += batch {
		g.Go(func() error {
			var msgs []broker.Message
			for u := from; u < min(from+batch, o.Users+1); u++ {
				msgs = append(msgs, broker.Message{
					Subject: wire.UserSubject(service.App, shard, push.Ordinal(u)), Data: wire.AppendRecord(nil, match.Record(uint32(u))),
				})
			}
			_, err := b.Write(wire.UsersStream(service.App, shard), msgs...)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("write the users: %w", err)
	}
	return ctx.Err()
}

// replayed reads the log and does nothing with it.
func (m *outcome) replayed(ctx context.Context, b *broker.Broker) error {
	start := time.Now()
	err := b.Fold(ctx, broker.FoldConfig{
		Stream: wire.UsersStream(service.App, shard), StopWhenRead: true, Handle: func(*broker.Message) error { return nil },
	})
	m.replay = append(m.replay, time.Since(start).Seconds())
	return err
}

// fetched reads the snapshot and does nothing with it.
func (m *outcome) fetched(ctx context.Context, b *broker.Broker) error {
	start := time.Now()
	object, err := b.GetObject(ctx, wire.Indexes(), wire.IndexObject(service.App, shard))
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, object)
	m.bytes = object.Bytes
	m.object = append(m.object, time.Since(start).Seconds())
	return errors.Join(err, object.Close())
}

func (m *outcome) figures(o Options) []report.Figure {
	users := report.Text(float64(o.Users))
	figure := func(name string, of []taken, goal float64, peer []float64) report.Figure {
		var held, ready, all []float64
		for _, t := range of {
			held, ready, all = append(held, t.held), append(ready, t.ready), append(all, t.all)
		}
		return report.New("takeover of a shard of "+users+" users "+name, "s", held...).Under(peer...).AtMost(goal).
			Noting("read after %s s; %s s from the matcher's start, with its joining the others", report.Text(report.Median(ready...)), report.Text(report.Median(all...)))
	}
	const fromSnapshot, fromLog = 0.5, 5
	load := fmt.Sprintf(" while %s users a second change", report.Text(m.rate))
	bytes := fmt.Sprintf(", of %s MB", report.Text(float64(m.bytes)/1e6))
	return []report.Figure{
		figure("from a snapshot"+bytes+", against reading it alone", m.snapshot, fromSnapshot, m.object),
		figure("from a snapshot"+load+", against reading it alone", m.snapshotLoaded, fromSnapshot, m.object),
		figure("from the log, against reading it alone", m.log, fromLog, m.replay),
		figure("from the log"+load+", against reading it alone", m.logLoaded, fromLog, m.replay),
	}
}
