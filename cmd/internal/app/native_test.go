package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/carillon-push/carillon/cmd/internal/app/apptest"
	"github.com/carillon-push/carillon/cmd/internal/config"
	"github.com/carillon-push/carillon/pkg/directory"
	"github.com/carillon-push/carillon/pkg/push"
)

const nativeKey = "an API key for tests only"

// withNativeKey gives the app an API key with every role.
func withNativeKey(c *config.Config) {
	c.Apps[0].APIKeys = []config.APIKey{{Name: "tests", Key: nativeKey, Roles: []string{config.RoleAdmin}}}
}

// nativeAPI calls the interface under /v1 of a service.
func nativeAPI(t testing.TB, s *apptest.System) func(method, path string, body, answer any) {
	return func(method, path string, body, answer any) {
		t.Helper()
		raw, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), method, s.URL()+path, bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+nativeKey)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if res.StatusCode >= 300 {
			var problem bytes.Buffer
			_, _ = problem.ReadFrom(res.Body) // the status is fault enough
			t.Fatalf("%s %s: %d %s", method, path, res.StatusCode, problem.String())
		}
		if answer != nil {
			if err := json.NewDecoder(res.Body).Decode(answer); err != nil {
				t.Fatal(err)
			}
		}
	}
}

type object = map[string]any

type count struct {
	Matched, Online, Offline uint64
	Milliseconds             float64
}

// What a dry run counts is what the push then reaches, and each change is counted at once.
func TestNativeCountsWhomItPushesTo(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, withNativeKey)
	call := nativeAPI(t, s)
	call("PUT", "/v1/attributes", object{"attributes": object{"0": "city"}}, nil)
	for i := range 20 {
		body := object{"tags": []string{fmt.Sprint("t", i%2)}, "attributes": object{"city": fmt.Sprint("c", i%5)}}
		call("PUT", fmt.Sprint("/v1/accounts/u", i), body, nil)
	}
	// Of those with tag t1, u1, u5, u11 and u15 have one of the cities.
	condition := object{"or": []any{
		object{"and": []any{object{"tag": "t1"}, object{"attribute": "city", "in": []string{"c0", "c1"}}, object{"not": object{"tag": "no"}}}},
		object{"tag": object{"in": []string{"some", "others"}}},
	}}
	expect := func(matched, online uint64) {
		t.Helper()
		var got count
		call("POST", "/v1/pushes", object{"dryRun": true, "condition": condition}, &got)
		if got.Matched != matched || got.Online != online || got.Offline != matched-online {
			t.Errorf("%+v, want %d and %d of them online", got, matched, online)
		}
	}
	expect(4, 0)
	call("PATCH", "/v1/accounts/u15", object{"tags": object{"add": []string{"no"}}}, nil)
	expect(3, 0)
	call("PATCH", "/v1/accounts/u3", object{"tags": object{"add": []string{"some"}}}, nil)
	expect(4, 0)
	u1, again, u3, stranger := s.Dial("u1"), s.Dial("u1"), s.Dial("u3"), s.Dial("u2")
	expect(4, 2)
	var made struct {
		ID  push.TaskID
		Seq push.Seq
	}
	call("POST", "/v1/pushes", object{"body": apptest.Text("hello", 0, nil)["MsgBody"], "lifetime": 60, "condition": condition}, &made)
	for _, p := range []*apptest.Session{u1, again, u3} {
		if text, seq := p.Push(); text != "hello" || seq != made.Seq {
			t.Errorf("got %q with %d, want %d", text, seq, made.Seq)
		}
	}
	var shown struct {
		Evaluated bool
		Matched   uint64
	}
	call("GET", "/v1/pushes/"+string(made.ID), nil, &shown)
	if !shown.Evaluated || shown.Matched != 4 {
		t.Errorf("%+v", shown)
	}
	if late := s.Dial("u5"); late.Hello.Pending != 1 {
		t.Errorf("%d pending for who was offline", late.Hello.Pending)
	}
	call("POST", "/v1/pushes", object{"body": apptest.Text("for everyone", 0, nil)["MsgBody"]}, nil)
	if text, _ := stranger.Push(); text != "for everyone" {
		t.Errorf("a stranger to the condition got %q", text)
	}
}

// A dry run of a condition of each kind, over users with tags and attributes.
func BenchmarkNativeDryRun(b *testing.B) {
	const users, batch = 20_000, 500
	s := apptest.Start(b, withNativeKey)
	call := nativeAPI(b, s)
	dir := directory.New(s.Broker())
	call("PUT", "/v1/attributes", object{"attributes": object{"0": "city"}}, nil)
	for first := 0; first < users; first += batch {
		names, changes := make([]string, batch), make([]directory.Change, batch)
		for i := range names {
			n := first + i
			names[i] = fmt.Sprint("u", n)
			changes[i] = directory.Change{Account: names[i], Apply: func(r *push.Record) error {
				r.AddTag(fmt.Sprint("t", n%10))
				r.Attrs[0] = fmt.Sprint("c", n%100)
				return nil
			}}
		}
		if _, err := dir.Register(b.Context(), apptest.AppID, names...); err != nil {
			b.Fatal(err)
		}
		if err := dir.Update(b.Context(), apptest.AppID, changes); err != nil {
			b.Fatal(err)
		}
	}
	body := object{"dryRun": true, "condition": object{"and": []any{
		object{"tag": object{"in": []string{"t1", "t2", "t3"}}}, object{"not": object{"attribute": "city", "in": []string{"c1", "c2"}}},
	}}}
	for b.Loop() {
		var got count
		call("POST", "/v1/pushes", body, &got)
		if got.Matched != users*28/100 {
			b.Fatalf("%+v", got)
		}
	}
}
