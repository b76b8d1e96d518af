package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillon-push/carillon/cmd/internal/app"
	"github.com/carillon-push/carillon/cmd/internal/app/apptest"
	"github.com/carillon-push/carillon/cmd/internal/config"
	"github.com/carillon-push/carillon/deliver"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/wire"
)

// impatient calls stuck what has not moved for a moment.
func impatient(c *config.Config) { c.Health.StuckAfter = 200 * time.Millisecond }

// probe asks a process, and gives the status and the text.
func probe(t *testing.T, s *apptest.System, path string) (int, string) {
	t.Helper()
	res, err := http.Get(s.AdminURL() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// becomes waits until a path is answered with a status and a text that has these words.
func becomes(t *testing.T, s *apptest.System, path string, status int, words ...string) {
	t.Helper()
	var got int
	var text string
	eventually(t, func() bool {
		got, text = probe(t, s, path)
		for _, w := range words {
			if !strings.Contains(text, w) {
				return false
			}
		}
		return got == status
	}, func() string { return fmt.Sprintf("%s answers %d: %s; want %d and %q", path, got, text, status, words) })
}

// stands says how a check stands on the page.
func stands(t *testing.T, s *apptest.System, name string) (status, why string) {
	t.Helper()
	_, text := probe(t, s, "/health")
	var page struct {
		Checks []struct {
			Name, Status, Error string
			Since               time.Time
		}
	}
	if err := json.Unmarshal([]byte(text), &page); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	for _, c := range page.Checks {
		if c.Since.IsZero() {
			t.Errorf("%s does not say since when", c.Name)
		}
		if c.Name == name {
			return c.Status, c.Error
		}
	}
	return "", ""
}

// block is a fold whose handler takes one message and does not return until it is released.
func block(t *testing.T, s *apptest.System, name, stream string) (release func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	entered, released := make(chan struct{}, 1), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = s.Broker().Fold(ctx, broker.FoldConfig{Name: name, Stream: stream, Handle: func(*broker.Message) error {
			select { // nobody waits for the later ones
			case entered <- struct{}{}:
			default:
			}
			<-released
			return nil
		}})
	})
	release = sync.OnceFunc(func() { close(released); cancel(); wg.Wait() })
	t.Cleanup(release)
	<-entered
	return release
}

// An idle service is well, and says so however often it is asked. A gateway whose fold of live pushes is stuck must get no
// more users; when the fold goes on it gets them again.
func TestAGatewayWhoseFoldIsStuck(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, impatient)
	s.Import("u")
	s.Push(apptest.Text("hello", 3600, nil))
	becomes(t, s, "/health", http.StatusOK, `"status": "ok"`)
	eventually(t, func() bool { // the push has its audience
		last, err := s.Broker().LastSeq(t.Context(), wire.AudiencesStream)
		return err == nil && last > 0
	}, func() string { return "the push is not evaluated" })
	release := block(t, s, deliver.DispatchFold, wire.AudiencesStream)
	becomes(t, s, "/readyz", http.StatusServiceUnavailable, "dispatch:", "deliver_audiences of AUDIENCES has not moved for")
	becomes(t, s, "/health", http.StatusServiceUnavailable, `"status": "failing"`)
	release()
	becomes(t, s, "/readyz", http.StatusOK, "ready")
	becomes(t, s, "/health", http.StatusOK, `"status": "ok"`)
}

// One shard that is stuck is told, but takes no process out of a balancer that serves the others; one to which nobody is
// sent is not ready.
func TestAShardThatIsStuck(t *testing.T) {
	t.Parallel()
	all := apptest.Start(t, impatient)
	all.Import("u")
	all.Push(apptest.Text("hello", 3600, nil))
	block(t, all, "matcher_users", wire.UsersStream(apptest.AppID, 0))
	becomes(t, all, "/health", http.StatusServiceUnavailable, `"status": "degraded"`, "matcher_users of USERS_1400000001_0 has not moved")
	if status, text := probe(t, all, "/readyz"); status != http.StatusOK {
		t.Errorf("the whole service is taken out for a shard: %s", text)
	}
	if _, text := probe(t, all, "/metrics"); !strings.Contains(text, `carillon_health{check="folds"} 0`) || !strings.Contains(text, `carillon_health{check="broker"} 1`) {
		t.Error("the metrics do not say so")
	}

	alone := apptest.StartRoles(t, onNATS(t, apptest.StartNATS(t)), app.Matcher)
	if _, _, err := alone.Broker().Publish(t.Context(), broker.Message{Subject: wire.AudienceSubject(1, 0, 1)}); err != nil {
		t.Fatal(err)
	}
	block(t, alone, "matcher_users", wire.AudiencesStream)
	becomes(t, alone, "/readyz", http.StatusServiceUnavailable, "folds:", "has not moved")
}

// onNATS is the configuration of a process of a fleet.
func onNATS(t *testing.T, natsURL string) *config.Config {
	cfg := apptest.Config(t)
	cfg.NATS.URL = natsURL
	impatient(cfg)
	return cfg
}

// A process that has lost the broker says so.
func TestTheBrokerIsGone(t *testing.T) {
	t.Parallel()
	w, through := newWires(t, apptest.StartNATS(t))
	s := apptest.StartRoles(t, onNATS(t, through), app.Ingest)
	becomes(t, s, "/readyz", http.StatusOK, "ready")
	w.cut()
	becomes(t, s, "/readyz", http.StatusServiceUnavailable, "broker: the connection to the broker at", "RECONNECTING")
	if status, why := stands(t, s, "broker"); status != "failing" || why == "" {
		t.Errorf("the page says %s %q of it", status, why)
	}
}

// What the broker has no room for cannot be accepted; REST says so until there is room again, without being called.
func TestTheDiskIsFull(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, impatient, func(c *config.Config) { c.NATS.StoreLimit = 8 << 20 })
	becomes(t, s, "/readyz", http.StatusOK, "ready")
	big, n := make([]byte, 500<<10), uint64(0)
	for err := error(nil); err == nil && n < 100; n++ {
		_, _, err = s.Broker().Publish(t.Context(), broker.Message{Subject: wire.ReceiptSubject(1, 0, 1), Data: big})
	}
	becomes(t, s, "/readyz", http.StatusServiceUnavailable, "writes:", "no room")
	for seq := range n - 1 {
		if err := s.Broker().Delete(t.Context(), wire.ReceiptsStream, seq+1); err != nil {
			t.Fatal(err)
		}
	}
	becomes(t, s, "/readyz", http.StatusOK, "ready")
}

// A shard that nobody holds is told by every process. A gateway that can log nobody in for it must get no more users, and
// finds out by itself when it can again.
func TestNobodyHoldsAShard(t *testing.T) {
	t.Parallel()
	nats := apptest.StartNATS(t)
	gateway := apptest.StartRoles(t, onNATS(t, nats), app.Ingest, app.Deliver)
	gateway.Import("u")
	becomes(t, gateway, "/health", http.StatusServiceUnavailable, `"status": "degraded"`, "shard 0 of app 1400000001 has no matcher", "has no offline")
	if status, text := probe(t, gateway, "/readyz"); status != http.StatusOK {
		t.Errorf("nobody has tried to log in, and it is taken out: %s", text)
	}
	q := url.Values{"sdkappid": {apptest.AppID.String()}, "identifier": {"u"}, "usersig": {apptest.Sig(t, "u")}}
	if session, err := gateway.TryDial(q); err == nil {
		session.Close()
		t.Fatal("a user is logged in without an offline worker")
	}
	becomes(t, gateway, "/readyz", http.StatusServiceUnavailable, "logins: no login has succeeded since", "no offline worker answers")
	worker := apptest.StartRoles(t, onNATS(t, nats), app.Offline, app.Matcher)
	becomes(t, gateway, "/readyz", http.StatusOK, "ready")
	becomes(t, gateway, "/health", http.StatusOK, `"status": "ok"`)
	gateway.Dial("u").Close()
	becomes(t, worker, "/health", http.StatusOK, `"status": "ok"`)
}
