package broker_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"testing"

	"github.com/carillon-push/carillon/pkg/broker"
)

// Who waits for an answer when the broker goes hears of that at once, and does not wait for all of its time.
func TestAnswersEndWithTheConnection(t *testing.T) {
	t.Parallel()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	cfg := broker.Default()
	cfg.Dir, cfg.Listen = t.TempDir(), address
	server, err := broker.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	cfg = broker.Default()
	cfg.URL = "nats://" + address
	b, err := broker.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		server.Close()
		t.Fatal(err)
	}
	defer b.Close()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	asked, serving, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- b.Serve(ctx, "silence", "", func() { close(serving) }, func(*broker.Request) { close(asked) })
	}()
	<-serving
	answer := make(chan error, 1)
	go func() {
		_, err := b.Request(t.Context(), "silence", nil) // without a time of its own: it would wait for ever
		answer <- err
	}()
	<-asked
	server.Close()
	if err := <-answer; !errors.Is(err, broker.ErrLost) {
		t.Errorf("the request ended with %v", err)
	}
	stop()
	<-ended
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Request(ctx, "silence", nil); errors.Is(err, broker.ErrLost) || err == nil {
		t.Errorf("a request whose own time is over ended with %v", err)
	}
}
