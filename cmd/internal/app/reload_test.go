package app_test

import (
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/carillon-push/carillon/cmd/internal/app/apptest"
	"github.com/carillon-push/carillon/cmd/internal/config"
	"github.com/carillon-push/carillon/pkg/client"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/usersig"
	"github.com/carillon-push/carillon/pkg/wire"
)

func login(t *testing.T, s *apptest.System, app push.AppID, key, account string) error {
	t.Helper()
	sig, err := usersig.Sign(key, app, account, time.Now(), time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	se, err := s.TryDial(url.Values{"sdkappid": {app.String()}, "identifier": {account}, "usersig": {sig}})
	if err == nil {
		se.Close()
	}
	return err
}

func refusedWith(t *testing.T, what string, err error, code int) {
	t.Helper()
	var r *apptest.Refusal
	var e *client.Error
	switch {
	case errors.As(err, &r) && r.ErrorCode == code:
	case errors.As(err, &e) && e.Code == code:
	default:
		t.Errorf("%s: %v, want code %d", what, err, code)
	}
}

// Apps are added, changed, disabled and removed while the process runs: everywhere at once, and without touching others.
func TestReloadingApps(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	bystander := s.Dial("bystander")
	old := apptest.Config(t).Apps[0]
	second := config.App{SDKAppID: 7, Key: "key of the second app", Admins: []string{"boss"}, CallsPerSecond: 1_000_000}
	reload := func(apps ...config.App) {
		t.Helper()
		if err := s.Reload(t.Context(), apps); err != nil {
			t.Fatal(err)
		}
	}
	rest := &client.REST{URL: s.URL(), App: 7, Admin: "boss", Key: second.Key}
	refusedWith(t, "a call before", rest.Call(t.Context(), "im_open_login_svc/account_import", map[string]any{"UserID": "u"}, nil), 60006)

	reload(old, second)
	if err := rest.Call(t.Context(), "im_open_login_svc/account_import", map[string]any{"UserID": "u"}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := rest.Push(t.Context(), apptest.Text("second", 60, nil)); err != nil {
		t.Fatal(err)
	}
	if err := login(t, s, 7, second.Key, "u"); err != nil {
		t.Fatal(err)
	}

	rotated := second
	rotated.Key, rotated.Keys = "a newer key", []string{second.Key}
	reload(old, rotated)
	for _, key := range []string{second.Key, rotated.Key} {
		if err := login(t, s, 7, key, "u"); err != nil {
			t.Errorf("while two keys are valid: %v", err)
		}
	}
	rotated.Keys = nil
	reload(old, rotated)
	refusedWith(t, "the old key", login(t, s, 7, second.Key, "u"), 70009)

	sig, err := usersig.Sign(rotated.Key, 7, "u", time.Now(), time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	session, err := s.TryDial(url.Values{"sdkappid": {"7"}, "identifier": {"u"}, "usersig": {sig}})
	if err != nil {
		t.Fatal(err)
	}
	rotated.Disabled = true
	reload(old, rotated)
	if c := session.CloseCode(); c != wire.CloseKicked {
		t.Errorf("a session of the disabled app ended with %d", c)
	}
	refusedWith(t, "a login to the disabled app", login(t, s, 7, rotated.Key, "u"), 60016)
	rest = &client.REST{URL: s.URL(), App: 7, Admin: "boss", Key: rotated.Key}
	refusedWith(t, "a call of the disabled app", rest.Call(t.Context(), "im_open_login_svc/account_import", map[string]any{"UserID": "u"}, nil), 60016)

	rotated.Disabled, rotated.PushDisabled = false, true
	reload(old, rotated)
	_, err = rest.Push(t.Context(), apptest.Text("not now", 60, nil))
	refusedWith(t, "a push of an app without pushes", err, 90045)

	reload(old)
	refusedWith(t, "a login to the removed app", login(t, s, 7, rotated.Key, "u"), 60006)
	if err := s.Reload(t.Context(), nil); err == nil {
		t.Error("a configuration without apps was taken over")
	}

	s.Push(apptest.Text("first", 0, nil))
	if text, _ := bystander.Push(); text != "first" {
		t.Errorf("the bystander got %q", text)
	}
}
