package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/cmd/internal/app/apptest"
	"github.com/carillon-push/carillon/cmd/internal/config"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/history"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// A push is sent again and the logs are read by the command, as an operator does.
func TestReplay(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, func(c *config.Config) { c.NATS.Listen = "127.0.0.1:0" })
	file := filepath.Join(t.TempDir(), "carillon.yaml")
	text := fmt.Sprintf("apps:\n- {sdkappid: %d, key: %s, admins: [%s]}\n", apptest.AppID, apptest.Key, apptest.Admin)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(want int, args ...string) string {
		t.Helper()
		out, message, code := carillon(t, append(append([]string{"replay"}, args...), "--config", file)...)
		if code != want || (message == "") != (want == 0) {
			t.Fatalf("%v: exit code %d, %s\n%s", args, code, message, out)
		}
		return out + message
	}
	s.Import("here", "away", "gone")
	here := s.Dial("here")
	id := string(s.Push(apptest.Text("hello", 0, nil)))
	if text, seq := here.Push(); text == "hello" {
		here.Ack(seq)
		here.Sync()
	}
	s.Call("im_open_login_svc/account_delete", map[string]any{"DeleteItem": []any{map[string]any{"UserID": "gone"}}}, nil)

	api := []string{"--url", s.URL()}
	counts := "it was for 3: 1 have received it, 1 are deleted, 1 missed it\n"
	if got := run(0, append(api, id)...); got != "matched then 3, match now 2: 0 added, 1 removed\n" {
		t.Errorf("on the users of today: %s", got)
	}
	if got := run(0, append(api, id, "--missed", "--dry-run")...); got != counts {
		t.Errorf("a dry run: %s", got)
	}
	got := run(0, append(api, id, "--missed", "--lifetime", "1h")...)
	m := regexp.MustCompile(`^` + counts + `it is sent again as (\d+-\d+)\n(\d+-\d+) is for 1\n$`).FindStringSubmatch(got)
	if m == nil || m[1] != m[2] || m[1] == id {
		t.Fatalf("sent again: %s", got)
	}
	if text, seq := s.Dial("away").Push(); text != "hello" || string(push.NewTaskID(apptest.AppID, seq)) != m[1] {
		t.Errorf("who missed it got %q with %d", text, seq)
	}
	for _, c := range []struct {
		says string
		args []string
	}{
		{"was sent again as " + m[1], []string{id, "--missed"}},
		{"have not missed it yet", []string{m[1], "--missed"}},
		{"no such push", []string{"1-1", "--missed"}},
		{"belong to --missed", []string{id, "--dry-run"}},
		{"belong to --missed", []string{id, "--lifetime", "1s"}},
		{"whole seconds", []string{id, "--missed", "--lifetime", "1500ms"}},
		{"whole seconds", []string{id, "--missed", "--lifetime", "169h"}},
	} {
		if got := run(1, append(api, c.args...)...); !strings.Contains(got, c.says) {
			t.Errorf("%v: %s, want %q", c.args, got, c.says)
		}
	}

	logs := []string{"log", "--nats.url", s.Broker().ListenURL()}
	kinds := func(args ...string) string {
		t.Helper()
		var all []string
		for line := range strings.Lines(run(0, append(logs, append(args, "--json")...)...)) {
			var e history.Entry
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			all = append(all, string(e.Kind))
		}
		return strings.Join(all, " ")
	}
	if got := kinds("--push", id); !regexp.MustCompile(`^push audience( receipt)+ replay$`).MatchString(got) {
		t.Errorf("of the push: %s", got)
	}
	if got := kinds("--seq", "2..", "--until", time.Now().Add(time.Hour).Format(time.RFC3339)); !strings.HasPrefix(got, "replay audience") {
		t.Errorf("from the replay on: %s", got)
	}
	if got := kinds("--since", "1h"); !regexp.MustCompile(`^user user push audience (receipt )*user (receipt )*replay audience`).MatchString(got) {
		t.Errorf("of the last hour: %s", got)
	}
	if got := kinds("--until", "1h"); got != "" {
		t.Errorf("before that: %s", got)
	}
	if got := run(0, append(logs, "--push", m[1])...); !strings.Contains(got, "accepted from \"administrator\" for those who missed "+id+", kept for 1h0m0s") {
		t.Errorf("for people: %s", got)
	}
	for _, args := range [][]string{{"--since", "yesterday"}, {"--until", "-1h"}, {"--push", "1-1"}, {"--seq", "0"}, {"--seq", ".."}, {"--seq", "3..2"}, {"--seq", "a..b"}, {"--since", "1h", "--until", "2h"}} {
		run(1, append(logs, args...)...)
	}
	run(1, "log", "--data", t.TempDir()) // a broker that holds nothing

	from := logs[1:]
	dir := filepath.Join(t.TempDir(), "copy")
	run(0, append([]string{"copy", "--into", dir}, from...)...)
	if got, want := run(0, "log", "--data", dir, "--json"), run(0, append(logs, "--json")...); got != want || got == "" {
		t.Errorf("the copy's logs are\n%s\nwant\n%s", got, want)
	}
	run(1, append([]string{"copy", "--into", dir}, from...)...) // it is there already
	served := apptest.Start(t, func(c *config.Config) { c.Data = dir })
	if got, want := run(0, id, "--url", served.URL()), run(0, append(api, id)...); got != want {
		t.Errorf("the copy, served, says %s, want %s", got, want)
	}
	served.Stop()
	dir = filepath.Join(t.TempDir(), "copy")
	if got := run(0, append([]string{"copy", "--evaluate", "--into", dir}, from...)...); !strings.HasSuffix(got, "\n"+id+": matched then 3, match in the copy 2: 1 changed since, 0 at odds\n") {
		t.Errorf("evaluated anew: %s", got)
	}
	// Whom no record explains is found.
	data, err := wire.EncodeBitmap(roaring.BitmapOf(1, 9))
	if err != nil {
		t.Fatal(err)
	}
	original, err := s.Broker().Last(t.Context(), wire.AudiencesStream, wire.AudienceSubject(apptest.AppID, 0, 1))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Broker().Publish(t.Context(), broker.Message{Subject: original.Subject, Data: data, Header: map[string]string{wire.HeaderEvaluated: original.Header[wire.HeaderEvaluated]}}); err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(t.TempDir(), "copy")
	if got := run(1, append([]string{"copy", "--evaluate", "--into", dir}, from...)...); !strings.Contains(got, id+": matched then 2, match in the copy 2: 0 changed since, 2 at odds\n") {
		t.Errorf("evaluated anew, against a false audience: %s", got)
	}
}
