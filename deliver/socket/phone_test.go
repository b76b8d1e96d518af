package socket

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// phone is a client of any kind that shares no code with this package: that of coder/websocket, or net/http's with a
// reader of event streams.
type phone struct {
	t    testing.TB
	next func() (message, error) // the error io.EOF at the end that the protocol has
	hang func()                  // up, without a word
}

// message is what a client hears: a push, or why the service closed.
type message struct {
	text, id string
	code     int
	reason   string
	retry    int
}

func (p *phone) hear() message {
	p.t.Helper()
	m, err := p.next()
	if err != nil {
		p.t.Fatal(err)
	}
	return m
}

// closed reads up to the close and the end behind it.
func (p *phone) closed() (m message, pushes int) {
	p.t.Helper()
	for ; ; pushes++ {
		if m = p.hear(); m.code != 0 {
			break
		}
	}
	if _, err := p.next(); !errors.Is(err, io.EOF) {
		p.t.Fatalf("behind the close: %v, want the end", err)
	}
	return m, pushes
}

// phone connects a client of a kind, whose receive buffer d may make small.
func (s *server) phone(t testing.TB, k kind, d *net.Dialer) (*phone, *recorder) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	t.Cleanup(cancel)
	transport := &http.Transport{DialContext: d.DialContext, TLSClientConfig: trusting}
	t.Cleanup(transport.CloseIdleConnections)
	hc := &http.Client{Transport: transport}
	base := "http://" + s.http.Listener.Addr().String()
	if k.secure {
		base = "https://" + s.tls.Addr().String()
	}
	p := &phone{t: t}
	if k.protocol == WebSocket {
		c, _, err := websocket.Dial(ctx, base, &websocket.DialOptions{HTTPClient: hc})
		if err != nil {
			t.Fatal(err)
		}
		c.SetReadLimit(-1)
		p.hang = func() { _ = c.CloseNow() }
		ended := false
		p.next = func() (message, error) {
			if ended {
				return message{}, io.EOF // its close frame is the end, and answered
			}
			_, b, err := c.Read(ctx)
			var ce websocket.CloseError
			if errors.As(err, &ce) {
				ended = true
				return message{code: int(ce.Code), reason: ce.Reason}, nil
			}
			return message{text: string(b)}, err
		}
	} else {
		r, err := http.NewRequestWithContext(ctx, "GET", base+"/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := hc.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{
			"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no",
			"Access-Control-Allow-Origin": "*", "X-Request-Id": "r1",
		} {
			if got := res.Header.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		if res.StatusCode != 200 || res.ContentLength != -1 || !res.Close || len(res.TransferEncoding) > 0 {
			t.Fatalf("answered with %+v", res)
		}
		p.hang = func() { _ = res.Body.Close() }
		events := &eventSource{r: bufio.NewReader(res.Body)}
		p.next = func() (message, error) {
			e, err := events.next()
			m := message{text: e.data, id: events.lastID, retry: events.retry}
			if err != nil || e.name == "push" {
				return m, err
			}
			var body struct {
				Code   int
				Reason string
			}
			if e.name != "close" {
				return m, fmt.Errorf("an event %q", e.name)
			}
			err = json.Unmarshal([]byte(e.data), &body)
			m.code, m.reason = body.Code, body.Reason
			return m, err
		}
	}
	t.Cleanup(p.hang)
	return p, receive(t, s.adopted)
}

// event is what an EventSource dispatches.
type event struct{ name, data string }

// eventSource reads an event stream by the rules of the HTML standard, 9.2.6.
type eventSource struct {
	r      *bufio.Reader
	lastID string
	retry  int
}

// next is the next event that is dispatched, or io.EOF: what is incomplete by then is thrown away.
func (s *eventSource) next() (event, error) {
	var e event
	var data []string
	id := s.lastID
	for {
		line, err := s.line()
		if err != nil {
			return event{}, err
		}
		if line == "" {
			s.lastID = id
			if data == nil {
				e = event{}
				continue
			}
			e.data = strings.Join(data, "\n")
			return e, nil
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			e.name = value
		case "data":
			data = append(data, value)
		case "id":
			if !strings.Contains(value, "\x00") {
				id = value
			}
		case "retry":
			if n, err := strconv.Atoi(value); err == nil {
				s.retry = n
			}
		}
	}
}

// line ends with \n, \r or \r\n. That of a last line without an end is io.EOF.
func (s *eventSource) line() (string, error) {
	var line []byte
	for {
		b, err := s.r.ReadByte()
		if err != nil {
			return "", err
		}
		switch b {
		case '\r':
			if next, err := s.r.Peek(1); err == nil && next[0] == '\n' {
				_, err = s.r.Discard(1)
				return string(line), err
			}
			return string(line), nil
		case '\n':
			return string(line), nil
		}
		line = append(line, b)
	}
}
