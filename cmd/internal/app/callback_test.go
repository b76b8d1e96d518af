package app_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carillon-push/carillon/cmd/internal/app/apptest"
	"github.com/carillon-push/carillon/cmd/internal/config"
	"github.com/carillon-push/carillon/deliver/callback"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// told is one event of a callback.
type told struct {
	ID, Event, Account, Task, Platform, Reason string
	At                                         int64
}

// operator is a server that a callback tells, and the configuration of that.
func operator(t testing.TB) (<-chan told, config.Callback) {
	events := make(chan told, 1000)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			App    int64
			Events []told
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.App != int64(apptest.AppID) || !strings.HasPrefix(r.Header.Get("webhook-signature"), "v1,") {
			t.Errorf("a request with %q for app %d: %v", r.Header, body.App, err)
		}
		for _, e := range body.Events {
			events <- e
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("whsec_"+base64.StdEncoding.EncodeToString(make([]byte, 32))), 0o600); err != nil {
		t.Fatal(err)
	}
	return events, config.Callback{URL: server.URL, SecretFile: file}
}

// until takes events up to one of a kind, and gives their kinds.
func until(t testing.TB, events <-chan told, kind string) (all []told) {
	t.Helper()
	for {
		select {
		case e := <-events:
			if all = append(all, e); e.Event == kind {
				return all
			}
		case <-time.After(apptest.Wait):
			t.Fatalf("%s was not told, after %+v", kind, all)
		}
	}
}

// A callback tells of a login, a push that is sent, received and opened, and a logout.
func TestCallback(t *testing.T) {
	t.Parallel()
	events, to := operator(t)
	s := apptest.Start(t, func(c *config.Config) { c.Apps[0].Callback = to })
	phone := s.Dial("u")
	if all := until(t, events, callback.Login); len(all) != 1 || all[0].Account != "u" || all[0].Platform != "Web" {
		t.Errorf("told %+v", all)
	}
	task := s.Push(apptest.Text("hello", 60, nil))
	_, seq := phone.Push()
	all := until(t, events, callback.Sent)
	phone.Ack(seq)
	all = append(all, until(t, events, callback.Received)...)
	phone.Send(string(wire.EncodeJSON(wire.ClientFrame{Type: wire.FrameOpened, Seqs: []push.Seq{seq}})))
	all = append(all, until(t, events, callback.Opened)...)
	phone.Send(`{"t":"logout"}`)
	all = append(all, until(t, events, callback.Logout)...)
	var kinds []string
	for _, e := range all {
		kinds = append(kinds, e.Event)
		of := e.Task == string(task)
		if e.Account != "u" || e.ID == "" || time.Since(time.UnixMilli(e.At)).Abs() > time.Minute || of != (e.Event != callback.Logout) {
			t.Errorf("%+v", e)
		}
	}
	if want := []string{callback.Sent, callback.Received, callback.Opened, callback.Logout}; !slices.Equal(kinds, want) {
		t.Errorf("told %q, want %q", kinds, want)
	}
}

// A callback comes and goes with the configuration, while the process runs.
func TestCallbackIsReloaded(t *testing.T) {
	t.Parallel()
	events, to := operator(t)
	to.Events = []string{callback.Login}
	cfg := apptest.Config(t)
	s := apptest.Start(t, func(c *config.Config) { *c = *cfg })
	s.Dial("u").Close()
	apps := slices.Clone(cfg.Apps)
	apps[0].Callback = to
	if err := s.Reload(t.Context(), apps); err != nil {
		t.Fatal(err)
	}
	ready, cancel := context.WithTimeout(t.Context(), apptest.Wait)
	defer cancel()
	if err := s.AwaitReady(ready); err != nil {
		t.Fatal(err)
	}
	s.Dial("u").Close()
	if all := until(t, events, callback.Login); len(all) != 1 {
		t.Errorf("told %+v", all)
	}
	apps[0].Callback.SecretFile = "nowhere"
	if err := s.Reload(t.Context(), apps); err == nil {
		t.Error("a secret that is not there is taken")
	}
}
