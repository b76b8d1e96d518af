package client_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/carillon-push/carillon/pkg/client"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/usersig"
)

const key = "a key for tests only"

// operator is a REST whose calls go to a handler, once their signature has been verified.
func operator(t *testing.T, h http.HandlerFunc) *client.REST {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if _, err := usersig.Verify(q.Get("usersig"), []string{key}, 7, "boss", time.Now()); err != nil || q.Get("sdkappid") != "7" || q.Get("identifier") != "boss" {
			t.Errorf("called with %v: %v", q, err)
		}
		h(w, r)
	}))
	t.Cleanup(srv.Close)
	return &client.REST{URL: srv.URL + "/", App: 7, Admin: "boss", Key: key, HTTP: srv.Client()}
}

// answer is a handler that gives a status and a body.
func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func TestPushPostsAMessage(t *testing.T) {
	t.Parallel()
	var body map[string]any
	c := operator(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != "/v4/all_member_push/im_push" || r.URL.Query().Get("contenttype") != "json" {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		answer(200, `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"TaskId":"7-42"}`)(w, r)
	})
	m := client.NewMessage(client.Text("hello"))
	m.LifeTime, m.Condition = 3600, &client.Condition{TagsOr: []string{"news"}}
	id, err := c.Push(t.Context(), m)
	if err != nil || id != "7-42" {
		t.Fatalf("%q, %v", id, err)
	}
	if n, ok := body["MsgRandom"].(float64); !ok || uint32(n) != m.Random {
		t.Errorf("MsgRandom is %v, want %d", body["MsgRandom"], m.Random)
	}
	delete(body, "MsgRandom")
	got, err := json.Marshal(body)
	const want = `{"Condition":{"TagsOr":["news"]},"MsgBody":[{"MsgContent":{"Text":"hello"},"MsgType":"TIMTextElem"}],"MsgLifeTime":3600}`
	if err != nil || string(got) != want {
		t.Errorf("posted %s, want %s", got, want)
	}
}

func TestCallsThatFail(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"refused":  {answer(200, `{"ActionStatus":"FAIL","ErrorInfo":"too soon","ErrorCode":90024}`), "all_member_push/im_push: 90024: too soon"},
		"a proxy":  {answer(502, "<html>"), "all_member_push/im_push: HTTP 502 with an answer that is not JSON"},
		"redirect": {http.RedirectHandler("http://elsewhere.example/", http.StatusPermanentRedirect).ServeHTTP, "all_member_push/im_push: HTTP 308 with an answer that is not JSON"},
		"no text":  {answer(200, `{"ActionStatus":"OK","TaskId":1}`), "all_member_push/im_push: read the answer: json"},
		"endless": {func(w http.ResponseWriter, _ *http.Request) {
			for range 17 {
				_, _ = w.Write(make([]byte, 1<<20))
			}
		}, "all_member_push/im_push: read the answer: it is longer than 16777216 bytes"},
	} {
		_, err := operator(t, c.answer).Push(t.Context(), client.NewMessage(client.Text("x")))
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
		var refused *client.Error
		if errors.As(err, &refused) != (name == "refused") {
			t.Errorf("%s: the error is a %T", name, err)
		}
	}
	away := &client.REST{URL: "http://127.0.0.1:1", App: 7, Admin: "boss", Key: key}
	if err := away.Call(t.Context(), "x/y", map[string]any{}, nil); err == nil || strings.Contains(err.Error(), "usersig") {
		t.Errorf("nobody there: %v", err)
	}
	if err := away.Call(t.Context(), "x/y", func() {}, nil); err == nil || !strings.Contains(err.Error(), "lay out the body") {
		t.Errorf("no JSON: %v", err)
	}
	nowhere := &client.REST{URL: "http://%zz", App: 7, Admin: "boss", Key: key}
	if err := nowhere.Call(t.Context(), "x/y", map[string]any{}, nil); err == nil || strings.Contains(err.Error(), "usersig") {
		t.Errorf("no URL: %v", err)
	}
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	state := "revoking"
	c := operator(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodDelete || r.URL.Path != "/v1/pushes/7-42" {
			answer(404, `{"title":"Not Found","status":404,"code":"no_such_push","detail":"there is no such push"}`)(w, r)
			return
		}
		answer(200, `{"id":"7-42","state":"`+state+`","audience":10,"received":3,"sent":2,"withheld":5,"more":true}`)(w, r)
		state = "revoked"
	})
	for _, want := range []string{"revoking", "revoked"} {
		r, err := c.Revoke(t.Context(), "7-42")
		if err != nil || r != (client.Revocation{ID: "7-42", State: want, Audience: 10, Received: 3, Sent: 2, Withheld: 5}) {
			t.Errorf("%+v, %v", r, err)
		}
	}
	for _, id := range []push.TaskID{"7-43", "7-42?x", "a/b"} {
		_, err := c.Revoke(t.Context(), id)
		var refused *client.Error
		if !errors.As(err, &refused) || refused.Code != 404 || refused.Problem != "no_such_push" || !strings.HasSuffix(err.Error(), ": HTTP 404: no_such_push: there is no such push") {
			t.Errorf("%s: %v", id, err)
		}
	}
	_, err := operator(t, answer(502, "<html>")).Revoke(t.Context(), "7-42")
	var refused *client.Error
	if !errors.As(err, &refused) || refused.Code != 502 || refused.Problem != "" {
		t.Errorf("a proxy: %v", err)
	}
	if _, err := operator(t, answer(200, "<html>")).Revoke(t.Context(), "7-42"); err == nil || !strings.Contains(err.Error(), "read the answer") {
		t.Errorf("no JSON: %v", err)
	}
	away := &client.REST{URL: "http://127.0.0.1:1", App: 7, Admin: "boss", Key: key}
	if _, err := away.Revoke(t.Context(), "7-42"); err == nil || strings.Contains(err.Error(), "usersig") {
		t.Errorf("nobody there: %v", err)
	}
}
