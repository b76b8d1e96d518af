package logins

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/gobwas/ws"

	"github.com/carillon-push/carillon/bench/crowd"
)

// visitor logs in, takes what waits for it, and goes.
type visitor struct {
	addr     string
	greeting []byte // what it sends once its WebSocket stands; empty for none
	want     int    // messages
}

// patience of a visitor.
const patience = 30 * time.Second

// Visit logs in once by each path to a gateway, so many together, takes so many messages each, and goes; it gives what each
// took.
func Visit(ctx context.Context, gateway string, messages, together int, paths []string) ([]time.Duration, error) {
	return visitor{addr: gateway, want: messages}.all(ctx, together, paths)
}

// all visits once by each path, so many together, and gives what each took.
func (v visitor) all(ctx context.Context, together int, paths []string) ([]time.Duration, error) {
	return spread(ctx, len(paths), together, func(ctx context.Context, i int) error { return v.visit(ctx, paths[i]) })
}

// until visits again and again until what it wants is there.
func (v visitor) until(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		once, stop := context.WithTimeout(ctx, time.Second) // it waits in vain for what was pushed too late
		err := v.visit(once, path)
		stop()
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
}

// visit returns when the first frame, and so many messages, have come.
func (v visitor) visit(ctx context.Context, path string) (err error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", v.addr)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	// A reset leaves no socket waiting in the kernel, where thousands would be in each other's way.
	defer func() { err = errors.Join(err, conn.(*net.TCPConn).SetLinger(0), conn.Close()) }()
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(patience)
	}
	if err := conn.SetDeadline(deadline); err != nil {
		return fmt.Errorf("set a deadline: %w", err)
	}
	request := "GET " + path + " HTTP/1.1\r\nHost: " + v.addr + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
	if _, err := io.WriteString(conn, request); err != nil {
		return fmt.Errorf("send a handshake: %w", err)
	}
	r := bufio.NewReaderSize(conn, 16<<10)
	answer, err := http.ReadResponse(r, nil)
	if err != nil {
		return fmt.Errorf("read the answer to a handshake: %w", err)
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("the server answered %s", answer.Status)
	}
	if len(v.greeting) > 0 {
		if err := ws.WriteFrame(conn, ws.MaskFrame(ws.NewTextFrame(v.greeting))); err != nil {
			return fmt.Errorf("send a greeting: %w", err)
		}
	}
	return v.take(r)
}

// take reads frames.
func (v visitor) take(r *bufio.Reader) error {
	var payload []byte
	for got, first := 0, true; first || got < v.want; first = false {
		h, err := ws.ReadHeader(r)
		if err != nil {
			return fmt.Errorf("read a frame after %d of %d messages: %w", got, v.want, err)
		}
		if h.OpCode != ws.OpText || h.Length > 1<<20 {
			return fmt.Errorf("a frame of opcode %d and %d bytes came", h.OpCode, h.Length)
		}
		payload = append(payload[:0], make([]byte, h.Length)...)
		if _, err := io.ReadFull(r, payload); err != nil {
			return fmt.Errorf("read a frame: %w", err)
		}
		got += bytes.Count(payload, []byte{crowd.Mark})
	}
	return nil
}
