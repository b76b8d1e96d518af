package broker

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/carillon-push/carillon/pkg/wire"
)

// Codes with which the broker says that it has no room.
const (
	codeAccountFull jetstream.ErrorCode = 10002
	codeNoResources jetstream.ErrorCode = 10023
	codeMemoryFull  jetstream.ErrorCode = 10028
	codeStoreFull   jetstream.ErrorCode = 10047
	codeStoreFailed jetstream.ErrorCode = 10077
)

// noRoom says whether the broker refuses a write since its disk or its limits are used up.
func noRoom(err error) bool {
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return false
	}
	switch api.ErrorCode {
	case codeAccountFull, codeNoResources, codeMemoryFull, codeStoreFull, codeStoreFailed:
		return true
	}
	return false
}

// fullness remembers since when the broker has had no room.
type fullness struct{ p atomic.Pointer[refusal] }

type refusal struct {
	at  time.Time
	err error
}

func (f *fullness) since() *refusal { return f.p.Load() }
func (f *fullness) not() {
	if f.p.Load() != nil { // nearly always not: a load is all that it costs
		f.p.Store(nil)
	}
}
func (f *fullness) is(err error) { f.p.CompareAndSwap(nil, &refusal{time.Now(), err}) }

// Writable is an error while the broker refuses writes for want of room. It writes only to find out whether that is over:
// whoever is not called any more would never know.
func (b *Broker) Writable(ctx context.Context) error {
	r := b.full.since()
	if r == nil {
		return nil
	}
	if _, _, err := b.Publish(ctx, Message{Subject: wire.WritableSubject(), Data: []byte("is there room?")}); err == nil {
		return nil
	}
	return fmt.Errorf("the broker has had no room for writes since %s: %w", r.at.UTC().Format(time.RFC3339), r.err)
}
