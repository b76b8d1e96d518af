package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/carillon-push/carillon/cmd/internal/app/apptest"
	"github.com/carillon-push/carillon/cmd/internal/config"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/tracing/tracingtest"
)

// One push is one tree of spans below its caller's, with a span of each role for each shard, although the broker copies it
// into each shard's log.
func TestOnePushIsOneTree(t *testing.T) {
	t.Parallel()
	receiver := tracingtest.Start(t)
	s := apptest.Start(t, func(c *config.Config) {
		c.Sharding.Bits = 4
		c.Tracing.Endpoint, c.Tracing.Sample = receiver.URL, 0 // the caller decides
	})
	const users, shards = 20, 2 // ordinals begin with 1
	for i := range users {
		s.Import(fmt.Sprint("u", i))
	}
	first, last := s.Dial("u0"), s.Dial(fmt.Sprint("u", users-1))

	const trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	id := pushWith(t, s, "00-"+trace+"-"+span+"-01")
	_, seq, err := id.Parse()
	if err != nil {
		t.Fatal(err)
	}
	for _, session := range []*apptest.Session{first, last} {
		session.Push()
		session.Ack(seq)
		session.Sync()
	}
	s.Push(apptest.Text("not traced", 3600, nil)) // of a caller that says nothing, with a share of 0

	want := map[string]int{
		"POST im_push": 1, "publish PUSHES": 1, "evaluate USERS": shards, "publish AUDIENCES": shards, "dispatch AUDIENCES": shards,
		"keep AUDIENCES": shards, "publish RECEIPTS": shards,
	}
	parent := map[string]string{
		"publish PUSHES": "POST im_push", "evaluate USERS": "publish PUSHES", "publish AUDIENCES": "evaluate USERS",
		"dispatch AUDIENCES": "publish AUDIENCES", "keep AUDIENCES": "publish AUDIENCES", "publish RECEIPTS": "dispatch AUDIENCES",
	}
	total := 0
	for _, n := range want {
		total += n
	}
	late := time.After(apptest.Wait)
	var spans []tracingtest.Span
	for {
		var more <-chan struct{}
		if spans, _, more = receiver.Spans(); len(spans) >= total {
			break
		}
		select { // more spans wake it, the time ends it
		case <-more:
		case <-late:
			t.Fatalf("%d of %d spans have come: %+v", len(spans), total, spans)
		}
	}
	s.Stop() // and what is still to come with it
	spans, _, _ = receiver.Spans()

	byID, got := map[string]tracingtest.Span{}, map[string]int{}
	for _, s := range spans {
		byID[s.ID] = s
		got[s.Name]++
		if s.Trace != trace || s.Failed {
			t.Errorf("%s is of trace %s, failed %t", s.Name, s.Trace, s.Failed)
		}
		if task, ok := s.Attributes["carillon.push.task_id"]; ok && task != string(id) {
			t.Errorf("%s is of %v", s.Name, task)
		}
		if n, ok := s.Attributes["carillon.sessions"]; ok && n != int64(1) {
			t.Errorf("%s wrote to %v sessions", s.Name, n)
		}
	}
	for name, n := range want {
		if got[name] != n {
			t.Errorf("%d spans %s, want %d", got[name], name, n)
		}
	}
	if len(spans) != total {
		t.Errorf("%d spans, want %d: %v", len(spans), total, got)
	}
	for _, s := range spans {
		if s.Name == "POST im_push" {
			if s.Parent != span {
				t.Errorf("%s is below %s, not the caller's", s.Name, s.Parent)
			}
		} else if byID[s.Parent].Name != parent[s.Name] {
			t.Errorf("%s is within %q, not %q", s.Name, byID[s.Parent].Name, parent[s.Name])
		}
	}
}

// pushWith posts a push to everybody with a traceparent.
func pushWith(t *testing.T, s *apptest.System, traceparent string) push.TaskID {
	t.Helper()
	body, err := json.Marshal(apptest.Text("hello", 3600, nil))
	if err != nil {
		t.Fatal(err)
	}
	q := url.Values{
		"sdkappid": {apptest.AppID.String()}, "identifier": {apptest.Admin}, "usersig": {apptest.Sig(t, apptest.Admin)},
		"random": {"1"}, "contenttype": {"json"},
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL()+"/v4/all_member_push/im_push?"+q.Encode(), bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("traceparent", traceparent)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct {
		ErrorCode int
		ErrorInfo string
		TaskId    push.TaskID
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || answer.ErrorCode != 0 {
		t.Fatalf("%+v, %v", answer, err)
	}
	return answer.TaskId
}
