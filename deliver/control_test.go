package deliver

import (
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// gather asks all gateways, which is one, and gives its answer.
func gather[T any](g *gateway, subject string, q any) T {
	g.t.Helper()
	answers, err := g.b.Gather(g.t.Context(), wire.RoleDeliver, subject, wire.EncodeJSON(q))
	if err != nil || len(answers) != 1 {
		g.t.Fatalf("%d answers, %v", len(answers), err)
	}
	v, err := wire.DecodeJSON[T](answers[0])
	if err != nil {
		g.t.Fatal(err)
	}
	return v
}

func (g *gateway) status(ordinals ...push.Ordinal) []wire.SessionStatus {
	g.t.Helper()
	return gather[wire.StatusReply](g, wire.SessionStatusSubject(testApp), wire.StatusRequest{Ordinals: ordinals}).Sessions
}

func (g *gateway) end(o push.Ordinal, code wire.CloseCode) int {
	g.t.Helper()
	return gather[wire.EndReply](g, wire.SessionEndSubject(testApp), wire.EndRequest{Ordinal: o, Code: code}).Ended
}

func TestStatusAndEnd(t *testing.T) {
	t.Parallel()
	g := start(t)
	at := g.register("u", "v", "nobody")
	u, v, nobody := push.Ordinal(at["u"]), push.Ordinal(at["v"]), push.Ordinal(at["nobody"])
	g.nothing()
	phones := []*phone{g.login("u"), g.login("u")}
	other := g.login("v")
	if s := g.status(u, nobody, 1<<40); len(s) != 2 || s[0] != (wire.SessionStatus{Ordinal: u, Platform: "iOS"}) || s[1] != s[0] {
		t.Errorf("status %+v", s)
	}
	if n := g.end(nobody, wire.CloseKicked); n != 0 {
		t.Errorf("ended %d sessions of nobody", n)
	}
	if n := g.end(u, wire.CloseKicked); n != 2 {
		t.Errorf("ended %d sessions, want 2", n)
	}
	if s := g.status(u); len(s) != 0 { // though the clients have not hung up
		t.Errorf("status behind the end: %+v", s)
	}
	for _, p := range phones {
		if c := p.code(); c != wire.CloseKicked {
			t.Errorf("closed with %d", c)
		}
	}
	other.nothing()
	if s := g.status(v); len(s) != 1 {
		t.Errorf("the other user: %+v", s)
	}
}

func TestControlRequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	g := start(t)
	for name, c := range map[string]struct {
		subject string
		data    []byte
	}{
		"status without JSON": {wire.SessionStatusSubject(testApp), []byte("x")},
		"end without JSON":    {wire.SessionEndSubject(testApp), nil},
		"end without a code":  {wire.SessionEndSubject(testApp), wire.EncodeJSON(wire.EndRequest{Ordinal: 1})},
		"end with any code":   {wire.SessionEndSubject(testApp), wire.EncodeJSON(wire.EndRequest{Ordinal: 1, Code: 1006})},
	} {
		if answer, err := g.b.Request(t.Context(), c.subject, c.data); err == nil {
			t.Errorf("%s: %s", name, answer)
		}
	}
}

// A session that is ended before its handshake is done gets the code as its first frame.
func TestEndDuringALogin(t *testing.T) {
	t.Parallel()
	g := start(t)
	at := g.register("u")
	asks := g.asks()
	q, done := query(t, "u"), make(chan *phone, 1)
	go func() {
		p, err := g.dial(q)
		if err != nil {
			t.Error(err)
		}
		done <- p
	}()
	a := next(t, asks)
	if n := g.end(push.Ordinal(at["u"]), wire.CloseDeleted); n != 1 {
		t.Errorf("ended %d sessions", n)
	}
	a.answer(t)
	if c := next(t, done).code(); c != wire.CloseDeleted {
		t.Errorf("closed with %d", c)
	}
}

// An account has so many sessions and no more, however fast they come and however slowly their clients hang up.
func TestSessionsOfAnAccountAreBounded(t *testing.T) {
	t.Parallel()
	g := start(t, func(c *Config) { c.PerAccount = 2 })
	at := g.register("u")
	g.nothing()
	var phones []*phone
	for range 6 {
		phones = append(phones, g.login("u"))
	}
	if n := len(g.sessions(testApp, push.Ordinal(at["u"]))); n != 2 {
		t.Errorf("%d sessions, want 2", n)
	}
	for i, p := range phones[:4] {
		if c := p.code(); c != wire.CloseTooMany {
			t.Errorf("session %d closed with %d", i, c)
		}
	}
	seq := g.kept()
	g.audience(seq, at["u"])
	for _, p := range phones[4:] {
		p.expect(seq)
	}
}

// Logins that are under way count.
func TestSessionsOfTheGatewayAreBounded(t *testing.T) {
	t.Parallel()
	g := start(t, func(c *Config) { c.Max = 2 })
	asks := g.asks()
	a, b := g.loggingIn("a"), g.loggingIn("b")
	waiting := []ask{next(t, asks), next(t, asks)}
	var r *refused
	if _, err := g.dial(query(t, "c")); !errors.As(err, &r) || r.Status != 429 || r.ErrorCode != 60007 {
		t.Errorf("one too many: %v", err)
	}
	for _, w := range waiting {
		w.answer(t)
	}
	next(t, a)
	p := next(t, b)
	if _, err := g.dial(query(t, "c")); !errors.As(err, &r) || r.Status != 429 {
		t.Errorf("one too many when the others are in: %v", err)
	}
	p.send(ws.NewTextFrame([]byte(`{"t":"logout"}`)))
	if c := p.code(); c != wire.CloseNormal {
		t.Errorf("logged out with %d", c)
	}
	_ = p.conn.Close()
	for deadline := time.Now().Add(wait); ; { // until the gateway has seen it hang up
		done := make(chan error, 1)
		go func() {
			_, err := g.dial(query(t, "c"))
			done <- err
		}()
		select {
		case last := <-asks:
			last.answer(t)
			if err := next(t, done); err != nil {
				t.Errorf("in the freed place: %v", err)
			}
			return
		case err := <-done:
			if time.Now().After(deadline) {
				t.Fatalf("the place is not freed: %v", err)
			}
		}
	}
}

// The end tells everybody to go, publishes what they have acknowledged, and leaves nothing behind; a login that is under
// way ends with it.
func TestDrain(t *testing.T) {
	t.Parallel()
	g := start(t, func(c *Config) { c.Drain = 100 * time.Millisecond })
	at := g.register("u", "v", "late")
	asks := make(chan ask, 1)
	g.offline(func(a ask) {
		if a.Local == at["late"] {
			asks <- a
			return
		}
		a.answer(t)
	})
	var phones []*phone
	for range 5 {
		phones = append(phones, g.login("u"), g.login("v"))
	}
	seq := g.kept()
	g.audience(seq, at["u"])
	phones[0].expect(seq)
	phones[0].ack(wire.FrameAck, seq)

	done := make(chan error, 1)
	q := query(t, "late")
	go func() {
		p, err := g.dial(q)
		if err == nil {
			_, err = p.read()
		}
		done <- err
	}()
	late := next(t, asks)
	g.stop()
	if r, _ := g.receipt(seq); !r.Received.Contains(at["u"]) {
		t.Errorf("received %v", r.Received)
	}
	late.answer(t)
	if err := next(t, done); err == nil {
		t.Error("a session began behind the end")
	}
	for i, p := range phones {
		if c := p.code(); c != wire.CloseDraining {
			t.Errorf("session %d closed with %d", i, c)
		}
	}
	g.logins.Wait()
	if n := g.taken.Load(); n != 0 || len(g.hub.all()) != 0 {
		t.Errorf("%d sessions are counted, %d left", n, len(g.hub.all()))
	}
}

// A client that hangs up before its inbox is there leaves nothing behind.
func TestHangingUpDuringALogin(t *testing.T) {
	t.Parallel()
	g := start(t)
	asks := g.asks()
	conn, err := net.Dial("tcp", g.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(conn, "GET /v1/session?%s HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", query(t, "u").Encode())
	if err != nil {
		t.Fatal(err)
	}
	next(t, asks)
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	g.logins.Wait()
	if n := g.taken.Load(); n != 0 || len(g.hub.all()) != 0 {
		t.Errorf("%d sessions are counted, %d left", n, len(g.hub.all()))
	}
	if n := valueOf(t, g.metrics.logins.WithLabelValues(loginGone)); n != 1 {
		t.Errorf("%v logins count as gone", n)
	}
}
