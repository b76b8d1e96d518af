package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/carillon-push/carillon/pkg/client"
	"github.com/carillon-push/carillon/pkg/wire"
)

// Each close code either ends Listen for good, or is waited out.
func TestEveryCloseCode(t *testing.T) {
	t.Parallel()
	for _, code := range []wire.CloseCode{wire.CloseKicked, wire.CloseDeleted, wire.CloseTooMany} {
		t.Run(code.Reason(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				l := listen(t, nil)
				l.open().close(code)
				var refused *client.Refused
				if err := l.end(); !errors.As(err, &refused) || *refused != (client.Refused{Code: int(code), Info: code.Reason()}) {
					t.Errorf("close %d: %v", code, err)
				}
				if s := state[client.Ended](l); s.Err != l.err {
					t.Errorf("the last state is %v", s)
				}
			})
		})
	}
	for _, code := range []wire.CloseCode{wire.CloseNormal, wire.CloseDraining, wire.CloseTooSlow, wire.CloseBadFrame, 1011} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				l := listen(t, nil)
				l.open().close(code)
				var closed *client.Closed
				if s := state[client.Waiting](l); !errors.As(s.Err, &closed) || closed.Code != int(code) || closed.Info != code.Reason() {
					t.Errorf("close %d: %v", code, s)
				}
				l.open()
			})
		})
	}
}

// Each answer to a login either ends Listen for good, or is waited out: at least as long as it says.
func TestEveryAnswer(t *testing.T) {
	t.Parallel()
	for _, status := range []int{401, 403} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				l := listen(t, func(s *client.Session) { s.URLs = nil })
				if err := l.end(); err == nil {
					t.Error("no URL is no error")
				}
				l.URLs = []string{"ws://gateway"}
				l.refuse(refusal(status, 70009, "does not verify"))
				l.start()
				var refused *client.Refused
				if err := l.end(); !errors.As(err, &refused) || *refused != (client.Refused{Status: status, Code: 70009, Info: "does not verify"}) {
					t.Errorf("HTTP %d: %v", status, err)
				}
			})
		})
	}
	for name, c := range map[string]struct {
		status      int
		header      []string
		least, most time.Duration
	}{
		"503 with seconds": {503, []string{"Retry-After", "40"}, 40 * time.Second, 51 * time.Second},
		"429 with a date":  {429, []string{"Retry-After", "Sat, 01 Jan 2000 00:01:00 GMT"}, time.Minute, 76 * time.Second}, // a bubble begins with 2000
		"503 without":      {503, nil, 0, 200 * time.Millisecond},
		"503 for ever":     {503, []string{"Retry-After", "999999999"}, 10 * time.Minute, 13 * time.Minute},
		"503 with nothing": {503, []string{"Retry-After", "soon"}, 0, 200 * time.Millisecond},
		"404":              {404, nil, 0, 200 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				g := newGateway(t)
				g.refuse(refusal(c.status, 91000, "try again", c.header...))
				l := &listening{gateway: g, states: make(chan client.State, 4096)}
				l.Session = &client.Session{
					URLs: []string{"http://gateway/"}, App: 7, Account: "u", HTTP: g.http,
					OnPush: func(client.Push) {}, OnState: func(s client.State) { l.states <- s },
				}
				l.start()
				s := state[client.Waiting](l)
				var u *client.Unavailable
				if !errors.As(s.Err, &u) || u.Status != c.status || u.Code != 91000 || u.Info != "try again" || s.Pause < c.least || s.Pause > c.most {
					t.Errorf("%v (%v)", s, s.Pause)
				}
				g.refuse(nil)
				l.open()
				if err := l.stop(); err != context.Canceled {
					t.Error(err)
				}
			})
		})
	}
}

// An answer that is not the service's still says its status.
func TestAnswersOfAProxy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := listen(t, func(s *client.Session) { s.URLs = []string{"ws://gateway/some/path"} })
		p := l.open()
		if p.login.URL.Path != "/some/path/v1/session" {
			t.Errorf("dialled %s", p.login.URL.Path)
		}
		l.refuse(func(w http.ResponseWriter, _ *http.Request) bool {
			http.Error(w, "<html>", http.StatusBadGateway)
			return true
		})
		p.drop()
		if s := state[client.Waiting](l); !strings.Contains(s.Err.Error(), "the connection was lost") {
			t.Errorf("dropped: %v", s.Err)
		}
		if s := state[client.Waiting](l); s.Err.Error() != "the service has no session now: HTTP 502: Bad Gateway" {
			t.Errorf("502: %v", s.Err)
		}
		l.refuse(func(w http.ResponseWriter, _ *http.Request) bool {
			http.Error(w, "<html>", http.StatusForbidden)
			return true
		})
		if err := l.end(); err.Error() != "the session was refused: HTTP 403: Forbidden" {
			t.Errorf("403: %v", err)
		}
	})
}

// Sig is asked at each connection. A signature that the service finds expired is asked for again, and only the same one
// given twice is final; the app's own trouble is waited out, unless it says that it will not pass.
func TestSignatures(t *testing.T) {
	bubble(t, func(t *testing.T) {
		answers := make(chan func() (string, error), 16)
		l := listen(t, func(s *client.Session) {
			s.Sig = func(context.Context) (string, error) { return (<-answers)() }
		})
		give := func(sig string, err error) { answers <- func() (string, error) { return sig, err } }
		give("one", nil)
		p := l.open()
		if sig := p.login.URL.Query().Get("usersig"); sig != "one" {
			t.Errorf("logged in with %q", sig)
		}
		trouble := errors.New("the app's server is away")
		give("", trouble)
		p.drop()
		state[client.Waiting](l)
		if s := state[client.Waiting](l); !errors.Is(s.Err, trouble) {
			t.Errorf("%v", s)
		}
		l.refuse(refusal(401, 70001, "expired"))
		give("old", nil)
		if s := state[client.Waiting](l); !strings.Contains(s.Err.Error(), "70001") {
			t.Errorf("%v", s)
		}
		l.refuse(nil)
		give("new", nil)
		p = l.open()
		if sig := p.login.URL.Query().Get("usersig"); sig != "new" {
			t.Errorf("logged in with %q", sig)
		}
		l.refuse(refusal(401, 70001, "expired"))
		p.drop()
		give("newer", nil)
		give("newer", nil)
		var refused *client.Refused
		if err := l.end(); !errors.As(err, &refused) || refused.Code != 70001 {
			t.Errorf("expired twice: %v", err)
		}
		l.start()
		give("", fmt.Errorf("log in again: %w", &client.Refused{Status: 401, Info: "no account"}))
		if err := l.end(); !errors.As(err, &refused) || refused.Info != "no account" {
			t.Errorf("refused by the app: %v", err)
		}
	})
}

// The service is there as long as it is heard of; two heartbeats of silence and a little more are a lost connection.
func TestASilentServiceIsLeft(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := listen(t, nil)
		p := <-l.peers
		p.hello(10, 0)
		begin := time.Now()
		for range 5 {
			pass(20 * time.Second)
			if err := p.conn.Ping(t.Context()); err != nil {
				t.Fatalf("after %v: %v", time.Since(begin), err)
			}
		}
		<-p.gone
		if d := time.Since(begin); d != 125*time.Second {
			t.Errorf("left after %v", d)
		}
		if s := state[client.Waiting](l); s.Err.Error() != "nothing was heard of the service for 25s" {
			t.Errorf("%v", s.Err)
		}
		l.open()
	})
}

// A service that says no hello, or whose hello names no heartbeat, holds up nothing.
func TestHellos(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := listen(t, nil)
		<-l.peers // which says nothing
		begin := time.Now()
		if s := state[client.Waiting](l); !errors.Is(s.Err, context.DeadlineExceeded) || time.Since(begin) != 5*time.Second {
			t.Errorf("after %v: %v", time.Since(begin), s.Err)
		}
		(<-l.peers).push(1)
		if s := state[client.Waiting](l); !strings.Contains(s.Err.Error(), "not with hello") {
			t.Errorf("%v", s.Err)
		}
		(<-l.peers).send("{")
		if s := state[client.Waiting](l); !strings.Contains(s.Err.Error(), "read a frame") {
			t.Errorf("%v", s.Err)
		}
		(<-l.peers).send(`{"t":"hello"}`)
		if s := state[client.Open](l); s.Heartbeat != time.Second {
			t.Errorf("a heartbeat of %v", s.Heartbeat)
		}
		p := <-l.peers
		p.hello(1<<60, 0)
		if s := state[client.Open](l); s.Heartbeat != time.Hour {
			t.Errorf("a heartbeat of %v", s.Heartbeat)
		}
		if got := l.got(); len(got) > 0 {
			t.Errorf("shown %v", got)
		}
	})
}

// A message that is too long, or is none, ends the session and says why.
func TestMessagesThatCannotBeRead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := listen(t, nil)
		p := l.open()
		go p.send(`{"t":"push","body":"` + strings.Repeat("x", 1<<20) + `"}`)
		if s := state[client.Waiting](l); s.Err.Error() != "a message of the service is longer than 1048576 bytes" {
			t.Errorf("%v", s.Err)
		}
		p = l.open()
		p.send(`{"t":"push","seq":"one"}`)
		if s := state[client.Waiting](l); !strings.Contains(s.Err.Error(), "read a frame") {
			t.Errorf("%v", s.Err)
		}
	})
}

// A connection that takes nothing more is left, and what was to be written is written on the next.
func TestAConnectionThatTakesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := listen(t, nil)
		first := l.open()
		stuck := make(chan *websocket.Conn)
		release := make(chan struct{})
		l.refuse(func(w http.ResponseWriter, r *http.Request) bool {
			l.refuse(nil)
			c, err := websocket.Accept(w, r, nil)
			if err != nil {
				t.Error(err)
				return true
			}
			stuck <- c
			<-release // without reading
			_ = c.CloseNow()
			return true
		})
		first.drop()
		c := <-stuck
		p := &peer{t: t, conn: c}
		p.hello(60, 0)
		p.push(1)
		begin := time.Now()
		state[client.Waiting](l)
		s := state[client.Waiting](l)
		if d := time.Since(begin); !strings.Contains(s.Err.Error(), "the connection was lost") || d > 10*time.Second {
			t.Errorf("after %v: %v", d, s.Err)
		}
		close(release)
		p = l.open()
		p.want(`{"t":"ack","seq":[1]}`)
	})
}

// Each connection takes another of the bases, as long as there are others, and takes all in the end.
func TestSeveralBases(t *testing.T) {
	bubble(t, func(t *testing.T) {
		urls := []string{"ws://one", "ws://two", "ws://three"}
		l := listen(t, func(s *client.Session) { s.URLs = urls })
		seen, last := map[string]bool{}, ""
		for range 50 {
			p := l.open()
			if p.login.Host == last {
				t.Errorf("%s was taken twice in a row", last)
			}
			last = p.login.Host
			seen[last] = true
			p.close(wire.CloseDraining)
		}
		if len(seen) != len(urls) {
			t.Errorf("only %v were taken", seen)
		}
	})
}

// A gateway that hangs has its connections accepted by its machine all the same. The next one is tried after a bounded time;
// where all are slow each has more time than the one before, so that in the end one can answer.
func TestAGatewayThatHangsIsLeft(t *testing.T) {
	t.Parallel()
	for handshake, want := range map[time.Duration][]time.Duration{
		0:               {5 * time.Second, 10 * time.Second, 20 * time.Second, 20 * time.Second},
		3 * time.Second: {3 * time.Second, 6 * time.Second, 12 * time.Second, 20 * time.Second},
	} {
		t.Run(fmt.Sprint(handshake), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				l := newListening(t, func(s *client.Session) {
					s.URLs, s.Handshake = []string{"ws://one", "ws://two"}, handshake
				})
				hang := func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true }
				l.refuse(hang)
				l.start()
				last := ""
				for i := range 2 * len(want) {
					if i == len(want) { // it is another story after a session
						l.refuse(nil)
						p := l.open()
						last = "ws://" + p.login.Host
						p.drop()
						state[client.Open](l)
						l.refuse(hang)
					}
					c := state[client.Connecting](l)
					begin := time.Now()
					w := state[client.Waiting](l)
					if d := time.Since(begin); d != want[i%len(want)] || !strings.Contains(w.Err.Error(), "did not answer in time") {
						t.Errorf("attempt %d was given up after %v, want %v: %v", i, d, want[i%len(want)], w.Err)
					}
					if c.URL == last {
						t.Errorf("%s was tried again at once", last)
					}
					last = c.URL
				}
			})
		})
	}
}

// Over real sockets with TLS: the client's own transport says what is trusted.
func TestTLS(t *testing.T) {
	t.Parallel()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return // a client that does not trust it
		}
		p := &peer{t: t, conn: c}
		p.hello(60, 1)
		p.push(1)
		_, _, _ = c.Read(context.Background())
		_ = c.CloseNow()
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // of the client that does not trust it
	srv.StartTLS()
	t.Cleanup(srv.Close)
	for name, hc := range map[string]*http.Client{"trusted": srv.Client(), "unknown": {Transport: &http.Transport{}}} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		var outcome []string
		s := &client.Session{
			URLs: []string{"wss://" + strings.TrimPrefix(srv.URL, "https://")}, App: 7, Account: "u", UserSig: "secret", HTTP: hc,
			OnPush: func(client.Push) { outcome = append(outcome, "pushed"); cancel() },
			OnState: func(s client.State) {
				if w, ok := s.(client.Waiting); ok {
					outcome = append(outcome, w.Err.Error())
					cancel()
				}
			},
		}
		if err := s.Listen(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
		switch {
		case name == "trusted" && !slices.Equal(outcome, []string{"pushed"}):
			t.Errorf("trusted: %q", outcome)
		case name == "unknown" && (len(outcome) != 1 || !strings.Contains(outcome[0], "certificate")):
			t.Errorf("unknown: %q", outcome)
		}
		cancel()
	}
}

// No error shows the signature, which is in the URL.
func TestErrorsHoldNoSignature(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // redirects for ever
		http.Redirect(w, r, r.URL.String(), http.StatusTemporaryRedirect)
	}))
	defer srv.Close()
	var errs []error
	s := &client.Session{
		URLs: []string{"ws://127.0.0.1:1", srv.URL}, App: 7, Account: "u", UserSig: "secret",
		HTTP:   &http.Client{Transport: transport},
		OnPush: func(client.Push) {},
		OnState: func(s client.State) {
			if w, ok := s.(client.Waiting); ok {
				if errs = append(errs, w.Err); len(errs) == 2 {
					cancel()
				}
			}
		},
	}
	if err := s.Listen(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	for _, err := range errs {
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%v", err)
		}
	}
}

// The login names the platform and the device when there are any.
func TestWhatALoginSays(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := listen(t, func(s *client.Session) { s.Account, s.Platform, s.Device = "a b&c", "iOS", "phone 1" })
		q := l.open().login.URL.Query()
		if q.Get("sdkappid") != "7" || q.Get("identifier") != "a b&c" || q.Get("usersig") != "secret" || q.Get("platform") != "iOS" || q.Get("device") != "phone 1" {
			t.Errorf("logged in with %v", q)
		}
		_ = l.stop()
		l.Account, l.Platform, l.Device = "u", "", ""
		l.start()
		if q := l.open().login.URL.Query(); q.Has("platform") || q.Has("device") {
			t.Errorf("logged in with %v", q)
		}
		synctest.Wait()
	})
}
