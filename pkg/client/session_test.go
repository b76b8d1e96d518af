package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/carillon-push/carillon/pkg/client"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const wait = 20 * time.Second

// gateway plays the service: each connection is handed to a script, the n-th to the n-th.
func gateway(t *testing.T, scripts ...func(*websocket.Conn)) (session client.Session) {
	t.Helper()
	var n atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i := int(n.Add(1)) - 1
		if i >= len(scripts) || scripts[i] == nil {
			http.Error(w, `{"ErrorCode":91000,"ErrorInfo":"not now"}`, http.StatusServiceUnavailable)
			return
		}
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.CloseNow() //nolint:errcheck // over in any case
		scripts[i](c)
	}))
	hc := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(func() { hc.CloseIdleConnections(); srv.Close() })
	return client.Session{
		URL: "ws" + strings.TrimPrefix(srv.URL, "http"), App: 7, Account: "u", UserSig: "s", HTTP: hc,
		OnPush: func(client.Push) {},
	}
}

func write(t *testing.T, c *websocket.Conn, frame string) {
	t.Helper()
	if err := c.Write(context.Background(), websocket.MessageText, []byte(frame)); err != nil {
		t.Error(err)
	}
}

func pushFrame(seq int) string {
	return fmt.Sprintf(`{"t":"push","id":"7-%d","seq":%d,"from":"x","at":1700000000123,"expire":1700000120,"body":[%d]}`, seq, seq, seq)
}

// readAcks reads one frame, which must be an acknowledgement.
func readAcks(t *testing.T, c *websocket.Conn) []push.Seq {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	_, data, err := c.Read(ctx)
	var f wire.ClientFrame
	if err == nil {
		err = json.Unmarshal(data, &f)
	}
	if err != nil || f.Type != wire.FrameAck {
		t.Errorf("frame %s, %v: want an ack", data, err)
	}
	return f.Seqs
}

const hello = `{"t":"hello","session":"s","heartbeat":60,"pending":0}`

// Acknowledgements are gathered, a push that comes again after a reconnection is shown once but acknowledged again, and a
// connection that is lost or refused for now is tried again.
func TestListenReconnectsAndDropsRepeats(t *testing.T) {
	t.Parallel()
	done := make(chan struct{})
	s := gateway(t,
		func(c *websocket.Conn) {
			write(t, c, hello)
			write(t, c, pushFrame(1))
			write(t, c, `{"t":"from the future"}`)
			write(t, c, pushFrame(2))
			if got := fmt.Sprint(readAcks(t, c)); got != "[1 2]" {
				t.Errorf("acknowledged %s, want both in one frame", got)
			}
		},
		nil, // 503
		func(c *websocket.Conn) {
			write(t, c, hello)
			write(t, c, pushFrame(2))
			write(t, c, pushFrame(3))
			if got := fmt.Sprint(readAcks(t, c)); got != "[2 3]" {
				t.Errorf("acknowledged %s", got)
			}
			close(done)
		})
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	var got []push.Seq
	downs := 0
	s.Gather = 50 * time.Millisecond
	s.OnPush = func(p client.Push) { got = append(got, p.Seq) }
	s.OnDown = func(error, time.Duration) {
		downs++
		select {
		case <-done:
			cancel()
		default:
		}
	}
	if err := s.Listen(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if fmt.Sprint(got) != "[1 2 3]" || downs != 3 {
		t.Errorf("shown %v with %d interruptions", got, downs)
	}
}

// What has been shown is acknowledged before an orderly end.
func TestEndingSendsTheLastAcknowledgements(t *testing.T) {
	t.Parallel()
	acked := make(chan []push.Seq, 1)
	s := gateway(t, func(c *websocket.Conn) {
		write(t, c, hello)
		write(t, c, pushFrame(5))
		acked <- readAcks(t, c)
		_, _, err := c.Read(context.Background())
		if websocket.CloseStatus(err) != websocket.StatusNormalClosure {
			t.Errorf("the client ended with %v", err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	s.Gather = time.Hour
	s.OnPush = func(p client.Push) {
		if p.ID != "7-5" || p.From != "x" || p.At.UnixMilli() != 1700000000123 || p.Expire.Unix() != 1700000120 || string(p.Body) != "[5]" {
			t.Errorf("got %+v", p)
		}
		cancel()
	}
	if err := s.Listen(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if got := fmt.Sprint(<-acked); got != "[5]" {
		t.Errorf("acknowledged %s", got)
	}
}

// A session that the service ended for good is not tried again.
func TestListenStopsWhenItIsNotWanted(t *testing.T) {
	t.Parallel()
	for _, code := range []wire.CloseCode{wire.CloseKicked, wire.CloseDeleted, wire.CloseTooMany} {
		s := gateway(t, func(c *websocket.Conn) {
			write(t, c, hello)
			_ = c.Close(websocket.StatusCode(code), code.Reason())
		})
		var refused *client.Refused
		if err := s.Listen(t.Context()); !errors.As(err, &refused) || refused.Code != int(code) {
			t.Errorf("close %d: %v", code, err)
		}
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"ActionStatus":"FAIL","ErrorInfo":"expired","ErrorCode":70001}`)
	}))
	defer srv.Close()
	var refused *client.Refused
	err := client.Session{URL: "ws" + strings.TrimPrefix(srv.URL, "http"), App: 7, Account: "u", UserSig: "secret"}.Listen(t.Context())
	if !errors.As(err, &refused) || refused.Status != 401 || refused.Code != 70001 || strings.Contains(err.Error(), "secret") {
		t.Errorf("401: %v", err)
	}
}

// Errors do not show the signature, which is in the URL.
func TestErrorsHoldNoSignature(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	var down error
	s := client.Session{
		URL: "ws://127.0.0.1:1", App: 7, Account: "u", UserSig: "secret",
		OnDown: func(err error, _ time.Duration) { down = err; cancel() },
	}
	if err := s.Listen(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if down == nil || strings.Contains(down.Error(), "secret") {
		t.Errorf("down: %v", down)
	}
	r := client.REST{URL: "http://127.0.0.1:1", App: 7, Admin: "a", Key: "k"}
	if err := r.Call(t.Context(), "x/y", map[string]any{}, nil); err == nil || strings.Contains(err.Error(), "usersig") {
		t.Errorf("call: %v", err)
	}
}
