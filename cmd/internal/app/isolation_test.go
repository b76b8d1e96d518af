package app_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/carillon-push/carillon/cmd/internal/app/apptest"
	"github.com/carillon-push/carillon/cmd/internal/config"
	"github.com/carillon-push/carillon/pkg/client"
	"github.com/carillon-push/carillon/pkg/usersig"
)

// Two apps with users, tags and attributes of the same names see nothing of each other, and one at its limits does not
// limit the other.
func TestAppsSeeNothingOfEachOther(t *testing.T) {
	t.Parallel()
	other := config.App{SDKAppID: 7, Key: "key of the other app", Admins: []string{"boss"}, PushPerDay: 1, CallsPerSecond: 1_000_000}
	s := apptest.Start(t, func(c *config.Config) { c.Apps = append(c.Apps, other) })
	theirs := &client.REST{URL: s.URL(), App: other.SDKAppID, Admin: "boss", Key: other.Key}
	both := func(command string, body any) {
		t.Helper()
		s.Call(command, body, nil)
		if err := theirs.Call(t.Context(), command, body, nil); err != nil {
			t.Fatal(err)
		}
	}
	both("im_open_login_svc/account_import", map[string]any{"UserID": "u"})
	both("all_member_push/im_add_tag", map[string]any{"UserTags": []any{map[string]any{"To_Account": "u", "Tags": []string{"t"}}}})

	ours := s.Dial("u")
	sig, err := usersig.Sign(other.Key, other.SDKAppID, "u", time.Now(), time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	query := url.Values{"sdkappid": {"7"}, "identifier": {"u"}, "usersig": {sig}}
	their, err := s.TryDial(query)
	if err != nil {
		t.Fatal(err)
	}
	toTag := map[string]any{"TagsOr": []string{"t"}}
	if _, err := theirs.Push(t.Context(), apptest.Text("theirs", 60, toTag)); err != nil {
		t.Fatal(err)
	}
	_, err = theirs.Push(t.Context(), apptest.Text("one too many", 60, toTag))
	refusedWith(t, "the other app's second push of the day", err, 90047)
	s.Push(apptest.Text("ours", 60, toTag))
	s.Push(apptest.Text("ours again", 60, nil))
	for _, want := range []string{"ours", "ours again"} {
		if text, _ := ours.Push(); text != want {
			t.Errorf("our user got %q, want %q", text, want)
		}
	}
	if text, _ := their.Push(); text != "theirs" {
		t.Errorf("their user got %q", text)
	}

	// Ending, deleting and asking for one app's user leaves the other's alone.
	if err := theirs.Call(t.Context(), "im_open_login_svc/account_delete", map[string]any{"DeleteItem": []any{map[string]any{"UserID": "u"}}}, nil); err != nil {
		t.Fatal(err)
	}
	var status struct {
		QueryResult []struct{ To_Account, Status string } //nolint:revive // the contract's spelling
	}
	s.Call("openim/query_online_status", map[string]any{"To_Account": []string{"u"}}, &status)
	if len(status.QueryResult) != 1 || status.QueryResult[0].Status != "Online" {
		t.Errorf("our user's status after theirs was deleted: %+v", status)
	}
	refusedWith(t, "our key in the other app",
		(&client.REST{URL: s.URL(), App: other.SDKAppID, Admin: "boss", Key: apptest.Key}).Call(t.Context(), "openim/query_online_status", map[string]any{"To_Account": []string{"u"}}, nil), 70009)
	if again := s.Dial("u"); again.Hello.Pending != 2 {
		t.Errorf("our user has %d pending, want our two", again.Hello.Pending)
	}
}
