package app_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillon-push/carillon/cmd/internal/app"
	"github.com/carillon-push/carillon/cmd/internal/app/apptest"
	"github.com/carillon-push/carillon/cmd/internal/config"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
)

// lines is a log that a test reads while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) has(words string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), words)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// of is a configuration of roles in a process of their own, beside the servers of a broker.
func of(t *testing.T, servers *brokertest.Servers) *config.Config {
	t.Helper()
	cfg := apptest.Config(t)
	cfg.NATS.URL, cfg.NATS.Replicas = servers.URL(0), 3
	cfg.Stop.Timeout = time.Second
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// A process that is told to stop while the broker has no quorum ends, and says what it gave up. What was accepted is there
// when the quorum is back, for who was not there. Whether it comes again to who has acknowledged it is open: what nobody
// confirmed may have been written all the same.
func TestAStopWithoutAQuorumEnds(t *testing.T) {
	t.Parallel()
	servers := brokertest.Cluster(t)
	cfg := of(t, servers)
	cfg.Receipts.Interval = time.Minute // the stop has to write them
	log := &lines{}
	a, err := app.New(t.Context(), cfg, app.Roles(), slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	runs, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(runs) }()
	defer stop()
	ready, cancel := context.WithTimeout(t.Context(), apptest.Wait)
	defer cancel()
	if err := a.AwaitReady(ready); err != nil {
		t.Fatal(err)
	}
	s := apptest.On(t, a)
	s.Import("u", "late")
	u := s.Dial("u")
	s.Push(apptest.Text("kept", 600, nil))
	text, seq := u.Push()
	if text != "kept" {
		t.Fatalf("got %q", text)
	}
	u.Ack(seq)
	u.Sync()

	servers.Stop(1)
	servers.Stop(2)
	stop()
	select { // the end, or the time
	case err := <-done:
		if err != nil {
			t.Errorf("it ended with: %v", err)
		}
	case <-time.After(apptest.Wait):
		t.Fatalf("it does not end:\n%v", log)
	}
	for _, words := range []string{"given up: what these roles still wait for", "given up: receipts that the broker did not take", "within=1s"} {
		if !log.has(words) {
			t.Errorf("it has not said %q:\n%v", words, log)
		}
	}

	servers.Start(1, 2)
	again := apptest.StartRoles(t, of(t, servers), app.Roles()...)
	q := url.Values{"sdkappid": {apptest.AppID.String()}, "identifier": {"late"}, "usersig": {apptest.Sig(t, "late")}}
	var back *apptest.Session
	eventually(t, func() bool { back, err = again.TryDial(q); return err == nil }, func() string { return err.Error() })
	if text, at := back.Push(); text != "kept" || at != seq {
		t.Errorf("after the restart came %q, %d", text, at)
	}
}

// A process that starts while the broker has no leader lives, is not ready and says why, ends at once when it is told to, and
// starts when there is a leader.
func TestAStartWithoutAQuorumWaits(t *testing.T) {
	t.Parallel()
	servers := brokertest.Cluster(t)
	servers.Stop(1)
	servers.Stop(2)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	cfg := of(t, servers)
	cfg.HTTP.Listen = l.Addr().String()
	ask := func(path string) (int, string) {
		res, err := http.Get("http://" + cfg.HTTP.Listen + path)
		if err != nil {
			return 0, err.Error()
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		return res.StatusCode, string(text) + errorText(err)
	}
	begin := func(ctx context.Context, log io.Writer) chan error {
		t.Helper()
		done := make(chan error, 1)
		go func() {
			a, err := app.New(ctx, cfg, []app.Role{app.Ingest}, slog.New(slog.NewTextHandler(log, nil)))
			if err == nil {
				a.Close()
			}
			done <- err
		}()
		for path, want := range map[string]struct {
			status int
			words  string
		}{
			"/healthz": {200, "ok"}, "/readyz": {503, "waits for the broker"}, "/health": {503, `"status": "failing"`},
			"/metrics": {200, "carillon_http"}, "/v4/all_member_push/im_push": {503, "starting"},
		} {
			var status int
			var text string
			eventually(t, func() bool {
				status, text = ask(path)
				return status == want.status && strings.Contains(text, want.words)
			},
				func() string { return text })
		}
		return done
	}

	log := &lines{}
	ctx, cancel := context.WithCancel(t.Context())
	done := begin(ctx, log)
	eventually(t, func() bool { return log.has("waiting for the broker") }, log.String)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("it was told to end and ended with: %v", err)
	}

	done = begin(t.Context(), log)
	servers.Start(1, 2)
	select { // the start, or the time
	case err := <-done:
		if err != nil {
			t.Errorf("there is a leader, and it did not start: %v", err)
		}
	case <-time.After(apptest.Wait):
		t.Fatalf("there is a leader, and it does not start:\n%v", log)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
