package broker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"testing"
	"time"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// messagesOf reads a whole stream.
func messagesOf(t *testing.T, b *broker.Broker, stream string) (all []broker.Message) {
	t.Helper()
	err := b.Fold(t.Context(), broker.FoldConfig{Stream: stream, StopWhenRead: true, Handle: func(m *broker.Message) error {
		one := *m
		one.More = 0
		all = append(all, one)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var errThere = errors.New("it is there")

// awaitSubject returns when a stream has a message of a subject, with its sequence.
func awaitSubject(t *testing.T, b *broker.Broker, stream, subject string) (seq uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err := b.Fold(ctx, broker.FoldConfig{Stream: stream, Filter: subject, Handle: func(m *broker.Message) error {
		seq = m.Seq
		return errThere
	}})
	if !errors.Is(err, errThere) {
		t.Fatalf("wait for %s in %s: %v", subject, stream, err)
	}
	return seq
}

// connect opens a directory's broker without its streams.
func connect(t *testing.T, dir string) *broker.Broker {
	t.Helper()
	cfg := broker.Default()
	cfg.Dir = dir
	b, err := broker.Connect(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// A copy has every message with its place, time and headers, and goes on behind them; devices stay where they are.
func TestCopyTo(t *testing.T) {
	t.Parallel()
	const app = 7
	ctx := t.Context()
	from := brokertest.Start(t)
	if err := from.EnsureApp(ctx, app); err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(from.EnsureShard(ctx, app, 0))
	write := func(b *broker.Broker, stream string, m broker.Message) {
		t.Helper()
		_, err := b.Write(stream, m)
		must(err)
	}
	for i := range 300 { // more than a chunk, with gaps
		write(from, wire.UsersStream(app, 0), broker.Message{Subject: wire.UserSubject(app, 0, push.Ordinal(1+i%200)), Data: make([]byte, 1000)})
	}
	for i := range 5 {
		write(from, wire.AccountsStream(app), broker.Message{Subject: wire.AccountSubject(app, fmt.Sprint("u", i)), Data: []byte{1}})
	}
	must(from.Delete(ctx, wire.AccountsStream(app), 2))
	must(from.Delete(ctx, wire.AccountsStream(app), 5))
	write(from, wire.DevicesStream(app), broker.Message{Subject: wire.DeviceSubject(app, 0, 1), Data: []byte("a secret")})
	publish := func(b *broker.Broker, name string) uint64 {
		t.Helper()
		seq, _, err := b.Publish(ctx, broker.Message{Subject: wire.PushSubject(app, name), Data: []byte(name), TTL: b.Retention()}.Once())
		must(err)
		return seq
	}
	publish(from, "x")
	awaitSubject(t, from, wire.UsersStream(app, 0), wire.PushSubject(app, "x"))
	_, _, err := from.Publish(ctx, broker.Message{Subject: wire.AudienceSubject(app, 0, 1), Data: []byte{2}, Header: map[string]string{"h": "v"}})
	must(err)

	var to *broker.Broker
	dir := t.TempDir()
	copied := map[string]broker.Copied{}
	func() {
		to = connect(t, dir)
		defer to.Close()
		must(from.CopyTo(ctx, to, func(c broker.Copied) { copied[c.Stream] = c }))
		if err := from.CopyTo(ctx, to, func(broker.Copied) {}); err == nil {
			t.Error("a copy is written over")
		}
		if err := connect(t, t.TempDir()).CopyTo(ctx, to, nil); err == nil {
			t.Error("nothing is copied, and no error")
		}
		must(to.Migrate(ctx, []push.AppID{app}))
	}()
	to = brokertest.Start(t, func(c *broker.Config) { c.Dir = dir })
	must(to.EnsureApp(ctx, app))
	for _, stream := range []string{wire.AccountsStream(app), wire.UsersStream(app, 0), wire.PushesStream, wire.AudiencesStream, wire.ReceiptsStream, wire.SettingsStream} {
		want := messagesOf(t, from, stream)
		if got := messagesOf(t, to, stream); !reflect.DeepEqual(got, want) || uint64(len(want)) != copied[stream].Messages {
			t.Errorf("%s has %d messages, want %d: %+v", stream, len(got), len(want), copied[stream])
		}
	}
	if got := messagesOf(t, to, wire.DevicesStream(app)); len(got) > 0 {
		t.Errorf("%d devices are copied", len(got))
	}
	// Both go on alike: the next account's ordinal, the next push's place, and the way of that into the shard's log.
	for _, b := range []*broker.Broker{from, to} {
		seqs, err := b.Write(wire.AccountsStream(app), broker.Message{Subject: wire.AccountSubject(app, "next")})
		if err != nil || seqs[0] != 6 {
			t.Errorf("the next account has the ordinal %v, %v", seqs, err)
		}
		if seq := publish(b, "y"); seq != 2 {
			t.Errorf("the next push has the sequence %d", seq)
		}
		if seq := awaitSubject(t, b, wire.UsersStream(app, 0), wire.PushSubject(app, "y")); seq != 302 {
			t.Errorf("the next push stands at %d of the shard's log", seq)
		}
		if _, _, err := b.Publish(ctx, broker.Message{Subject: wire.PushSubject(app, "x")}.Once()); err == nil {
			t.Error("a push that is there is made again")
		}
	}
}
