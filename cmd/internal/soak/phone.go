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
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gobwas/ws"
)

// phone is one session, frame by frame on the bare WebSocket, or event by event: nothing of the service's own code is in it.
type phone struct {
	l       *Ledger
	clock   clock
	account int
	s       *Session
	conn    net.Conn
	in      *bufio.Reader
	post    func(seqs []uint64) error // acknowledges on an event stream; nil on a WebSocket

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

// dial logs a user in, over a WebSocket or an event stream, and notes the hello.
func (c *caller) dial(ctx context.Context, account int, gateway string, stream bool) (*phone, error) {
	if !c.enter(account) {
		return nil, errLocked
	}
	defer c.leave(account)
	p := &phone{l: c.l, clock: c.clock, account: account, s: c.l.Dial(c.clock.now(), account, c.gatewayName(gateway))}
	ctx, cancel := context.WithTimeout(ctx, dialWait)
	defer cancel()
	open := p.openSocket
	if stream {
		open = p.openStream
	}
	f, err := frame{}, open(ctx, c, account, gateway)
	if err == nil {
		// The hello is read within the login's time.
		if deadline, ok := ctx.Deadline(); ok {
			_ = p.conn.SetReadDeadline(deadline)
		}
		f, err = p.next()
	}
	if err == nil && f.Type != frameHello {
		c.l.Odd("%s got %q as the first frame", accountName(account), f.Type)
		err = errRefused
	}
	if err != nil {
		if p.conn != nil {
			_ = p.conn.Close()
		}
		return nil, c.refusal(account, err)
	}
	_ = p.conn.SetDeadline(time.Time{})
	c.l.Hello(c.clock.now(), p.s, f.Pending)
	if stream {
		c.l.Streamed()
	}
	return p, nil
}

// refusal tells of an answer that no login should get.
func (c *caller) refusal(account int, err error) error {
	var status ws.StatusError
	if !errors.As(err, &status) {
		return err
	}
	if int(status) != http.StatusServiceUnavailable && int(status) != http.StatusTooManyRequests {
		c.l.Odd("%s was refused a login with HTTP %d", accountName(account), int(status))
	}
	return errRefused
}

// openSocket opens a WebSocket.
func (p *phone) openSocket(ctx context.Context, c *caller, account int, gateway string) error {
	dialer := ws.Dialer{ReadBufferSize: 512, WriteBufferSize: 1024}
	conn, rest, _, err := dialer.Dial(ctx, "ws://"+gateway+"/v1/session?"+c.query(accountName(account))+"&platform=Android")
	if err != nil {
		return err
	}
	p.conn = conn
	var from io.Reader = conn
	if rest != nil { // what came in one read with the handshake
		early := make([]byte, rest.Buffered())
		if _, err := io.ReadFull(rest, early); err != nil {
			return err
		}
		ws.PutReader(rest)
		from = io.MultiReader(strings.NewReader(string(early)), conn)
	}
	p.in = bufio.NewReaderSize(from, 1024)
	return nil
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
	if p.post != nil {
		return p.nextEvent()
	}
	for {
		h, err := ws.ReadHeader(p.in)
		if err != nil {
			return f, err
		}
		if h.Length > maxFrame || h.Masked || !h.Fin {
			p.l.Odd("%s got a frame of %d bytes, masked %v, last %v", accountName(p.account), h.Length, h.Masked, h.Fin)
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
				p.l.Odd("%s got a frame that is not JSON: %.200q", accountName(p.account), payload)
				return f, err
			}
			return f, nil
		default:
			p.l.Odd("%s got a frame with opcode %d", accountName(p.account), h.OpCode)
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
			p.l.Odd("%s got push %s with a body that nobody sent: %.200s", accountName(p.account), f.ID, f.Body)
			return f.Type, nil
		}
	case frameRevoke:
		note.Revokes, ack = true, f.Ack
	default:
		p.l.Odd("%s got a frame of type %q", accountName(p.account), f.Type)
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
	ids, seqs := p.ids, p.seqs
	p.ids, p.seqs = nil, nil
	p.mu.Unlock()
	if len(seqs) == 0 {
		return false, nil
	}
	p.l.Acked(p.clock.now(), p.s, ids)
	for some := range slices.Chunk(seqs, maxAcks) {
		if err := p.tell(some); err != nil {
			return true, err
		}
	}
	return true, nil
}

// tell acknowledges some pushes.
func (p *phone) tell(seqs []uint64) error {
	if p.post != nil {
		return p.post(seqs)
	}
	b, err := json.Marshal(map[string]any{"t": "ack", "seq": seqs})
	if err != nil {
		return err
	}
	return p.write(ws.NewTextFrame(b))
}

// end notes that the session ended at a moment, and closes the connection: with a reset, or in the ordinary way.
func (p *phone) end(at Moment, how string, reset bool) {
	p.l.End(at, p.s, how)
	if tcp, ok := p.conn.(*net.TCPConn); ok && reset {
		_ = tcp.SetLinger(0)
	}
	_ = p.conn.Close()
}
