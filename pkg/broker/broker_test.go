package broker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

const app push.AppID = 7

func account(name string) broker.Message {
	return broker.Message{Subject: wire.AccountSubject(app, name)}
}

// An ordinal is never given twice: not after its account was deleted, not even when that was the newest one and the
// broker has restarted since.
func TestOrdinalsAreNeverReused(t *testing.T) {
	t.Parallel()
	cfg := broker.Default()
	cfg.Dir = t.TempDir()
	seen := map[uint64]bool{}
	for range 3 {
		b, err := broker.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if err := b.EnsureApp(t.Context(), app); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			seqs, err := b.Write(wire.AccountsStream(app), account("u").Once())
			if err != nil {
				t.Fatal(err)
			}
			if seen[seqs[0]] {
				t.Fatalf("ordinal %d was given twice", seqs[0])
			}
			seen[seqs[0]] = true
			if err := b.Delete(t.Context(), wire.AccountsStream(app), seqs[0]); err != nil {
				t.Fatal(err)
			}
		}
		b.Close()
	}
}

// Concurrent writers each get their own outcome, although they share batches: the oracle is that of all who create the
// same subject exactly one succeeds, and that everybody's sequences are where their messages stand.
func TestWriteGathersWithoutMixingUp(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	if err := b.EnsureApp(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	const writers, names = 64, 40
	won := make([]int, names)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range names {
				n := (i + w) % names
				seqs, err := b.Write(wire.AccountsStream(app), account(fmt.Sprint("u", n)).Once())
				if errors.Is(err, broker.ErrConflict) {
					continue
				}
				if err != nil {
					t.Errorf("write: %v", err)
					return
				}
				m, err := b.Get(t.Context(), wire.AccountsStream(app), seqs[0])
				if err != nil || m.Subject != wire.AccountSubject(app, fmt.Sprint("u", n)) {
					t.Errorf("sequence %d holds %v, %v", seqs[0], m, err)
				}
				mu.Lock()
				won[n]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for n, k := range won {
		if k != 1 {
			t.Errorf("account u%d was created %d times", n, k)
		}
	}
	last, err := b.LastSeq(t.Context(), wire.AccountsStream(app))
	if err != nil || last != names {
		t.Errorf("last sequence %d, %v: want %d, dense", last, err, names)
	}
}

// A unit is written whole or not at all.
func TestWriteIsAllOrNothing(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	if err := b.EnsureApp(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Write(wire.AccountsStream(app), account("b").Once()); err != nil {
		t.Fatal(err)
	}
	_, err := b.Write(wire.AccountsStream(app), account("a").Once(), account("b").Once(), account("c").Once())
	if !errors.Is(err, broker.ErrConflict) {
		t.Fatalf("err = %v, want a conflict", err)
	}
	found, err := b.LastOf(t.Context(), wire.AccountsStream(app), []string{
		wire.AccountSubject(app, "a"), wire.AccountSubject(app, "b"), wire.AccountSubject(app, "c")})
	if err != nil || len(found) != 1 {
		t.Fatalf("found %d of them, %v: want only b", len(found), err)
	}
}

// Pushes and records of one shard stand in one order, and a copy names its origin.
func TestShardLogOrdersChangesAndPushes(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	if err := b.EnsureShard(t.Context(), app, 0); err != nil {
		t.Fatal(err)
	}
	users := wire.UsersStream(app, 0)
	var pushes []uint64
	for i := range 5 {
		if _, err := b.Write(users, broker.Message{Subject: wire.UserSubject(app, 0, push.Ordinal(i)), Data: []byte{1}}.Once()); err != nil {
			t.Fatal(err)
		}
		seq, _, err := b.Publish(t.Context(), broker.Message{Subject: wire.PushSubject(app, fmt.Sprint(i)), Data: []byte("p"), TTL: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		pushes = append(pushes, seq)
	}
	users1, copies := 0, 0
	done := errors.New("seen all")
	err := b.Fold(t.Context(), broker.FoldConfig{Stream: users, Handle: func(m *broker.Message) error {
		if !wire.IsPushSubject(m.Subject) {
			users1++
			return nil
		}
		origin, err := wire.ParseSource(m.Header[wire.HeaderSource])
		if err != nil || uint64(origin) != pushes[copies] {
			t.Errorf("copy %d says it is push %d, %v: want %d", copies, origin, err, pushes[copies])
		}
		if copies++; users1 < copies {
			t.Errorf("push %d stands before the change that was acknowledged before it", copies)
		}
		if copies == len(pushes) {
			return done
		}
		return nil
	}})
	if !errors.Is(err, done) {
		t.Fatal(err)
	}
}

func TestSecondProcessOnTheSameDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	cfg := broker.Default()
	cfg.Dir = t.TempDir()
	b, err := broker.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, err := broker.Open(t.Context(), cfg, slog.New(slog.DiscardHandler)); !errors.Is(err, broker.ErrLocked) {
		t.Fatalf("err = %v, want ErrLocked", err)
	}
}

func TestShardingCannotChange(t *testing.T) {
	t.Parallel()
	cfg := broker.Default()
	cfg.Dir = t.TempDir()
	for _, bits := range []push.Sharding{20, 10} {
		cfg.Sharding = bits
		b, err := broker.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if err := b.EnsureApp(t.Context(), app); (err != nil) != (bits == 10) {
			t.Errorf("with %d bits: %v", bits, err)
		}
		b.Close()
	}
}

// A task whose worker fails, or dies before it says so, comes again.
func TestWorkRepeatsWhatFailed(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	for i := range 3 {
		if _, _, err := b.Publish(t.Context(), broker.Message{Subject: wire.PushSubject(app, fmt.Sprint(i))}); err != nil {
			t.Fatal(err)
		}
	}
	var seqs []uint64
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := b.Work(ctx, broker.WorkConfig{Stream: wire.PushesStream, Durable: "t", Filter: wire.PushFilter(app), Handle: func(_ context.Context, m *broker.Message) error {
		seqs = append(seqs, m.Seq)
		if len(seqs) == 2 {
			return errors.New("not this time")
		}
		if m.Seq == 3 {
			cancel()
		}
		return nil
	}})
	if !errors.Is(err, context.Canceled) || fmt.Sprint(seqs) != "[1 2 2 3]" {
		t.Fatalf("tasks came as %v, %v", seqs, err)
	}
}

func TestGatherWaitsForEveryMember(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range 3 {
		leave, err := b.Join("deliver")
		if err != nil {
			t.Fatal(err)
		}
		defer leave()
		wg.Go(func() {
			b.Serve(ctx, "session.7.status", "", nil, func(r *broker.Request) {
				if err := r.Respond([]byte{byte(i)}); err != nil {
					t.Error(err)
				}
			})
		})
	}
	defer wg.Wait()
	defer cancel()
	for { // until the three have subscribed
		got, err := b.Gather(t.Context(), "deliver", "session.7.status", nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 3 {
			return
		}
	}
}

// An address may hold a password, which no error shows.
func TestErrorsHoldNoPassword(t *testing.T) {
	t.Parallel()
	cfg := broker.Default()
	cfg.URL = "nats://carillon:secret@127.0.0.1:1,nats://carillon:secret@127.0.0.1:2"
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := broker.Open(ctx, cfg, slog.New(slog.DiscardHandler))
	if err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "127.0.0.1:2") {
		t.Errorf("err = %v", err)
	}
}
