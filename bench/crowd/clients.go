package crowd

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// clientsPart is the clients' process, and securePart that of clients that speak TLS, which knows orderRound only. The
// input is a plan, by its length in 4 bytes and as JSON, and then orders. The
// output is a number of 8 bytes when all are connected, and an answer to each order. All numbers are little-endian.
const (
	clientsPart = "clients"
	securePart  = "clients with TLS"
)

// plan of the clients: where to connect, what each connection asks for, and what it then says.
type plan struct {
	Addrs    []string `json:"addrs"` // taken in turns
	Paths    []string `json:"paths"`
	Greeting []byte   `json:"greeting,omitempty"`
	// Secure says that they speak TLS.
	Secure bool `json:"-"`
	// Stalled says that one in so many connections reads nothing any more once it stands; 0 for none.
	Stalled int `json:"stalled,omitempty"`
}

// An order is one byte that says which, a number of 8 bytes, the length of a text in 4, and the text.
const (
	// orderRound says how many marks will come. It is answered by their number at once, so that none comes before the order,
	// and again when they have.
	orderRound = 'r'
	// orderTimed is the same, and behind the number stands for each mark when it came, in nanoseconds since 1970.
	orderTimed = 't'
	// orderSend has every connection that reads send the text. It is answered by their number when all have.
	orderSend = 's'
)

const orderSize = 1 + 8 + 4

// clients is the near end of the clients' process.
type clients struct {
	*process
	expected int
	timed    bool
}

// connect starts the clients and returns when there is a connection for each path.
func connect(ctx context.Context, p plan) (*clients, error) {
	b, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("planning the clients: %w", err)
	}
	part := clientsPart
	if p.Secure {
		part = securePart
	}
	proc, err := spawn(context.WithoutCancel(ctx), part) // ends with its input, not with the step that started it
	if err != nil {
		return nil, err
	}
	c := &clients{process: proc, expected: len(p.Paths)}
	_, err = c.in.Write(append(binary.LittleEndian.AppendUint32(nil, uint32(len(b))), b...))
	if err == nil {
		_, err = c.arrived(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("connecting the clients: %w", errors.Join(err, c.stop()))
	}
	return c, nil
}

// order announces a round of n marks, or has n connections send a text.
func (c *clients) order(ctx context.Context, op byte, n int, text []byte) error {
	c.expected, c.timed = n, op == orderTimed
	b := binary.LittleEndian.AppendUint64([]byte{op}, uint64(n))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(text)))
	if _, err := c.in.Write(append(b, text...)); err != nil {
		return fmt.Errorf("telling the clients what comes: %w", err)
	}
	if op == orderSend {
		return nil
	}
	return c.answered(ctx)
}

// answered reads the number that is expected.
func (c *clients) answered(ctx context.Context) error {
	var b [8]byte
	if err := c.until(ctx); err != nil {
		return err
	}
	if _, err := io.ReadFull(c.out, b[:]); err != nil {
		return fmt.Errorf("waiting for the clients: %w", err)
	}
	if n := binary.LittleEndian.Uint64(b[:]); n != uint64(c.expected) {
		return fmt.Errorf("the clients got %d messages instead of %d", n, c.expected)
	}
	return nil
}

// arrived waits until all that was expected has come, and no more. After a timed round it says when each mark came.
func (c *clients) arrived(ctx context.Context) ([]time.Time, error) {
	if err := c.answered(ctx); err != nil || !c.timed {
		return nil, err
	}
	all := make([]byte, 8*c.expected)
	if _, err := io.ReadFull(c.out, all); err != nil {
		return nil, fmt.Errorf("waiting for the clients' times: %w", err)
	}
	times := make([]time.Time, c.expected)
	for i := range times {
		times[i] = time.Unix(0, int64(binary.LittleEndian.Uint64(all[8*i:])))
	}
	return times, nil
}
