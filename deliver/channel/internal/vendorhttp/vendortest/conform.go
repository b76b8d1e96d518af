package vendortest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillon-push/carillon/deliver/channel"
)

// Subject is a channel together with its vendor's server.
type Subject struct {
	Channel channel.Channel
	Server  *Server
	// Reasons are all that the channel may give.
	Reasons []string
}

// Check fails the test unless there is a result for each token, each is one of the known outcomes with a reason from the
// closed set, and no reason carries a token.
func (s *Subject) Check(t testing.TB, tokens []string, results []channel.Result) {
	t.Helper()
	if len(results) != len(tokens) {
		t.Fatalf("%d tokens have %d results", len(tokens), len(results))
	}
	for i, r := range results {
		if r.Outcome < channel.Sent || r.Outcome > channel.Denied {
			t.Errorf("token %d has the outcome %d", i, r.Outcome)
		}
		if (r.Outcome == channel.Sent) != (r.Reason == "") {
			t.Errorf("token %d is %s for the reason %q", i, r.Outcome, r.Reason)
		}
		if r.Reason != "" && !slices.Contains(s.Reasons, r.Reason) {
			t.Errorf("token %d has the reason %q, which is not of the closed set", i, r.Reason)
		}
		if tokens[i] != "" && strings.Contains(r.Reason, tokens[i]) {
			t.Errorf("a reason carries a token")
		}
		if r.After < 0 || r.After > 24*time.Hour {
			t.Errorf("token %d is to be tried again after %s", i, r.After)
		}
	}
}

// send sends, checks, and fails the test unless every result has this outcome and reason.
func (s *Subject) send(t testing.TB, tokens []string, o channel.Outcome, reason string) []channel.Result {
	t.Helper()
	results := s.Channel.Send(t.Context(), Notice(), tokens)
	s.Check(t, tokens, results)
	for i, r := range results {
		if r.Outcome != o || r.Reason != reason {
			t.Fatalf("token %d is %s for %q, want %s for %q", i, r.Outcome, r.Reason, o, reason)
		}
	}
	return results
}

// Conform runs what holds for every vendor's channel, each with a channel and a server of its own.
func Conform(t *testing.T, fresh func(t testing.TB) *Subject) {
	for name, test := range map[string]func(*testing.T, *Subject){
		"all good":             allGood,
		"nothing to send":      nothing,
		"tokens of no vendor":  malformed,
		"ended":                ended,
		"no answer in time":    stalls,
		"throttled":            throttled,
		"answers of others":    strangers,
		"many at once":         atOnce,
		"texts of every shape": texts,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, fresh(t))
		})
	}
}

func allGood(t *testing.T, s *Subject) {
	if s.Channel.Batch() != 1000 {
		t.Errorf("a batch has %d tokens", s.Channel.Batch())
	}
	for _, n := range []int{1, 2, 1000} {
		s.send(t, Tokens(n), channel.Sent, "")
	}
}

func nothing(t *testing.T, s *Subject) {
	if results := s.Channel.Send(t.Context(), Notice(), nil); len(results) != 0 {
		t.Errorf("no token has %d results", len(results))
	}
	if n := s.Server.Messages.Load() + s.Server.Auths.Load(); n != 0 {
		t.Errorf("the vendor had %d requests", n)
	}
}

func malformed(t *testing.T, s *Subject) {
	good := Tokens(2)
	tokens := []string{"", good[0], "a,b", "a;b", "a b", "a\nb", `a"b`, "词", good[1], strings.Repeat("x", 600)}
	results := s.Channel.Send(t.Context(), Notice(), tokens)
	s.Check(t, tokens, results)
	for i, r := range results {
		want := channel.Gone
		if slices.Contains(good, tokens[i]) {
			want = channel.Sent
		}
		if r.Outcome != want {
			t.Errorf("%q is %s, want %s", tokens[i], r.Outcome, want)
		}
	}
}

func ended(t *testing.T, s *Subject) {
	n := Notice()
	n.Expire = time.Now().Add(-time.Second)
	tokens := Tokens(3)
	results := s.Channel.Send(t.Context(), n, tokens)
	s.Check(t, tokens, results)
	for _, r := range results {
		if r.Outcome != channel.Refused || r.Reason != channel.ReasonExpired {
			t.Errorf("a notice that has ended is %s for %q", r.Outcome, r.Reason)
		}
	}
	if got := s.Server.Messages.Load(); got != 0 {
		t.Errorf("the vendor had %d requests", got)
	}
}

func stalls(t *testing.T, s *Subject) {
	entered := make(chan struct{}, 1)
	s.Server.Fault(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // the server sees the caller leave only once it has read all
		entered <- struct{}{}
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	tokens, done := Tokens(3), make(chan []channel.Result, 1)
	go func() { done <- s.Channel.Send(ctx, Notice(), tokens) }()
	<-entered
	cancel()
	results := <-done
	s.Check(t, tokens, results)
	for _, r := range results {
		if r.Outcome != channel.Later || r.Reason != channel.ReasonUnreachable {
			t.Errorf("without an answer the result is %s for %q", r.Outcome, r.Reason)
		}
	}
	s.Server.Fault(nil)
	s.send(t, tokens, channel.Sent, "")
}

func throttled(t *testing.T, s *Subject) {
	for status, reason := range map[int]string{429: "http_429", 503: "http_503"} {
		s.Server.Fault(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "17")
			w.WriteHeader(status)
		})
		for _, r := range s.send(t, Tokens(2), channel.Later, reason) {
			if r.After != 17*time.Second {
				t.Errorf("%d is to be tried again after %s", status, r.After)
			}
		}
	}
}

func strangers(t *testing.T, s *Subject) {
	for name, c := range map[string]struct {
		answer  http.HandlerFunc
		outcome channel.Outcome
		reason  string
	}{
		"a page":         {text(200, "<html>Welcome to the hotel</html>"), channel.Later, channel.ReasonUnreachable},
		"nothing":        {text(200, ""), channel.Later, channel.ReasonUnreachable},
		"an empty set":   {text(200, "{}"), channel.Later, channel.ReasonUnreachable},
		"null":           {text(200, "null"), channel.Later, channel.ReasonUnreachable},
		"half an answer": {text(200, `{"code":"8000`), channel.Later, channel.ReasonUnreachable},
		"a flood":        {text(200, strings.Repeat(" ", 2<<20)+"{}"), channel.Later, channel.ReasonUnreachable},
		"a redirect":     {redirect, channel.Later, channel.ReasonUnreachable},
		"bad gateway":    {text(502, "upstream"), channel.Later, "http_502"},
		"too long":       {text(413, ""), channel.Refused, channel.ReasonTooLong},
		"a teapot":       {text(418, "short and stout"), channel.Refused, channel.ReasonOther},
		"broken":         {text(500, "oops"), channel.Later, "http_500"},
		"out of storage": {text(507, ""), channel.Later, channel.ReasonOther},
		"not here":       {text(404, ""), channel.Denied, "http_404"},
	} {
		t.Run(name, func(t *testing.T) {
			s.Server.Fault(c.answer)
			s.send(t, Tokens(2), c.outcome, c.reason)
		})
	}
}

func redirect(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
}

func text(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

func atOnce(t *testing.T, s *Subject) {
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 3 {
				tokens := Tokens(20)
				results := s.Channel.Send(t.Context(), Notice(), tokens)
				s.Check(t, tokens, results)
				for _, r := range results {
					if r.Outcome != channel.Sent {
						t.Errorf("a result is %s for %q", r.Outcome, r.Reason)
					}
				}
			}
		})
	}
	wg.Wait()
	if n := s.Server.Auths.Load(); n > 1 {
		t.Errorf("eight callers asked for %d access tokens", n)
	}
}

// texts are held to the vendor's limits by its server.
func texts(t *testing.T, s *Subject) {
	for i, piece := range []string{"a", "词", "😀", "e\u0301", "👩‍👩‍👧‍👦", "\"", "\\", "\n", "<", "🇨🇳"} {
		for _, title := range []string{"", "t", strings.Repeat(piece, 3000)} {
			n := Notice()
			n.Title, n.Text = title, "x"+strings.Repeat(piece, 5000)
			tokens := Tokens(1)
			results := s.Channel.Send(t.Context(), n, tokens)
			s.Check(t, tokens, results)
			if results[0].Outcome != channel.Sent {
				t.Errorf("text %d is %s for %q", i, results[0].Outcome, results[0].Reason)
			}
		}
	}
}

// Token is an access token for a server that counts them: each that is given out differs.
func Token(n int64) string { return fmt.Sprintf("accesstoken-%d-abcdefghijklmnopqrstuvwxyz", n) }

// Bench sends batches of a thousand.
func Bench(b *testing.B, s *Subject) {
	n, tokens := Notice(), Tokens(1000)
	b.ReportAllocs()
	for b.Loop() {
		for _, r := range s.Channel.Send(b.Context(), n, tokens) {
			if r.Outcome != channel.Sent {
				b.Fatalf("a result is %s for %q", r.Outcome, r.Reason)
			}
		}
	}
	b.ReportMetric(float64(b.N*len(tokens))/b.Elapsed().Seconds(), "notifications/s")
}

// KeepsSecret fails the test if a configuration that is printed or logged tells its secret.
func KeepsSecret(t *testing.T, config any, secret string) {
	t.Helper()
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("starting", "channel", config)
	slog.New(slog.NewTextHandler(&log, nil)).Info("starting", "channel", config)
	for _, s := range []string{fmt.Sprint(config), fmt.Sprintf("%+v", config), log.String()} {
		if strings.Contains(s, secret) {
			t.Error("a configuration tells its secret")
		}
	}
}
