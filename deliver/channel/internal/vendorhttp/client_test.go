package vendorhttp

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carillon-push/carillon/deliver/channel"
)

func TestConnectionsAreKept(t *testing.T) {
	t.Parallel()
	var conns atomic.Int64
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, "{}")
	}))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns.Add(1)
		}
	}
	srv.Start()
	t.Cleanup(srv.Close)
	c := NewClient(DefaultTimeout)
	for range 20 {
		if a, err := c.PostJSON(t.Context(), srv.URL, nil, 1); err != nil || a.Status != 200 || string(a.Body) != "{}" {
			t.Fatalf("%+v, %v", a, err)
		}
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("20 requests took %d connections", n)
	}
}

func TestCredentialsFollowNoRedirect(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere" {
			elsewhere.Add(1)
		}
		http.Redirect(w, r, "/elsewhere", http.StatusPermanentRedirect)
	}))
	t.Cleanup(srv.Close)
	a, err := NewClient(DefaultTimeout).PostForm(t.Context(), srv.URL, nil, "secret=x")
	if err != nil || a.Status != 308 || elsewhere.Load() != 0 {
		t.Errorf("%+v, %v; the other place had %d requests", a, err, elsewhere.Load())
	}
}

func TestErrorsTellNoSecret(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := "http://" + l.Addr().String()
	l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, do := range map[string]func() error{
		"nobody there": func() error {
			_, err := NewClient(DefaultTimeout).PostForm(t.Context(), address, http.Header{"Authorization": {"key=hidden"}}, "a=hidden")
			return err
		},
		"a header that is none": func() error {
			_, err := NewClient(DefaultTimeout).PostForm(t.Context(), address, http.Header{"Authorization": {"key=hidden\n"}}, "a=hidden")
			return err
		},
		"ended": func() error {
			_, err := NewClient(DefaultTimeout).PostJSON(ctx, address, http.Header{"Authtoken": {"hidden"}}, "hidden")
			return err
		},
	} {
		if err := do(); err == nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTimeoutBoundsTheRequest(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		<-r.Context().Done() // the body never comes
	}))
	t.Cleanup(srv.Close)
	if _, err := NewClient(100*time.Millisecond).PostForm(t.Context(), srv.URL, nil, "a=b"); err == nil {
		t.Error("an answer without an end is taken for one")
	}
}

func TestUntil(t *testing.T) {
	t.Parallel()
	for at, want := range map[string][2]time.Duration{ // to midnight and to 7, in UTC+8
		"2026-01-02T15:59:00Z": {time.Minute, 7*time.Hour + time.Minute},
		"2026-01-02T16:00:00Z": {24 * time.Hour, 7 * time.Hour},
		"2026-01-02T23:30:00Z": {16*time.Hour + 30*time.Minute, 23*time.Hour + 30*time.Minute},
	} {
		now, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		if got := [2]time.Duration{Until(now, 0), Until(now, 7)}; got != want {
			t.Errorf("%s: %v, want %v", at, got, want)
		}
	}
}

func TestBatchKeepsOrder(t *testing.T) {
	t.Parallel()
	b := NewBatch([]string{"a", "", "b", "x y", "a"})
	if !slices.Equal(b.Tokens, []string{"a", "b", "a"}) {
		t.Fatalf("%q are sent", b.Tokens)
	}
	gone := channel.Result{Outcome: channel.Gone, Reason: ReasonMalformed}
	got := b.Each(func(token string) channel.Result { return channel.Result{Outcome: channel.Sent, ID: token} })
	if want := []channel.Result{{Outcome: channel.Sent, ID: "a"}, gone, {Outcome: channel.Sent, ID: "b"}, gone,
		{Outcome: channel.Sent, ID: "a"}}; !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
}

func FuzzCode(f *testing.F) {
	for _, s := range []string{`1`, `"1"`, `-2`, `null`, `1e9`, `""`, `{}`, `"\u0030"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var c Code
		err := json.Unmarshal([]byte(s), &c)
		var v any
		if json.Unmarshal([]byte(s), &v) != nil {
			if err == nil {
				t.Errorf("%q is taken for a code", s)
			}
			return
		}
		switch v.(type) {
		case string, float64, nil:
			if err != nil {
				t.Errorf("%q: %v", s, err)
			}
		default:
			if err == nil {
				t.Errorf("%q is the code %q", s, c)
			}
		}
	})
}

func FuzzGrant(f *testing.F) {
	f.Add(200, `{"access_token":"a","expires_in":3600}`)
	f.Add(400, `{"error":1101,"sub_error":20001}`)
	f.Add(401, `{"error":"unauthorized_client"}`)
	f.Add(503, `busy`)
	f.Fuzz(func(t *testing.T, status int, body string) {
		g, r := grant(Answer{Status: status, Body: []byte(body)})
		if (r.Outcome == channel.Sent) != (g.Token != "") || g.Life < 0 || g.Life > 24*time.Hour {
			t.Errorf("%d %q grants %q for %s and is %s", status, body, g.Token, g.Life, r.Outcome)
		}
		if r.Reason != "" && !slices.Contains(Codes{}.Reasons(), r.Reason) {
			t.Errorf("%q is of no closed set", r.Reason)
		}
	})
}
