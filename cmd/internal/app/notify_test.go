package app_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/carillon-push/carillon/cmd/internal/app"
	"github.com/carillon-push/carillon/cmd/internal/app/apptest"
	"github.com/carillon-push/carillon/cmd/internal/config"
	"github.com/carillon-push/carillon/pkg/directory"
	"github.com/carillon-push/carillon/pkg/push"
)

// notified is what the operator's service hears of phones.
type notified struct {
	Notice struct {
		Task  push.TaskID
		Seq   push.Seq
		Title string
		Text  string
	}
	Tokens []string
}

// phones is an operator's service for the webhook channel, which takes everything and hands it on.
func phones(t *testing.T) (url string, heard <-chan notified) {
	ch := make(chan notified, 100)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var n notified
		raw, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(raw, &n)
		}
		if err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusNoContent)
		ch <- n
	}))
	t.Cleanup(s.Close)
	return s.URL, ch
}

// hooked configures the webhook channel.
func hooked(t *testing.T, url string) func(*config.Config) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("whsec_"+base64.StdEncoding.EncodeToString(make([]byte, 32))), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(c *config.Config) {
		c.Notifications.Grace = 300 * time.Millisecond
		c.Apps[0].Channels = map[string]map[string]any{"webhook": {"url": url, "secret_file": secret}}
	}
}

// awaitPhones waits until an account has so many devices: sessions register them beside what they do.
func awaitPhones(t *testing.T, s *apptest.System, account string, want int) {
	t.Helper()
	dir := directory.New(s.App.Broker())
	for {
		users, err := dir.Users(t.Context(), apptest.AppID, account)
		if err != nil {
			t.Fatal(err)
		}
		o := users[account].Ordinal
		lists, err := dir.Devices(t.Context(), apptest.AppID, o)
		if err != nil {
			t.Fatal(err)
		}
		if len(lists[o]) == want {
			return
		}
	}
}

// Who is offline and has a phone hears of a push there, once; who acknowledges it in time, has no phone, or logged out,
// does not. The push itself waits for their logins all the same.
func TestPhonesAreNotified(t *testing.T) {
	t.Parallel()
	url, heard := phones(t)
	s := apptest.Start(t, narrow, hooked(t, url))
	s.Import("asleep", "awake", "phoneless", "left", "stranger")
	for _, u := range []string{"asleep", "awake", "phoneless", "left"} {
		s.Tag(u, "t")
	}
	session := map[string]*apptest.Session{}
	for _, u := range []string{"asleep", "awake", "left", "stranger"} {
		session[u] = s.Dial(u)
		session[u].Send(`{"t":"device","channel":"webhook","token":"phone of ` + u + `"}`)
		awaitPhones(t, s, u, 1)
	}
	session["left"].Send(`{"t":"logout"}`)
	session["left"].CloseCode()
	session["asleep"].Close()
	awaitPhones(t, s, "left", 0)

	id := s.Push(map[string]any{
		"MsgRandom": 1, "MsgLifeTime": 3600, "Condition": map[string]any{"TagsOr": []string{"t"}},
		"MsgBody":         []any{map[string]any{"MsgType": "TIMTextElem", "MsgContent": map[string]any{"Text": "wake up"}}},
		"OfflinePushInfo": map[string]any{"Title": "Carillon", "Desc": "a word"},
	})
	_, seq := session["awake"].Push()
	session["awake"].Ack(seq)
	n := <-heard
	if n.Notice.Task != id || n.Notice.Seq != seq || n.Notice.Title != "Carillon" || n.Notice.Text != "a word" || !slices.Equal(n.Tokens, []string{"phone of asleep"}) {
		t.Errorf("phones heard %+v", n)
	}
	// One that must not be shown, and one for who is online only, go to nobody's phone; the next is behind them.
	silent := apptest.Text("silent", 3600, nil)
	silent["OfflinePushInfo"] = map[string]any{"PushFlag": 1}
	s.Push(silent)
	s.Push(apptest.Text("now or never", 0, nil))
	last := s.Push(apptest.Text("last", 3600, map[string]any{"TagsOr": []string{"t"}}))
	for {
		n := <-heard
		if n.Notice.Task != last {
			t.Fatalf("phones heard of %s: %+v", n.Notice.Task, n)
		}
		if slices.Contains(n.Tokens, "phone of asleep") {
			break
		}
	}
	back := s.Dial("asleep")
	for _, want := range []string{"wake up", "silent", "last"} {
		if got, _ := back.Push(); got != want {
			t.Errorf("the login got %q, want %q", got, want)
		}
	}
}

// Channels are taken over by a reload, and one that cannot be opened leaves those that there are.
func TestChannelsAreReloaded(t *testing.T) {
	t.Parallel()
	url, heard := phones(t)
	var apps []config.App
	s := apptest.Start(t, narrow, func(c *config.Config) {
		hooked(t, url)(c)
		apps = slices.Clone(c.Apps)
		c.Apps[0].Channels = nil
	})
	if err := s.Reload(t.Context(), apps); err != nil {
		t.Fatal(err)
	}
	wrong := slices.Clone(apps)
	wrong[0].Channels = map[string]map[string]any{"webhook": {"url": url, "secret_file": "/none"}}
	if err := s.Reload(t.Context(), wrong); err == nil {
		t.Error("a channel without its secret was taken over")
	}
	s.Import("u")
	phone := s.Dial("u")
	phone.Send(`{"t":"device","channel":"webhook","token":"u's"}`)
	awaitPhones(t, s, "u", 1)
	phone.Close()
	if err := s.AwaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	id := s.Push(apptest.Text("x", 3600, nil))
	if n := <-heard; n.Notice.Task != id || !slices.Equal(n.Tokens, []string{"u's"}) {
		t.Errorf("phones heard %+v", n)
	}
}

// A channel whose credentials cannot be read does not let the role start.
func TestChannelWithoutItsSecretDoesNotStart(t *testing.T) {
	t.Parallel()
	cfg := apptest.Config(t)
	cfg.Apps[0].Channels = map[string]map[string]any{"webhook": {"url": "https://example.com", "secret_file": "/none"}}
	if a, err := app.New(t.Context(), cfg, app.Roles(), slog.New(slog.DiscardHandler)); err == nil {
		a.Close()
		t.Error("it starts")
	}
}
