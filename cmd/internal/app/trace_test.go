package app_test

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/carillon-push/carillon/cmd/internal/app/apptest"
	"github.com/carillon-push/carillon/pkg/history"
	"github.com/carillon-push/carillon/pkg/push"
)

// A push is traced through the whole service, and both interfaces say the same of each user.
func TestTrace(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, narrow, withNativeKey)
	call := nativeAPI(t, s)
	began := time.Now()
	users := []string{"opened", "acked", "offline", "late", "gone"}
	s.Import(users...)
	for _, u := range []string{"opened", "acked", "offline", "gone"} {
		s.Tag(u, "B")
	}
	s.Call("im_open_login_svc/account_delete", object{"DeleteItem": []any{object{"UserID": "gone"}}}, nil)
	sessions := map[string]*apptest.Session{"opened": s.Dial("opened"), "acked": s.Dial("acked")}
	id := s.Push(apptest.Text("hello", 3600, map[string]any{"TagsOr": []string{"B"}}))
	for _, session := range sessions {
		session.Push()
	}
	s.Tag("late", "B")
	s.Import("new")
	_, seq, err := id.Parse()
	if err != nil {
		t.Fatal(err)
	}
	sessions["acked"].Ack(seq)
	sessions["opened"].Send(fmt.Sprintf(`{"t":"opened","seq":[%d]}`, seq))
	for _, session := range sessions {
		session.Sync()
		session.Close()
	}
	trace := func(user string) (tr history.Trace) {
		t.Helper()
		call("GET", "/v1/pushes/"+string(id)+"/users/"+url.PathEscape(user), nil, &tr)
		return tr
	}
	wants := map[string]history.Outcome{
		"opened": history.Opened, "acked": history.Received, "offline": history.Pending, "late": history.Unmatched,
		"gone": history.Deleted, "new": history.Unregistered, "nobody": history.Unregistered,
	}
	// Receipts come within their interval.
	eventually(t, func() bool {
		return trace("opened").Outcome == history.Opened && trace("acked").Outcome == history.Received
	}, func() string { return "the receipts do not come" })
	for user, want := range wants {
		got := trace(user)
		if got.Outcome != want || got.Fault != "" || got.Why == "" {
			t.Errorf("%s: %+v, want %s", user, got, want)
		}
		var contract struct {
			TaskID        push.TaskID
			UserID        string
			Outcome, Why  string
			Clauses       []struct{ Clause, Holds string }
			InstanceTrace []struct {
				Time          int64
				Event, Detail string
			}
		}
		s.Call("timpush/all_member_push_trace", object{"TaskID": id, "UserID": user}, &contract)
		if contract.TaskID != id || contract.UserID != user || contract.Outcome != string(want) || contract.Why != got.Why ||
			len(contract.Clauses) != len(got.Clauses) || len(contract.InstanceTrace) != len(got.Events) {
			t.Errorf("%s: the contract says %+v, the native interface %+v", user, contract, got)
		}
		for i, e := range contract.InstanceTrace {
			if e.Event != string(got.Events[i].Kind) || e.Detail != got.Events[i].Text || e.Time < began.Add(-time.Second).UnixMilli() {
				t.Errorf("%s: %+v, and %+v", user, e, got.Events[i])
			}
		}
	}
	if late := trace("late"); len(late.Clauses) != 1 || late.Clauses[0].Until == nil || late.Clauses[0].Until.Log <= late.Evaluated || late.Matched == nil || *late.Matched {
		t.Errorf("the change that would have made the difference is not there: %+v", late)
	}

	span := object{"StartTime": began.Unix() - 1, "EndTime": began.Unix() + 3600, "TaskID": []any{id, "none"}}
	var statistics struct {
		Results []struct {
			TaskID                                            push.TaskID
			TotalCount, SentCount, DeliveredCount, ClickCount uint64
			PlatformStatistics                                []struct{ Platform string }
		}
		ErrorList []struct{ TaskID, ErrorInfo string }
	}
	s.Call("timpush/all_member_push_statistics", span, &statistics)
	if r := statistics.Results; len(r) != 1 || r[0].TaskID != id || r[0].TotalCount != 3 || r[0].SentCount != 2 || r[0].DeliveredCount != 2 || r[0].ClickCount != 1 ||
		len(r[0].PlatformStatistics) != 1 || len(statistics.ErrorList) != 1 || statistics.ErrorList[0].TaskID != "none" {
		t.Errorf("%+v", statistics)
	}
	var loss struct {
		Results []struct {
			TotalCount, LossCount uint64
			Reasons               []struct {
				Reason string
				Count  uint64
			}
		}
	}
	s.Call("timpush/all_member_push_loss", span, &loss)
	if r := loss.Results; len(r) != 1 || r[0].TotalCount != 3 || r[0].LossCount != 1 || r[0].Reasons[0].Reason != "Pending" || r[0].Reasons[0].Count != 1 {
		t.Errorf("%+v", loss)
	}

	var again struct {
		history.Again
		Users []struct{ Account string }
	}
	call("GET", "/v1/pushes/"+string(id)+"/replay", nil, &again)
	if again.Again != (history.Again{Then: 3, Now: 4, Added: 1}) {
		t.Errorf("%+v", again)
	}
	s.Call("all_member_push/im_remove_all_tags", object{"To_Account": []string{"acked"}}, nil)
	for change, want := range map[string]string{"added": "late", "removed": "acked"} {
		again.Users = nil
		call("GET", "/v1/pushes/"+string(id)+"/replay?change="+change, nil, &again)
		if len(again.Users) != 1 || again.Users[0].Account != want {
			t.Errorf("%s: %+v", change, again.Users)
		}
	}
}
