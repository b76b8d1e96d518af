package broker

import (
	"context"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// headerIncrement is what a message adds to its subject's counter.
const headerIncrement = "Nats-Incr"

// Add adds to a counter, a subject of a stream of counters, and gives the sum. It is tried once: after an error it may
// have been added.
func (b *Broker) Add(ctx context.Context, subject string, n int) (sum int, err error) {
	err = b.guarded("add to "+subject, func() error {
		m := &nats.Msg{Subject: subject, Header: nats.Header{headerIncrement: []string{strconv.Itoa(n)}}}
		ack, err := b.js.PublishMsg(ctx, m, jetstream.WithRetryAttempts(0))
		if err != nil {
			return fmt.Errorf("add to %s: %w", subject, err)
		}
		if sum, err = strconv.Atoi(ack.Value); err != nil {
			return fmt.Errorf("add to %s: the sum %q is not a number", subject, ack.Value)
		}
		return nil
	})
	return sum, err
}
