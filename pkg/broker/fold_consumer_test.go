package broker_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/wire"
)

// A fold whose consumer is gone, as with the server that had it, goes on by another: each message once and in order.
func TestFoldOutlivesItsConsumer(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, func(c *broker.Config) { c.Listen = "127.0.0.1:0" })
	if err := b.EnsureApp(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	_, js := client(t, b.ListenURL())
	stream := wire.AccountsStream(app)
	write := func(i int) {
		if _, err := b.Write(stream, account(fmt.Sprint("u", i)).Once()); err != nil {
			t.Error(err)
		}
	}
	const n = 40
	for i := range n / 2 {
		write(i)
	}
	next := uint64(1)
	err := b.Fold(t.Context(), broker.FoldConfig{Stream: stream, Handle: func(m *broker.Message) error {
		if m.Seq != next {
			return fmt.Errorf("message %d came where %d was expected", m.Seq, next)
		}
		next++
		switch m.Seq {
		case n / 4, n / 2:
			st, err := js.Stream(t.Context(), stream)
			if err != nil {
				return err
			}
			for c := range st.ListConsumers(t.Context()).Info() {
				if err := js.DeleteConsumer(t.Context(), stream, c.Name); err != nil {
					return err
				}
			}
			if m.Seq == n/2 {
				for i := range n / 2 {
					write(n/2 + i)
				}
			}
		case n:
			return context.Canceled
		}
		return nil
	}})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
