package soak

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gobwas/ws"
)

// phone is one session, frame by frame on the bare WebSocket: nothing of the service's own code is in it.
type phone struct {
	l     *Ledger
	clock clock
	s     *Session
	conn  net.Conn
	in    *bufio.Reader

	mu   sync.Mutex // guards what is written, and what follows
	ids  []string   // of pushes to acknowledge with the next frame
	seqs []uint64   // to acknowledge, those of revocations among them
}

const (
	dialWait  = 15 * time.Second // a login may wait ten for its inbox
	writeWait = 3 * time.Second
	maxFrame  = 1 << 20 // bytes
)

// errRefused is a login that was answered, and not with a session. It is to be tried again.
var errRefused = errors.New("the login was refused")

// errLocked is a login that was not tried, since the account is being deleted.
var errLocked = errors.New("the account is being deleted")

// dial logs a user in, and notes the hello.
func (c *caller) dial(ctx context.Context, u int, gateway string) (*phone, error) {
	if !c.enter(u) {
		return nil, errLocked
	}
	defer c.leave(u)
	p := &phone{l: c.l, clock: c.clock, s: c.l.Dial(c.clock.now(), u, c.gatewayName(gateway))}
	ctx, cancel := context.WithTimeout(ctx, dialWait)
	defer cancel()
	dialer := ws.Dialer{ReadBufferSize: 512, WriteBufferSize: 1024}
	conn, rest, _, err := dialer.Dial(ctx, "ws://"+gateway+"/v1/session?"+c.query(accountName(u))+"&platform=Android")
	if err != nil {
		var status ws.StatusError
		if errors.As(err, &status) {
			switch int(status) {
			case http.StatusServiceUnavailable, http.StatusTooManyRequests:
				return nil, errRefused
			}
			c.l.Odd("%s was refused a login with HTTP %d", accountName(u), int(status))
			return nil, errRefused
		}
		return nil, err
	}
	p.conn = conn
	var from io.Reader = conn
	if rest != nil { // what came in one read with the handshake
		early := make([]byte, rest.Buffered())
		if _, err := io.ReadFull(rest, early); err != nil {
			_ = conn.Close()
			return nil, err
		}
		ws.PutReader(rest)
		from = io.MultiReader(strings.NewReader(string(early)), conn)
	}
	p.in = bufio.NewReaderSize(from, 1024)
	// The hello is read within the login's time.
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetReadDeadline(deadline)
	}
	f, err := p.next()
	if err == nil && f.Type != frameHello {
		c.l.Odd("%s got %q as the first frame", accountName(u), f.Type)
		err = errRefused
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	_ = conn.SetReadDeadline(time.Time{})
	c.l.Hello(c.clock.now(), p.s, f.Pending)
	return p, nil
}

// frame is what the server sends.
type frame struct {
	Type    string          `json:"t"`
	Pending int             `json:"pending"`
	ID      string          `json:"id"`
	Seq     uint64          `json:"seq"`
	Ack     uint64          `json:"ack"`
	Expire  int64           `json:"expire"`
	Body    json.RawMessage `json:"body"`
}

// Types of frames. That of a pong is none of the protocol's.
const (
	frameHello  = "hello"
	framePush   = "push"
	frameRevoke = "revoke"
	framePong   = "(pong)"
)

// closed is a close frame.
type closed ws.StatusCode

func (c closed) Error() string { return fmt.Sprintf("closed with %d", uint16(c)) }

// next gives the next frame with text, or pong. It answers pings unless the session is not well.
func (p *phone) next() (f frame, err error) {
	for {
		h, err := ws.ReadHeader(p.in)
		if err != nil {
			return f, err
		}
		if h.Length > maxFrame || h.Masked || !h.Fin {
			p.l.Odd("%s got a frame of %d bytes, masked %v, last %v", accountName(p.s.user), h.Length, h.Masked, h.Fin)
			return f, errors.New("a frame that is not of the protocol")
		}
		payload := make([]byte, h.Length)
		if _, err := io.ReadFull(p.in, payload); err != nil {
			return f, err
		}
		switch h.OpCode {
		case ws.OpPing:
			if p.s.unwell == never { // only this goroutine sets it
				err = p.write(ws.NewPongFrame(payload))
			}
		case ws.OpPong:
			return frame{Type: framePong}, nil
		case ws.OpClose:
			code, _ := ws.ParseCloseFrameData(payload)
			return f, closed(code)
		case ws.OpText:
			if err := json.Unmarshal(payload, &f); err != nil {
				p.l.Odd("%s got a frame that is not JSON: %.200q", accountName(p.s.user), payload)
				return f, err
			}
			return f, nil
		default:
			p.l.Odd("%s got a frame with opcode %d", accountName(p.s.user), h.OpCode)
		}
		if err != nil {
			return f, err
		}
	}
}

// write sends one frame, masked as a client's must be.
func (p *phone) write(f ws.Frame) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.writeLocked(f)
}

func (p *phone) writeLocked(f ws.Frame) error {
	_ = p.conn.SetWriteDeadline(time.Now().Add(writeWait))
	return ws.WriteFrame(p.conn, ws.MaskFrameInPlace(f))
}

// read notes one frame, gathers what is to be acknowledged, and gives its type.
func (p *phone) read() (kind string, err error) {
	f, err := p.next()
	if err != nil {
		return "", err
	}
	at, note, ack := p.clock.now(), Frame{ID: f.ID, Seq: f.Seq, Expire: f.Expire}, f.Seq
	switch f.Type {
	case framePong:
		return f.Type, nil
	case framePush:
		if note.N, err = number(f.Body); err != nil {
			p.l.Odd("%s got push %s with a body that nobody sent: %.200s", accountName(p.s.user), f.ID, f.Body)
			return f.Type, nil
		}
	case frameRevoke:
		note.Revokes, ack = true, f.Ack
	default:
		p.l.Odd("%s got a frame of type %q", accountName(p.s.user), f.Type)
		return f.Type, nil
	}
	p.l.Received(at, p.s, note)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seqs = append(p.seqs, ack)
	if !note.Revokes {
		p.ids = append(p.ids, f.ID)
	}
	return f.Type, nil
}

// maxAcks is how many sequences an acknowledgement may have.
const maxAcks = 1000

// acknowledge sends what was gathered, and says whether there was something.
func (p *phone) acknowledge() (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.seqs) == 0 {
		return false, nil
	}
	p.l.Acked(p.clock.now(), p.s, p.ids)
	for len(p.seqs) > 0 {
		n := min(len(p.seqs), maxAcks)
		b, err := json.Marshal(map[string]any{"t": "ack", "seq": p.seqs[:n]})
		if err != nil {
			return true, err
		}
		p.seqs = p.seqs[n:]
		if err := p.writeLocked(ws.NewTextFrame(b)); err != nil {
			return true, err
		}
	}
	p.ids = nil
	return true, nil
}

// end notes that the session ended at a moment, and closes the connection: with a reset, or in the ordinary way.
func (p *phone) end(at Moment, how string, reset bool) {
	p.l.End(at, p.s, how)
	if tcp, ok := p.conn.(*net.TCPConn); ok && reset {
		_ = tcp.SetLinger(0)
	}
	_ = p.conn.Close()
}
