package deliver

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// stream is an event stream's far end.
type stream struct {
	t     testing.TB
	lines *bufio.Scanner
	hello wire.ServerFrame
}

// event is one event of a stream.
type event struct {
	name, id, data string
}

// open asks for an event stream, with the id of the last event that was seen unless it is empty.
func (g *gateway) open(account, seen string) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	g.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, g.server.URL+"/v1/events?"+query(g.t, account).Encode(), nil)
	if err != nil {
		return nil, err
	}
	if seen != "" {
		r.Header.Set("Last-Event-ID", seen)
	}
	return http.DefaultClient.Do(r)
}

// stream logs in and reads the hello.
func (g *gateway) stream(account, seen string) *stream {
	g.t.Helper()
	res, err := g.open(account, seen)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = res.Body.Close() })
	h := res.Header
	if res.StatusCode != http.StatusOK || h.Get("Content-Type") != "text/event-stream" || h.Get("Access-Control-Allow-Origin") != "*" || h.Get("Cache-Control") != "no-store" {
		g.t.Fatalf("HTTP %d, %v", res.StatusCode, h)
	}
	s := &stream{t: g.t, lines: bufio.NewScanner(res.Body)}
	e := s.next()
	if err := json.Unmarshal([]byte(e.data), &s.hello); err != nil || e.name != wire.FrameHello || e.id != "" || s.hello.Type != wire.FrameHello {
		g.t.Fatalf("the first event is %+v, %v", e, err)
	}
	return s
}

// next reads an event.
func (s *stream) next() (e event) {
	s.t.Helper()
	for s.lines.Scan() {
		line := s.lines.Text()
		field, value, _ := strings.Cut(line, ": ")
		switch field {
		case "":
			if e != (event{}) {
				return e
			}
		case "event":
			e.name = value
		case "id":
			e.id = value
		case "data":
			e.data += value
		}
	}
	s.t.Fatalf("the stream ended with %v", s.lines.Err())
	return e
}

func (s *stream) expect(want ...push.Seq) {
	s.t.Helper()
	for _, seq := range want {
		var f wire.ServerFrame
		e := s.next()
		if err := json.Unmarshal([]byte(e.data), &f); err != nil || e.name != wire.FramePush || e.id != fmt.Sprint(seq) || f.Seq != seq || f.Type != wire.FramePush {
			s.t.Fatalf("got %+v, %v; want push %d", e, err, seq)
		}
	}
}

// post acknowledges by HTTP and gives the status and the contract's code.
func (g *gateway) post(account, body string) (status, code int) {
	g.t.Helper()
	res, err := http.Post(g.server.URL+"/v1/ack?"+query(g.t, account).Encode(), "application/json", strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	var a struct {
		ActionStatus string
		ErrorCode    int
	}
	if err := json.NewDecoder(res.Body).Decode(&a); err != nil || (a.ActionStatus == "OK") != (res.StatusCode == 200) {
		g.t.Errorf("answered %+v, %v", a, err)
	}
	return res.StatusCode, a.ErrorCode
}

// The inbox, then live pushes and revocations, on one stream; what it is closed with is its last event.
func TestEventStream(t *testing.T) {
	t.Parallel()
	g := start(t)
	at := g.register("u")
	one, two := g.kept(), g.kept()
	g.audience(one, at["u"])
	g.audience(two, at["u"])
	g.offline(func(a ask) { a.answer(t, one, two) })
	s := g.stream("u", "")
	if s.hello.Pending != 2 || s.hello.Heartbeat != 60 || s.hello.Session == "" {
		t.Errorf("hello: %+v", s.hello)
	}
	s.expect(one, two)
	three := g.kept()
	g.audience(three, at["u"])
	s.expect(three)
	data, err := wire.EncodePush(&push.Push{App: testApp, At: time.Now(), Lifetime: time.Hour, Revokes: one})
	if err != nil {
		t.Fatal(err)
	}
	revocation := g.acceptRaw(testApp, data)
	g.audience(revocation, at["u"])
	want := event{"revoke", fmt.Sprint(revocation), fmt.Sprintf(`{"t":"revoke","id":"%s","seq":%d,"ack":%d}`, push.NewTaskID(testApp, one), one, revocation)}
	if e := s.next(); e != want {
		t.Errorf("got %+v, want %+v", e, want)
	}
	for _, se := range g.hub.all() {
		se.close(wire.CloseKicked)
	}
	if e := s.next(); e != (event{"close", "", `{"code":4001,"reason":"kicked"}`}) {
		t.Errorf("got %+v", e)
	}
	if s.lines.Scan() {
		t.Errorf("behind the end came %q", s.lines.Text())
	}
}

// The last event's id acknowledges it, and what came before; the rest comes again.
func TestLastEventID(t *testing.T) {
	t.Parallel()
	g := start(t)
	at := g.register("u")
	one, two, three := g.kept(), g.kept(), g.kept()
	for _, seq := range []push.Seq{one, two, three} {
		g.audience(seq, at["u"])
	}
	g.offline(func(a ask) { a.answer(t, one, two, three) })
	s := g.stream("u", fmt.Sprint(two))
	if s.hello.Pending != 1 {
		t.Errorf("%d pending, want 1", s.hello.Pending)
	}
	s.expect(three)
	live := g.hub.all()[0]
	live.mu.Lock()
	if live.login != nil { // from here on what it was sent is on record
		t.Error("the session is not live")
	}
	live.mu.Unlock()
	if err := g.publishReceipts(t.Context()); err != nil {
		t.Fatal(err)
	}
	for seq, acked := range map[push.Seq]bool{one: true, two: true, three: false} {
		r, _ := g.receipt(seq)
		if r.Received.Contains(at["u"]) != acked || r.Sent.Contains(at["u"]) == acked {
			t.Errorf("push %d: received %v, sent %v", seq, r.Received, r.Sent)
		}
	}
	for _, bad := range []string{"x", "-1", "1.5", strings.Repeat("9", 40)} {
		res, err := g.open("u", bad)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if res.StatusCode != http.StatusBadRequest || err != nil || !bytes.Contains(body, []byte("60002")) {
			t.Errorf("Last-Event-ID %q: HTTP %d, %s, %v", bad, res.StatusCode, body, err)
		}
		_ = res.Body.Close()
	}
	if n := len(g.hub.all()); n != 1 {
		t.Errorf("%d sessions", n)
	}
}

// An acknowledgement by HTTP is on the broker when it is answered.
func TestAcknowledgementByHTTP(t *testing.T) {
	t.Parallel()
	g := start(t)
	at := g.register("u", "v")
	one, two := g.kept(), g.kept()
	if status, code := g.post("u", fmt.Sprintf(`{"seq":[%d,%d]}`, one, two)); status != 200 || code != 0 {
		t.Errorf("HTTP %d, code %d", status, code)
	}
	for _, seq := range []push.Seq{one, two} {
		if r, _ := g.receipt(seq); !r.Received.Contains(at["u"]) || r.Received.Contains(at["v"]) {
			t.Errorf("push %d: received %v", seq, r.Received)
		}
	}
	before := g.receipts(t)
	for body, want := range map[string][2]int{
		"":           {400, 60003},
		"[]":         {400, 60003},
		`{}`:         {400, 60003},
		`{"seq":1}`:  {400, 60003},
		`{"seq":[]}`: {200, 0},
		`{"seq":[` + strings.Repeat("1,", wire.MaxAckSeqs) + `1]}`: {400, 60003},
		strings.Repeat(" ", maxAckBody+1):                          {413, 60002},
	} {
		if status, code := g.post("u", body); status != want[0] || code != want[1] {
			t.Errorf("%.40q: HTTP %d, code %d, want %v", body, status, code, want)
		}
	}
	if status, code := g.post("nobody", `{"seq":[1]}`); status != 403 || code != 70107 {
		t.Errorf("no account: HTTP %d, code %d", status, code)
	}
	if n := g.receipts(t); n != before {
		t.Errorf("%d receipts were published for what was refused", n-before)
	}
	q := query(t, "u")
	q.Set("usersig", "garbage")
	res, err := http.Post(g.server.URL+"/v1/ack?"+q.Encode(), "", strings.NewReader(`{"seq":[1]}`))
	if err != nil || res.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a UserSig: %v, %v", res.Status, err)
	}
	_ = res.Body.Close()
}

// Pages of other origins may ask.
func TestPreflight(t *testing.T) {
	t.Parallel()
	g := start(t)
	for _, path := range []string{"/v1/events", "/v1/ack", "/v1/session"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, g.server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusNoContent || res.Header.Get("Access-Control-Allow-Origin") != "*" || res.Header.Get("Access-Control-Allow-Headers") == "" {
			t.Errorf("%s: HTTP %d, %v", path, res.StatusCode, res.Header)
		}
	}
}

// Logins that come too fast are refused before they cost anything.
func TestLoginsPerSecond(t *testing.T) {
	t.Parallel()
	g := start(t, func(c *Config) { c.Logins = 1 })
	g.nothing()
	g.login("u")
	refusals := 0
	for range 3 { // a second passes meanwhile at most once or twice
		_, err := g.dial(query(t, "u"))
		if r, ok := err.(*refused); ok && *r == (refused{429, 60007}) { //nolint:errorlint // dial wraps nothing
			refusals++
		}
	}
	if refusals == 0 {
		t.Error("no login was refused")
	}
}
