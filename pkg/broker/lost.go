package broker

import (
	"context"
	"errors"
	"sync"
)

// ErrLost is returned by an operation whose connection to the broker was lost while it waited for the answer. What it was
// to write may be written: whoever asks again does so by name, as after any other lack of an answer.
var ErrLost = errors.New("the connection to the broker was lost, try again")

// connections ends what waits for an answer when its connection is lost: none comes, and the client would wait for all of
// its time. There is one for all connections of a broker, which nearly always go together.
type connections struct {
	mu      sync.Mutex
	current context.Context // until the next loss
	lose    context.CancelCauseFunc
}

// lost ends what waits now.
func (c *connections) lost() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lose != nil {
		c.lose(ErrLost)
		c.lose = nil
	}
}

// until is a context that ends with ctx, or with the connection.
func (c *connections) until(ctx context.Context) (context.Context, context.CancelFunc) {
	c.mu.Lock()
	if c.lose == nil {
		c.current, c.lose = context.WithCancelCause(context.Background())
	}
	current := c.current
	c.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(current, func() { cancel(ErrLost) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// answered runs an operation that waits for an answer. Its error is ErrLost when the connection was lost meanwhile.
func (c *connections) answered(ctx context.Context, operation func(context.Context) error) error {
	ctx, cancel := c.until(ctx)
	defer cancel()
	return cause(ctx, operation(ctx))
}

// cause makes the error of an operation whose connection was lost ErrLost.
func cause(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), ErrLost) {
		return ErrLost
	}
	return err
}
