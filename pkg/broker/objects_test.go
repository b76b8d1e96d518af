package broker_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/wire"
)

var bucket = wire.ObjectBucket{Name: "TEST", MaxAge: time.Hour}

func put(ctx context.Context, b *broker.Broker, data []byte) error {
	_, err := b.PutObject(ctx, bucket, "x", map[string]string{"bytes": "some"}, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
	return err
}

func get(t *testing.T, b *broker.Broker) []byte {
	t.Helper()
	o, err := b.GetObject(t.Context(), bucket, "x")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	data, err := io.ReadAll(o)
	if err != nil || o.Bytes != uint64(len(data)) || o.Meta["bytes"] != "some" || time.Since(o.Written) > time.Minute {
		t.Fatalf("%d of %d bytes, %v, written at %v: %v", len(data), o.Bytes, o.Meta, o.Written, err)
	}
	return data
}

func TestObjects(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	if _, err := b.GetObject(t.Context(), bucket, "x"); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("of a bucket that is not there: %v", err)
	}
	first, second := bytes.Repeat([]byte("first"), 200_000), bytes.Repeat([]byte("2nd"), 100_000)
	for _, data := range [][]byte{first, second} {
		if err := put(t.Context(), b, data); err != nil {
			t.Fatal(err)
		}
		if got := get(t, b); !bytes.Equal(got, data) {
			t.Errorf("%d bytes, want %d", len(got), len(data))
		}
	}
	if _, err := b.GetObject(t.Context(), bucket, "y"); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("one that is not there: %v", err)
	}
	// What is not written to its end changes nothing.
	broken := errors.New("no more")
	if _, err := b.PutObject(t.Context(), bucket, "x", nil, func(w io.Writer) error {
		_, err := w.Write(first)
		return errors.Join(err, broken)
	}); !errors.Is(err, broken) {
		t.Errorf("a writer that fails: %v", err)
	}
	if got := get(t, b); !bytes.Equal(got, second) {
		t.Errorf("%d bytes after a writer failed, want the %d before", len(got), len(second))
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := put(ended, b, first); !errors.Is(err, context.Canceled) {
		t.Errorf("when it has no time: %v", err)
	}
	if err := put(t.Context(), b.Faulty(func(string) error { return brokertest.ErrCrash }), first); !errors.Is(err, brokertest.ErrCrash) {
		t.Errorf("in a crash: %v", err)
	}
	if got := get(t, b); !bytes.Equal(got, second) {
		t.Errorf("%d bytes in the end, want %d", len(got), len(second))
	}
}

func TestLogsAreToldApart(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	if err := b.EnsureShard(t.Context(), 7, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Write(wire.UsersStream(7, 0), broker.Message{Subject: wire.UserSubject(7, 0, 1)}); err != nil {
		t.Fatal(err)
	}
	log, err := b.Log(t.Context(), wire.UsersStream(7, 0))
	if err != nil || log.Last != 1 || time.Since(log.Created) > time.Minute {
		t.Errorf("%+v, %v", log, err)
	}
	if _, err := b.Log(t.Context(), wire.UsersStream(7, 1)); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("a log that is not there: %v", err)
	}
}
