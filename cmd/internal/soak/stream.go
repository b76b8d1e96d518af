package soak

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/gobwas/ws"
)

// openStream asks for server-sent events on a connection, line by line as they come: frames are the data of events, and
// acknowledgements go by requests of their own.
func (p *phone) openStream(ctx context.Context, c *caller, u int, gateway string) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", gateway)
	if err != nil {
		return err
	}
	p.conn = conn
	query := c.query(accountName(u))
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	if _, err := fmt.Fprintf(conn, "GET /v1/events?%s&platform=Web HTTP/1.1\r\nHost: %s\r\nAccept: text/event-stream\r\n\r\n", query, gateway); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 1024), nil)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return ws.StatusError(resp.StatusCode)
	}
	p.in = bufio.NewReaderSize(resp.Body, 1024) // it ends with the connection
	p.post = func(seqs []uint64) error { return c.acknowledge(gateway, query, seqs) }
	return nil
}

// nextEvent gives the next frame of an event stream.
func (p *phone) nextEvent() (f frame, err error) {
	event, data := "", ""
	for {
		line, err := p.in.ReadString('\n')
		if err != nil {
			return f, err
		}
		name, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case len(data) > maxFrame:
			p.l.Odd("%s got an event of more than %d bytes", accountName(p.account), maxFrame)
			return f, errors.New("an event that is not of the protocol")
		case name == "event":
			event = value
		case name == "data":
			data += value
		case line == "\n" || line == "\r\n":
			if data == "" { // what came was a comment, or the pause before the next try
				event = ""
				continue
			}
			return p.event(event, data)
		}
	}
}

func (p *phone) event(name, data string) (f frame, err error) {
	if name == "close" {
		var c struct{ Code int }
		if err := json.Unmarshal([]byte(data), &c); err != nil {
			p.l.Odd("%s got a close event that is not JSON: %.200q", accountName(p.account), data)
			return f, err
		}
		return f, closed(c.Code)
	}
	if err := json.Unmarshal([]byte(data), &f); err != nil {
		p.l.Odd("%s got an event that is not JSON: %.200q", accountName(p.account), data)
	}
	return f, err
}

// acknowledge is the request that acknowledges for event streams. It is answered when that is on the broker.
func (c *caller) acknowledge(gateway, query string, seqs []uint64) error {
	b, err := json.Marshal(map[string]any{"seq": seqs})
	if err != nil {
		return err
	}
	resp, err := c.http.Post("http://"+gateway+"/v1/ack?"+query, "application/json", bytes.NewReader(b))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusOK:
		return nil
	case resp.StatusCode < http.StatusInternalServerError && resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusForbidden:
		c.l.Odd("an acknowledgement was refused with HTTP %d", resp.StatusCode)
	}
	return ws.StatusError(resp.StatusCode)
}
