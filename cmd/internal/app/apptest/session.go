package apptest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"testing"

	"github.com/coder/websocket"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// Session is one connection that speaks the protocol frame by frame, through a WebSocket library that is not the
// service's own.
type Session struct {
	t     testing.TB
	conn  *websocket.Conn
	Hello wire.ServerFrame
}

// Dial logs an account in and reads its hello.
func (s *System) Dial(account string) *Session {
	s.t.Helper()
	se, err := s.TryDial(url.Values{"sdkappid": {AppID.String()}, "identifier": {account}, "usersig": {Sig(s.t, account)}})
	if err != nil {
		s.t.Fatalf("log in as %q: %v", account, err)
	}
	return se
}

// Refusal is a login that was answered with plain HTTP.
type Refusal struct {
	Status    int
	ErrorCode int
	ErrorInfo string
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("HTTP %d, %d: %s", r.Status, r.ErrorCode, r.ErrorInfo)
}

// TryDial logs in with a URL's query as given; the error is a *Refusal when the service answered.
func (s *System) TryDial(q url.Values) (*Session, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), Wait)
	defer cancel()
	conn, resp, err := websocket.Dial(ctx, s.SessionsURL()+"/v1/session?"+q.Encode(), &websocket.DialOptions{HTTPClient: s.Client()})
	if err != nil {
		if resp == nil {
			return nil, err
		}
		r := &Refusal{Status: resp.StatusCode}
		raw, rerr := io.ReadAll(resp.Body)
		return nil, errors.Join(r, rerr, json.Unmarshal(raw, r))
	}
	conn.SetReadLimit(1 << 20)
	se := &Session{t: s.t, conn: conn}
	s.t.Cleanup(func() { _ = conn.CloseNow() })
	se.Hello = se.read()
	if se.Hello.Type != wire.FrameHello {
		s.t.Fatalf("the first frame is %q", se.Hello.Type)
	}
	return se, nil
}

func (s *Session) read() wire.ServerFrame {
	s.t.Helper()
	f, err := s.TryRead()
	if err != nil {
		s.t.Fatalf("read a frame: %v", err)
	}
	return f
}

// TryRead reads the next frame.
func (s *Session) TryRead() (wire.ServerFrame, error) {
	ctx, cancel := context.WithTimeout(context.Background(), Wait)
	defer cancel()
	var f wire.ServerFrame
	_, data, err := s.conn.Read(ctx)
	if err != nil {
		return f, err
	}
	return f, json.Unmarshal(data, &f)
}

// Push reads the next frame, which must be a push, and gives its text and sequence.
func (s *Session) Push() (string, push.Seq) {
	s.t.Helper()
	f := s.read()
	if f.Type != wire.FramePush {
		s.t.Fatalf("got a %q frame, want a push", f.Type)
	}
	return TextOf(s.t, f.Body), f.Seq
}

// Send sends one text frame.
func (s *Session) Send(frame string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Wait)
	defer cancel()
	if err := s.conn.Write(ctx, websocket.MessageText, []byte(frame)); err != nil {
		s.t.Fatal(err)
	}
}

// Ack acknowledges sequences.
func (s *Session) Ack(seqs ...push.Seq) {
	s.t.Helper()
	s.Send(string(wire.EncodeJSON(wire.ClientFrame{Type: wire.FrameAck, Seqs: seqs})))
}

// Sync returns when the service has handled everything that was sent before: it answers a ping in its place.
func (s *Session) Sync() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Wait)
	defer cancel()
	read := s.conn.CloseRead(ctx)
	if err := s.conn.Ping(read); err != nil {
		s.t.Fatal(err)
	}
}

// CloseCode reads until the service closes the session, and gives its code.
func (s *Session) CloseCode() wire.CloseCode {
	s.t.Helper()
	code, err := s.TryCloseCode()
	if err != nil {
		s.t.Fatalf("the session ended with: %v", err)
	}
	return code
}

// TryCloseCode is CloseCode, with an error when the session ended without a code.
func (s *Session) TryCloseCode() (wire.CloseCode, error) {
	for {
		_, err := s.TryRead()
		var closed websocket.CloseError
		if errors.As(err, &closed) {
			return wire.CloseCode(closed.Code), nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// Close ends the session.
func (s *Session) Close() { _ = s.conn.Close(websocket.StatusNormalClosure, "") }
