package broker_test

import (
	"context"
	"testing"
	"time"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/wire"
)

// A fold leaves nothing on the broker, which has room for so many followers of a stream only.
func TestFoldsLeaveNoConsumers(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for i := range 1100 { // more than a thousand
		err := b.Fold(ctx, broker.FoldConfig{Stream: wire.PushesStream, StopWhenRead: true, Handle: func(*broker.Message) error { return nil }})
		if err != nil {
			t.Fatalf("fold %d: %v", i, err)
		}
	}
}
