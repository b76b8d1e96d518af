package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/carillon-push/carillon/pkg/wire"
)

// A server that dies may have led the cluster, a stream and a consumer, and each of them has another leader some seconds
// later. What is asked of a leader that is not there is not answered, then or later, so whoever asks for what it wants itself
// waits for the whole time of its question, however soon there is a leader. So a small question goes out again and again
// first, and the answer to any of them says that the leader is there.

// askEvery is the pause between two of the small questions.
const askEvery = 100 * time.Millisecond

// answering waits until a subject of the broker's is answered, however late, or ctx ends. The error is a *jetstream.APIError
// when the answer is a refusal that another leader would not take back.
func (b *core) answering(ctx context.Context, subject string) error {
	m, err := b.insist(ctx, subject, nil)
	if err != nil {
		return err
	}
	refused, err := apiRefusal(m)
	if err == nil && refused != nil {
		err = refused
	}
	if err != nil {
		return fmt.Errorf("ask %s: %w", subject, err)
	}
	return nil
}

// insist puts a small question again and again, until the leader whom it is for answers it, or ctx ends.
func (b *core) insist(ctx context.Context, subject string, question []byte) (*nats.Msg, error) {
	nc, inbox := b.in.Conn(), nats.NewInbox()
	answers := make(chan *nats.Msg, 64) // when full, what is dropped says what the others say
	sub, err := nc.ChanSubscribe(inbox, answers)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", subject, err)
	}
	defer sub.Unsubscribe() //nolint:errcheck // the connection may be gone already
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		if err := nc.PublishRequest(subject, inbox, question); err != nil {
			return nil, fmt.Errorf("ask %s: %w", subject, err)
		}
		for waiting := true; waiting; {
			select { // an answer or the ticker wakes it, ctx ends it
			case <-ctx.Done():
				return nil, fmt.Errorf("ask %s: %w", subject, ctx.Err())
			case m := <-answers:
				refused, err := apiRefusal(m)
				if err != nil || refused == nil || refused.Code != 503 { // with 503 there is nobody who would know
					return m, nil
				}
			case <-tick.C:
				waiting = false
			}
		}
	}
}

// apiRefusal is the refusal that an answer of the broker's is, or nil. The error is that it cannot be read.
func apiRefusal(m *nats.Msg) (*jetstream.APIError, error) {
	if m.Header.Get("Status") == "503" {
		return &jetstream.APIError{Code: 503, Description: nats.ErrNoResponders.Error()}, nil
	}
	var got struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &got); err != nil {
		return nil, fmt.Errorf("read an answer of the broker's: %w", err)
	}
	return got.Error, nil
}

// tasksOf gives the durable consumer that workers share. Who had it before (again) does not make it anew as long as it is
// there: that needs the leader of the cluster, and the consumer has one of its own, who may be there long before.
func (b *core) tasksOf(ctx context.Context, stream string, cfg jetstream.ConsumerConfig, again bool) (cons jetstream.Consumer, err error) {
	if again {
		err := b.answering(ctx, wire.ConsumerInfoSubject(stream, cfg.Durable))
		var refused *jetstream.APIError
		switch {
		case err == nil:
			return b.within(ctx, func(ctx context.Context) (jetstream.Consumer, error) { return b.in.Consumer(ctx, stream, cfg.Durable) })
		case !errors.As(err, &refused):
			return nil, err
		}
	}
	if err := b.answering(ctx, wire.ClusterSubject); err != nil {
		return nil, err
	}
	return b.within(ctx, func(ctx context.Context) (jetstream.Consumer, error) {
		return b.in.CreateOrUpdateConsumer(ctx, stream, cfg)
	})
}

// within makes or finds a consumer in the time that this may take.
func (b *core) within(ctx context.Context, get func(context.Context) (jetstream.Consumer, error)) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, consumerTime)
	defer cancel()
	return get(ctx)
}
