package broker_test

import (
	"errors"
	"testing"
	"time"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// A batch keeps each message's own headers apart, and what it must find.
func TestBatchKeepsHeadersApart(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	if err := b.EnsureShard(t.Context(), app, 0); err != nil {
		t.Fatal(err)
	}
	stream := wire.UsersStream(app, 0)
	subject := func(o int) string { return wire.UserSubject(app, 0, push.Ordinal(o)) }
	first, err := b.Write(stream, broker.Message{Subject: subject(1), Data: []byte("was")}.Once())
	if err != nil {
		t.Fatal(err)
	}
	changed := broker.Message{Subject: subject(1), Data: []byte("is"), Header: map[string]string{"X": "1"}, TTL: time.Hour}
	plain := broker.Message{Subject: subject(2)}
	batch := []broker.Message{changed.After(first[0]), plain, broker.Message{Subject: subject(3), Data: []byte("new")}.Once()}
	seqs, err := b.Write(stream, batch...)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct{ x, ttl, expect string }{{"1", "1h0m0s", "1"}, {}, {expect: "0"}} {
		m, err := b.Get(t.Context(), stream, seqs[i])
		if err != nil {
			t.Fatal(err)
		}
		if m.Header["X"] != want.x || m.Header["Nats-TTL"] != want.ttl || m.Header[wire.HeaderBefore] != want.expect ||
			m.Subject != batch[i].Subject || string(m.Data) != string(batch[i].Data) || m.Seq != first[0]+1+uint64(i) {
			t.Errorf("message %d is %+v", i, m)
		}
	}
	if _, err := b.Write(stream, batch...); !errors.Is(err, broker.ErrConflict) {
		t.Errorf("the same again: %v, want ErrConflict", err)
	}
}
