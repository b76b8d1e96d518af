package socket

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/gobwas/ws"
)

// limited sets the longest message.
func limited(n int) option { return func(c *Config, _ *recorder) { c.FrameLimit = n } }

// echoing owners send every message back.
func echoing(_ *Config, r *recorder) {
	r.message = func(c *Conn, data []byte) error { return c.Send(NewFrame("push", 1, data)) }
}

// TestIndependentClient speaks to a client that shares no code with this package.
func TestIndependentClient(t *testing.T) {
	t.Parallel()
	s := serve(t, echoing)
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	c, _, err := websocket.Dial(ctx, s.http.URL, &websocket.DialOptions{CompressionMode: websocket.CompressionContextTakeover})
	if err != nil {
		t.Fatal(err)
	}
	rec := receive(t, s.adopted)
	for _, n := range []int{0, 1, 125, 126, 4000, 16 << 10} {
		want := strings.Repeat("é", n/2)
		if err := c.Write(ctx, websocket.MessageText, []byte(want)); err != nil {
			t.Fatal(err)
		}
		if _, got, err := c.Read(ctx); err != nil || string(got) != want {
			t.Fatalf("an echo of %d bytes came as %d: %v", len(want), len(got), err)
		}
	}
	c.CloseRead(ctx)
	if err := c.Ping(ctx); err != nil {
		t.Errorf("a ping: %v", err)
	}
	if err := c.CloseNow(); err != nil {
		t.Errorf("hanging up: %v", err)
	}
	if why := receive(t, rec.ended); why != Gone {
		t.Errorf("ended because of %v, want gone", why)
	}
	c, _, err = websocket.Dial(ctx, s.http.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	rec = receive(t, s.adopted)
	if err := c.Close(3210, "bye"); err != nil {
		t.Errorf("closing: %v", err)
	}
	if why := receive(t, rec.ended); why != Client {
		t.Errorf("ended because of %v, want client", why)
	}
	c, _, err = websocket.Dial(ctx, s.http.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	rec = receive(t, s.adopted)
	rec.conn.Close(4001, "kicked")
	if _, _, err := c.Read(ctx); websocket.CloseStatus(err) != 4001 {
		t.Errorf("the client saw %v, want 4001", err)
	}
	if why := receive(t, rec.ended); why != Server {
		t.Errorf("ended because of %v, want server", why)
	}
}

func TestBadFrames(t *testing.T) {
	t.Parallel()
	s := serve(t, limited(1000))
	for name, sent := range map[string][]byte{
		"unmasked":                  {fin | text, 1, 'x'},
		"reserved bit":              masked(fin|0x40|text, "x"),
		"reserved data opcode":      masked(fin|0x3, "x"),
		"reserved control opcode":   masked(fin|0xb, "x"),
		"binary":                    masked(fin|binry, "x"),
		"binary fragment":           masked(binry, "x"),
		"long ping":                 masked(fin|pinger, strings.Repeat("x", 126)),
		"fragmented ping":           masked(pinger, "x"),
		"not UTF-8":                 masked(fin|text, "\xff"),
		"cut in a character":        masked(fin|text, "\xc3"),
		"fragments not UTF-8":       concat(masked(text, "\xc3"), masked(fin, "x")),
		"too long":                  masked(fin|text, strings.Repeat("x", 1001)),
		"too long, header only":     masked(fin|text, strings.Repeat("x", 1001))[:8],
		"fragments too long":        concat(masked(text, strings.Repeat("x", 600)), masked(fin, strings.Repeat("x", 401))),
		"length above 2^63":         {fin | text, 0x80 | 127, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4},
		"length of 2^63-1":          {fin | text, 0x80 | 127, 0x7f, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4},
		"continuation of nothing":   masked(fin, "x"),
		"text within fragments":     concat(masked(text, "x"), masked(fin|text, "y")),
		"close of one byte":         masked(fin|closer, "x"),
		"close with a bad code":     masked(fin|closer, "\x03\xec"), // 1004
		"close with a bad reason":   masked(fin|closer, "\x03\xe8\xff"),
		"good, then bad, then good": concat(masked(fin|ponger, "x"), masked(fin|binry, "x"), masked(fin|text, "y")),
	} {
		t.Run(name, func(t *testing.T) {
			c, rec := s.dial(t)
			c.write(sent)
			if code, reason := c.closed(); code != 4004 || reason == "" {
				t.Errorf("closed with %d %q, want 4004 and a reason", code, reason)
			}
			_ = c.Close()
			if why := receive(t, rec.ended); why != BadFrame {
				t.Errorf("ended because of %v", why)
			}
			if len(rec.got) > 0 {
				t.Errorf("the owner was given %q", <-rec.got)
			}
		})
	}
}

func TestGoodFrames(t *testing.T) {
	t.Parallel()
	s := serve(t, limited(70_000))
	long := strings.Repeat("0123456789", 7000)
	for name, test := range map[string]struct {
		sent []byte
		want []string
	}{
		"one":                     {masked(fin|text, "hello"), []string{"hello"}},
		"empty":                   {masked(fin|text, ""), []string{""}},
		"two in one write":        {concat(masked(fin|text, "a"), masked(fin|text, "b")), []string{"a", "b"}},
		"fragments":               {concat(masked(text, "a"), masked(0, "b"), masked(0, ""), masked(fin, "c")), []string{"abc"}},
		"fragments in characters": {concat(masked(text, "\xc3"), masked(fin, "\xa9")), []string{"é"}},
		"a pong within":           {concat(masked(text, "a"), masked(fin|ponger, "x"), masked(fin, "b"), masked(fin|text, "c")), []string{"ab", "c"}},
		"as long as may be":       {concat(masked(fin|text, long), masked(fin|text, "x")), []string{long, "x"}},
	} {
		t.Run(name, func(t *testing.T) {
			whole, rec := s.dial(t)
			whole.write(test.sent)
			behind, early := s.dial(t, test.sent[:min(len(test.sent), 3000)]...)
			behind.write(test.sent[min(len(test.sent), 3000):])
			dribble, slow := s.dial(t)
			for i := range test.sent[:min(len(test.sent), 200)] {
				dribble.write(test.sent[i : i+1])
			}
			dribble.write(test.sent[min(len(test.sent), 200):])
			for _, want := range test.want {
				for how, rec := range map[string]*recorder{"whole": rec, "behind the handshake": early, "byte by byte": slow} {
					if got := receive(t, rec.got); got != want {
						t.Errorf("%s: got %.20q, want %.20q", how, got, want)
					}
				}
			}
		})
	}
}

func TestPing(t *testing.T) {
	t.Parallel()
	s := serve(t)
	c, _ := s.dial(t)
	c.write(concat(masked(text, "a"), masked(fin|pinger, "are you there"), masked(fin, "b"), masked(fin|pinger, "")))
	for _, want := range []string{"are you there", ""} {
		if f := c.frame(); f.Header.OpCode != ws.OpPong || string(f.Payload) != want {
			t.Errorf("answered with %v %q, want a pong of %q", f.Header, f.Payload, want)
		}
	}
}

func TestClientCloses(t *testing.T) {
	t.Parallel()
	s := serve(t)
	for sent, want := range map[string]int{"": 0, "\x03\xe8": 1000, "\x03\xe9bye": 1001, "\x0b\xb8see you": 3000} {
		c, rec := s.dial(t)
		c.write(concat(masked(fin|text, "last"), masked(fin|closer, sent), masked(fin|text, "too late")))
		if code, reason := c.closed(); code != want || reason != "" {
			t.Errorf("answered with %d %q, want %d", code, reason, want)
		}
		_ = c.Close()
		if why := receive(t, rec.ended); why != Client {
			t.Errorf("ended because of %v", why)
		}
		if got := receive(t, rec.got); got != "last" || len(rec.got) > 0 {
			t.Errorf("got %q and %d more", got, len(rec.got))
		}
		if err := rec.conn.Send(heartbeat); !errors.Is(err, ErrClosed) {
			t.Errorf("Send says %v", err)
		}
		if err := rec.conn.SendAll([]*Frame{heartbeat}); !errors.Is(err, ErrClosed) {
			t.Errorf("SendAll says %v", err)
		}
	}
}

func TestClientGone(t *testing.T) {
	t.Parallel()
	s := serve(t)
	for name, end := range map[string]func(*net.TCPConn) error{
		"hangs up":    (*net.TCPConn).Close,
		"half closes": (*net.TCPConn).CloseWrite,
		"resets": func(c *net.TCPConn) error {
			return errors.Join(c.SetLinger(0), c.Close())
		},
	} {
		c, rec := s.dial(t)
		c.write(masked(text, "never finished"))
		if err := end(c.Conn.(*net.TCPConn)); err != nil {
			t.Fatal(err)
		}
		if why := receive(t, rec.ended); why != Gone {
			t.Errorf("a client that %s ended because of %v", name, why)
		}
	}
}

func TestOwnerRefuses(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 100)
	s := serve(t, func(_ *Config, r *recorder) { r.refuse = fmt.Errorf("not an object: %s", long) })
	c, rec := s.dial(t)
	c.write(concat(masked(fin|text, "first"), masked(fin|text, "second")))
	code, reason := c.closed()
	if code != 4004 || !strings.HasPrefix("not an object: "+long, reason) || len(reason) != 123 {
		t.Errorf("closed with %d and %d bytes %q", code, len(reason), reason)
	}
	_ = c.Close()
	if why := receive(t, rec.ended); why != BadFrame {
		t.Errorf("ended because of %v", why)
	}
	if got := receive(t, rec.got); got != "first" || len(rec.got) > 0 {
		t.Errorf("got %q and %d more", got, len(rec.got))
	}
}

// TestOwnerCloses closes a connection out of its own callback. What the client had sent before it heard of that is heard.
func TestOwnerCloses(t *testing.T) {
	t.Parallel()
	s := serve(t, func(_ *Config, r *recorder) {
		r.message = func(c *Conn, data []byte) error {
			r.got <- string(data)
			c.Close(1000, "logout")
			c.Close(4001, "twice")
			return nil
		}
	})
	c, rec := s.dial(t)
	c.write(concat(masked(fin|text, "logout"), masked(fin|text, "more")))
	if code, reason := c.closed(); code != 1000 || reason != "logout" {
		t.Errorf("closed with %d %q", code, reason)
	}
	c.write(concat(masked(fin|text, "still"), masked(fin|pinger, ""), masked(fin|text, "more"), masked(fin|closer, "\x03\xe8"), masked(fin|text, "too late")))
	_ = c.Close()
	if why := receive(t, rec.ended); why != Server || len(rec.got) != 4 {
		t.Errorf("ended because of %v after %d messages", why, len(rec.got))
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*http.Request)
		status int
	}{
		"good":                {func(r *http.Request) {}, 0},
		"in other letters":    {func(r *http.Request) { r.Header.Set("Upgrade", "WebSocket") }, 0},
		"as browsers do":      {func(r *http.Request) { r.Header.Set("Connection", "keep-alive, Upgrade") }, 0},
		"no WebSocket at all": {func(r *http.Request) { r.Header = http.Header{} }, 426},
		"POST":                {func(r *http.Request) { r.Method = "POST" }, 400},
		"HTTP/1.0":            {func(r *http.Request) { r.ProtoMinor = 0 }, 400},
		"HTTP/2":              {func(r *http.Request) { r.ProtoMajor = 2 }, 400},
		"no connection":       {func(r *http.Request) { r.Header.Del("Connection") }, 400},
		"old version":         {func(r *http.Request) { r.Header.Set("Sec-WebSocket-Version", "8") }, 426},
		"no key":              {func(r *http.Request) { r.Header.Del("Sec-WebSocket-Key") }, 400},
		"short key":           {func(r *http.Request) { r.Header.Set("Sec-WebSocket-Key", "abcd") }, 400},
		"no host":             {func(r *http.Request) { r.Host = "" }, 400},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header = http.Header{
			"Upgrade": {"websocket"}, "Connection": {"Upgrade"},
			"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
		}
		test.change(r)
		err := Check(r)
		var refused *Refusal
		if status := 0; errors.As(err, &refused) {
			status = refused.Status
			if status != test.status {
				t.Errorf("%s: %d, want %d", name, status, test.status)
			}
			w := httptest.NewRecorder()
			if _, _, err := Upgrade(w, r); !errors.As(err, &refused) || w.Body.Len() > 0 {
				t.Errorf("%s: Upgrade says %v and answers %q", name, err, w.Body)
			}
			refused.SetHeaders(w.Header())
			if (status == 426) != (w.Header().Get("Sec-WebSocket-Version") == "13") {
				t.Errorf("%s: headers %v", name, w.Header())
			}
		} else if test.status != 0 || err != nil {
			t.Errorf("%s: %v, want %d", name, err, test.status)
		}
	}
}

// TestUpgradeWithoutHijack is what a handler sees behind a middleware that hides the connection.
func TestUpgradeWithoutHijack(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest("GET", "/", nil)
	for k, v := range map[string]string{"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="} {
		r.Header.Set(k, v)
	}
	if _, _, err := Upgrade(httptest.NewRecorder(), r); err == nil {
		t.Error("a connection out of nothing")
	}
}

func TestClosingFrame(t *testing.T) {
	t.Parallel()
	for _, reason := range []string{"", "kicked", strings.Repeat("x", 123), strings.Repeat("x", 124), strings.Repeat("漢", 60), "x" + strings.Repeat("漢", 60), "a\xffb"} {
		f := (&client{t: t, r: bufio.NewReader(bytes.NewReader(closing(WebSocket, 4001, reason).ws))}).frame()
		if code, text := ws.ParseCloseFrameData(f.Payload); code != 4001 || !strings.HasPrefix(strings.ReplaceAll(reason, "\xff", ""), text) || ws.CheckCloseFrameData(code, text) != nil || len(f.Payload) > 125 {
			t.Errorf("%q became %d %q", reason, code, text)
		}
	}
}
