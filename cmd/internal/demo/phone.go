package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/usersig"
	"github.com/carillon-push/carillon/pkg/wire"
)

// phone is one user's session, frame by frame: an SDK would reconnect and drop what comes twice, and the demo is to see
// either. Its WebSocket library is not the service's own.
type phone struct {
	account int // the person's number
	conn    *websocket.Conn
	pending int           // pushes that hello announced
	leaving atomic.Bool   // hangUp has begun
	last    push.Seq      // of the pushes that came
	ended   chan struct{} // closed when read has returned
}

const (
	sigLife   = time.Hour
	maxFrame  = 1 << 20 // bytes
	phoneWait = time.Minute
)

// dial logs a person in and reads the hello. Read must follow.
func (s *service) dial(ctx context.Context, i int) (*phone, error) {
	account := accountName(i)
	sig, err := usersig.Sign(s.key, appID, account, time.Now(), sigLife, nil)
	if err != nil {
		return nil, fmt.Errorf("sign for %q: %w", account, err)
	}
	q := url.Values{"sdkappid": {appID.String()}, "identifier": {account}, "usersig": {sig}, "platform": {"Android"}}
	conn, resp, err := websocket.Dial(ctx, s.SessionsURL()+"/v1/session?"+q.Encode(), &websocket.DialOptions{HTTPClient: s.http})
	if err != nil {
		if resp != nil {
			return nil, fmt.Errorf("log in as %q: HTTP %d", account, resp.StatusCode)
		}
		var u *url.Error // it holds the signature
		if errors.As(err, &u) {
			err = u.Err
		}
		return nil, fmt.Errorf("log in as %q: %w", account, err)
	}
	conn.SetReadLimit(maxFrame)
	p := &phone{account: i, conn: conn, ended: make(chan struct{})}
	hello, err := p.frame(ctx)
	if err == nil && hello.Type != wire.FrameHello {
		err = fmt.Errorf("the first frame is %q", hello.Type)
	}
	if err != nil {
		_ = conn.CloseNow() // it is over in any case
		return nil, fmt.Errorf("log in as %q: %w", account, err)
	}
	p.pending = hello.Pending
	return p, nil
}

func (p *phone) frame(ctx context.Context) (f wire.ServerFrame, err error) {
	_, data, err := p.conn.Read(ctx)
	if err != nil {
		return f, err
	}
	return f, json.Unmarshal(data, &f)
}

// read hands over pushes until the session ends, and then closes ended. The error is nil when we have hung up.
func (p *phone) read(ctx context.Context, onPush func(wire.ServerFrame) error) error {
	defer close(p.ended)
	for {
		f, err := p.frame(ctx)
		if err == nil && f.Type == wire.FramePush {
			if f.Seq < p.last {
				err = fmt.Errorf("push %d came after push %d", f.Seq, p.last)
			} else {
				p.last = f.Seq
				err = onPush(f)
			}
		}
		if err != nil {
			_ = p.conn.CloseNow() // it is over in any case
			if p.leaving.Load() {
				return nil
			}
			return err
		}
	}
}

func (p *phone) ack(ctx context.Context, seqs ...push.Seq) error {
	return p.conn.Write(ctx, websocket.MessageText, wire.EncodeJSON(wire.ClientFrame{Type: wire.FrameAck, Seqs: seqs}))
}

// hangUp ends the session when the service has handled everything that was sent to it, and everything that it has sent
// was read: it answers a ping in its place. Read has returned then.
func (p *phone) hangUp(ctx context.Context) error {
	err := p.conn.Ping(ctx)
	p.leaving.Store(true)
	if err != nil {
		p.drop()
		return fmt.Errorf("end a session: %w", err)
	}
	_ = p.conn.Close(websocket.StatusNormalClosure, "") // it is over in any case
	<-p.ended
	return nil
}

// drop ends the session at once. Read has returned then.
func (p *phone) drop() {
	_ = p.conn.CloseNow() // it is over in any case
	<-p.ended
}
