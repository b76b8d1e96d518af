package fanout

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// clientPart is the client's process. Its input is a plan, by its length in 4 bytes and as JSON, then a number of 8 bytes
// for each round: how many marks will come. Its output is a number of 8 bytes when all are connected, and another
// whenever that many marks have come; both are the number. All are little-endian.
const clientPart = "client"

// plan of a client: where to connect, and what each connection asks for.
type plan struct {
	Addr  string   `json:"addr"`
	Paths []string `json:"paths"`
}

// client is the near end of the client's process.
type client struct {
	*process
	expected int
}

// connect starts a client and returns when it has a connection for each path.
func connect(ctx context.Context, addr string, paths []string) (*client, error) {
	b, err := json.Marshal(plan{addr, paths})
	if err != nil {
		return nil, fmt.Errorf("planning the clients: %w", err)
	}
	p, err := spawn(context.WithoutCancel(ctx), clientPart) // ends with its input, not with the step that started it
	if err != nil {
		return nil, err
	}
	c := &client{process: p, expected: len(paths)}
	_, err = p.in.Write(append(binary.LittleEndian.AppendUint32(nil, uint32(len(b))), b...))
	if err == nil {
		err = c.arrived(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("connecting the clients: %w", errors.Join(err, c.stop()))
	}
	return c, nil
}

// expect announces a round of n messages.
func (c *client) expect(n int) error {
	c.expected = n
	if _, err := c.in.Write(binary.LittleEndian.AppendUint64(nil, uint64(n))); err != nil {
		return fmt.Errorf("announcing a round to the clients: %w", err)
	}
	return nil
}

// arrived waits until all that was expected has come, and no more.
func (c *client) arrived(ctx context.Context) error {
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
