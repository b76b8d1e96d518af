package app_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/carillon-push/carillon/cmd/internal/app/apptest"
	"github.com/carillon-push/carillon/pkg/history"
	"github.com/carillon-push/carillon/pkg/push"
)

// Who missed a push gets it again, once; who had it, was deleted or is somebody else by now does not.
func TestAPushIsSentAgainToWhoMissedIt(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, narrow, withNativeKey)
	call := nativeAPI(t, s)
	var others []string
	for i := range 20 { // some shards full
		others = append(others, fmt.Sprint("other", i))
	}
	s.Import(append([]string{"acked", "opened", "unacked", "away", "gone", "back", "stranger"}, others...)...)
	for _, u := range []string{"acked", "opened", "unacked", "away", "gone", "back", "other19"} {
		s.Tag(u, "t")
	}
	had := map[string]*apptest.Session{}
	for _, u := range []string{"acked", "opened", "unacked"} {
		had[u] = s.Dial(u)
	}
	id := s.Push(apptest.Text("for whoever is here", 0, map[string]any{"TagsOr": []string{"t"}}))
	_, seq, err := id.Parse()
	if err != nil {
		t.Fatal(err)
	}
	for _, session := range had {
		session.Push()
	}
	had["acked"].Ack(seq)
	had["opened"].Send(fmt.Sprintf(`{"t":"opened","seq":[%d]}`, seq))
	for _, session := range had { // not awaited to be published: that is for the call
		session.Sync()
	}
	for _, session := range had {
		session.Close()
	}
	s.Call("im_open_login_svc/account_delete", object{"DeleteItem": []any{object{"UserID": "gone"}, object{"UserID": "back"}}}, nil)
	s.Import("back")
	s.Tag("back", "t")
	s.Tag("stranger", "t")

	path := "/v1/pushes/" + string(id) + "/replay"
	var count history.Missed
	call("POST", path, object{"dryRun": true}, &count)
	if want := (history.Missed{Audience: 7, Received: 2, Deleted: 2, Missed: 3}); count != want {
		t.Errorf("%+v, want %+v", count, want)
	}
	var again struct {
		ID  push.TaskID
		Seq push.Seq
	}
	call("POST", path, object{"only": "missed", "lifetime": 3600}, &again)
	shown := func(id push.TaskID) (v struct {
		Evaluated     bool
		Matched       uint64
		Outcome       history.Tally
		Again, Replay push.TaskID
	}) {
		t.Helper()
		call("GET", "/v1/pushes/"+string(id), nil, &v)
		return v
	}
	eventually(t, func() bool { return shown(again.ID).Evaluated }, func() string { return "the replay is not evaluated" })
	if got := shown(again.ID); got.Matched != 3 || got.Again != id || shown(id).Replay != again.ID || got.Outcome.Pending != 3 {
		t.Errorf("%+v", got)
	}

	after := s.Push(apptest.Text("after", 3600, nil)) // behind whatever a session gets
	for _, u := range []string{"unacked", "away", "other19"} {
		session := s.Dial(u)
		if text, at := session.Push(); text != "for whoever is here" || at != again.Seq {
			t.Errorf("%s got %q with %d, want the replay", u, text, at)
		}
		if text, _ := session.Push(); text != "after" {
			t.Errorf("%s got %q", u, text) // and not the replay once more
		}
		if u == "away" {
			session.Ack(again.Seq)
			session.Sync()
		}
	}
	for _, u := range []string{"acked", "opened", "back", "stranger", "other0"} {
		session := s.Dial(u)
		if text, _ := session.Push(); text != "after" {
			t.Errorf("%s got %q", u, text)
		}
	}

	trace := func(user string) (tr history.Trace) {
		t.Helper()
		call("GET", "/v1/pushes/"+string(again.ID)+"/users/"+url.PathEscape(user), nil, &tr)
		return tr
	}
	eventually(t, func() bool {
		return trace("away").Outcome == history.Received && trace("unacked").Outcome == history.Sent
	},
		func() string { return "the receipts do not come" })
	for user, want := range map[string]string{
		"acked": "replay of " + string(id) + ": had received it", "opened": "replay of " + string(id) + ": had received it",
		"back": "replay of " + string(id) + ": it was not for the user", "stranger": "replay of " + string(id) + ": it was not for the user",
		"gone": "the account was deleted", "away": "the user's client acknowledged", "unacked": "the push was written",
	} {
		if got := trace(user); !strings.HasPrefix(got.Why, want) || got.Fault != "" || got.Again != id {
			t.Errorf("%s: %+v, want %q", user, got, want)
		}
		var contract struct{ Why string }
		s.Call("timpush/all_member_push_trace", object{"TaskID": again.ID, "UserID": user}, &contract)
		if contract.Why != trace(user).Why {
			t.Errorf("%s: the contract says %q", user, contract.Why)
		}
	}
	var got counts
	call("DELETE", "/v1/pushes/"+string(again.ID), nil, &got)
	if want := (counts{"revoked", 3, 1, 0, 2, 0}); got != want {
		t.Errorf("revoked: %+v, want %+v", got, want)
	}
	if v := shown(after); v.Matched != 26 {
		t.Errorf("a push to all is for %d", v.Matched)
	}
}
