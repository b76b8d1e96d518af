package deliver

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/usersig"
	"github.com/carillon-push/carillon/pkg/wire"
)

// refused is a login that was answered with plain HTTP.
type refused struct{ Status, ErrorCode int }

func (r *refused) Error() string { return fmt.Sprintf("HTTP %d, %d", r.Status, r.ErrorCode) }

func query(t testing.TB, account string) url.Values {
	t.Helper()
	sig, err := usersig.Sign(testKey, testApp, account, time.Now(), time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	return url.Values{"sdkappid": {testApp.String()}, "identifier": {account}, "usersig": {sig}, "platform": {"iOS"}}
}

// phone is one session's far end. It speaks frame by frame and reads only when it is told to.
type phone struct {
	t       testing.TB
	conn    net.Conn
	in      io.Reader // what came behind the handshake, then the connection
	waiting [][]byte  // messages that came while it looked for something else
	hello   wire.ServerFrame
}

// dial logs in and does not read yet.
func (g *gateway) dial(q url.Values) (*phone, error) {
	r := &refused{}
	conn, buffered, _, err := ws.Dialer{
		Timeout: wait,
		OnStatusError: func(status int, _ []byte, resp io.Reader) {
			if a, err := http.ReadResponse(bufio.NewReader(resp), nil); err == nil {
				_ = json.NewDecoder(a.Body).Decode(r)
				_ = a.Body.Close()
			}
			r.Status = status
		},
	}.Dial(context.Background(), strings.Replace(g.server.URL, "http", "ws", 1)+"/v1/session?"+q.Encode())
	if r.Status != 0 {
		return nil, r
	}
	if err != nil {
		return nil, err
	}
	g.t.Cleanup(func() { _ = conn.Close() })
	p := &phone{t: g.t, conn: conn, in: conn}
	if buffered != nil {
		p.in = buffered
	}
	return p, conn.SetDeadline(time.Now().Add(wait))
}

// login logs in and reads the hello.
func (g *gateway) login(account string) *phone {
	g.t.Helper()
	return next(g.t, g.loggingIn(account))
}

// loggingIn logs in meanwhile.
func (g *gateway) loggingIn(account string) <-chan *phone {
	done, q := make(chan *phone, 1), query(g.t, account)
	go func() {
		p, err := g.dial(q)
		if err != nil {
			g.t.Errorf("log in as %s: %v", account, err)
			return
		}
		p.hello, err = p.read()
		if err != nil || p.hello.Type != wire.FrameHello {
			g.t.Errorf("%s: the first frame is %+v, %v", account, p.hello, err)
		}
		done <- p
	}()
	return done
}

// closed is the error of a session that the gateway has closed.
type closed struct{ code wire.CloseCode }

func (c closed) Error() string { return fmt.Sprintf("closed with %d", c.code) }

func readFrame(r io.Reader) (f ws.Frame, err error) {
	if f.Header, err = ws.ReadHeader(r); err != nil {
		return f, err
	}
	if f.Header.Length > 1<<20 {
		return f, fmt.Errorf("a frame of %d bytes", f.Header.Length)
	}
	f.Payload = make([]byte, f.Header.Length)
	_, err = io.ReadFull(r, f.Payload)
	return f, err
}

// frame reads one frame that is no message: those are kept.
func (p *phone) frame() (ws.OpCode, error) {
	f, err := readFrame(p.in)
	switch {
	case err != nil:
		return 0, err
	case f.Header.OpCode == ws.OpClose:
		code, _ := ws.ParseCloseFrameData(f.Payload)
		return 0, closed{wire.CloseCode(code)}
	case f.Header.OpCode == ws.OpText:
		p.waiting = append(p.waiting, f.Payload)
	}
	return f.Header.OpCode, nil
}

func (p *phone) read() (f wire.ServerFrame, err error) {
	for len(p.waiting) == 0 {
		if _, err := p.frame(); err != nil {
			return f, err
		}
	}
	data := p.waiting[0]
	p.waiting = p.waiting[1:]
	return f, json.Unmarshal(data, &f)
}

// expect reads pushes and compares their sequences.
func (p *phone) expect(want ...push.Seq) {
	p.t.Helper()
	for i, w := range want {
		f, err := p.read()
		if err != nil || f.Type != wire.FramePush || f.Seq != w {
			p.t.Fatalf("frame %d is %+v, %v; want push %d of %v", i, f, err, w, want)
		}
	}
}

func (p *phone) send(f ws.Frame) {
	p.t.Helper()
	if err := ws.WriteFrame(p.conn, ws.MaskFrameInPlace(f)); err != nil {
		p.t.Fatal(err)
	}
}

// ack acknowledges, and returns when the gateway has noted it: it answers a ping in its place. Nothing came before that
// the phone has not read.
func (p *phone) ack(kind string, seqs ...push.Seq) {
	p.t.Helper()
	p.send(ws.NewTextFrame(wire.EncodeJSON(wire.ClientFrame{Type: kind, Seqs: seqs})))
	p.sync()
}

// sync returns when the gateway has handled everything that was sent before, and what it sent before has come.
func (p *phone) sync() {
	p.t.Helper()
	p.send(ws.NewPingFrame(nil))
	for {
		op, err := p.frame()
		if err != nil {
			p.t.Fatal(err)
		}
		if op == ws.OpPong {
			return
		}
	}
}

// nothing fails when a message has come that was not read.
func (p *phone) nothing() {
	p.t.Helper()
	p.sync()
	if len(p.waiting) > 0 {
		p.t.Errorf("there is more: %s", p.waiting)
	}
}

// code reads until the gateway closes the session.
func (p *phone) code() wire.CloseCode {
	p.t.Helper()
	for {
		_, err := p.read()
		var c closed
		if errors.As(err, &c) {
			return c.code
		}
		if err != nil {
			p.t.Fatalf("the session ended with: %v", err)
		}
	}
}
