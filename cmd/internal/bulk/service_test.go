package bulk_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/carillon-push/carillon/cmd/internal/app/apptest"
	"github.com/carillon-push/carillon/cmd/internal/bulk"
	"github.com/carillon-push/carillon/pkg/client"
	"github.com/carillon-push/carillon/pkg/directory"
)

// What is exported is what was imported, through two real services and both formats.
func TestRoundTripThroughServices(t *testing.T) {
	t.Parallel()
	first, second := apptest.Start(t), apptest.Start(t)
	const text = `{"account":"u1","attributes":{"a\"b":"x|y","city":"Shenzhen"},"tags":["a","b|c","d\\e"]}
{"account":"a/b?c=d%20 .","attributes":{"tags":"\r\n"},"tags":["深圳","😀"]}
{"account":"..","tags":["\u0000"]}
{"accountBase64":"/wAvLi4=","attributes":{"city":"x"},"tags":["0","1","10","11","2","3","4","5","6","7","8","9"]}
{"account":"\ufeff<&>"}
`
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(file("in.ndjson"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	transfer := func(name string, from, to *apptest.System) {
		t.Helper()
		s := bulk.Streams{Out: io.Discard, Err: os.Stderr}
		if from != nil {
			out := bulk.DefaultExport()
			out.File = file(name)
			if err := bulk.Export(t.Context(), out, from.REST, s); err != nil {
				t.Fatal(err)
			}
		}
		if to != nil {
			in := bulk.DefaultImport()
			in.File = file(name)
			if err := bulk.Import(t.Context(), in, to.REST, s); err != nil {
				t.Fatal(err)
			}
		}
	}
	transfer("in.ndjson", nil, first)
	transfer("middle.csv.gz", first, second)
	transfer("out.ndjson", second, nil)
	out, err := os.ReadFile(file("out.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	// A registration of several names at once gives them no promised order.
	got, want := lines(string(out)), lines(strings.ReplaceAll(text, `\ufeff`, "\ufeff"))
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, ""), strings.Join(want, ""))
	}
}

// Devices come with their users, those of an account that is not UTF-8 too, and one that the service refuses is a line that
// it refuses.
func TestDevicesAreImported(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	cfg := bulk.DefaultImport()
	cfg.File, cfg.Rejects = filepath.Join(t.TempDir(), "in.ndjson"), filepath.Join(t.TempDir(), "rejects")
	const text = `{"account":"u1","tags":["a"],"devices":[{"channel":"apns","token":"secret1","device":"phone","platform":"iOS"},{"channel":"fcm","token":"secret2"}]}
{"accountBase64":"/w==","devices":[{"channel":"webpush","token":"{}"}]}
{"account":"u2"}
`
	if err := os.WriteFile(cfg.File, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, log strings.Builder
	if err := bulk.Import(t.Context(), cfg, s.REST, bulk.Streams{Out: &out, Err: &log}); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out.String(), "imported 3 lines with 0 attributes, 1 tags and 3 devices, rejected 0,") || strings.Contains(log.String(), "secret") {
		t.Errorf("%s%s", out.String(), log.String())
	}
	dir := directory.New(s.App.Broker())
	users, err := dir.Users(t.Context(), s.REST.App, "u1", "\xff", "u2")
	if err != nil {
		t.Fatal(err)
	}
	lists, err := dir.Devices(t.Context(), s.REST.App, users["u1"].Ordinal, users["\xff"].Ordinal, users["u2"].Ordinal)
	if err != nil || len(lists[users["u1"].Ordinal]) != 2 || len(lists[users["\xff"].Ordinal]) != 1 || len(lists) != 2 {
		t.Errorf("%v, %v", lists, err)
	}
}

func lines(text string) []string { return slices.Sorted(strings.Lines(text)) }

// An import that is stopped at random places and gone on with ends with what the file says, as the contract's own commands
// show it.
func TestResumeWithService(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	r := rand.New(rand.NewPCG(9, 9))
	cfg := bulk.DefaultImport()
	cfg.File = filepath.Join(t.TempDir(), "users.csv")
	cfg.Callers = 1 // so that some batches are done before a run is stopped
	var text strings.Builder
	text.WriteString("account,city,tags\n")
	const users = 5000
	for i := range users {
		text.WriteString(user(i) + ",c" + user(i) + ",a|" + user(i) + "\n")
	}
	if err := os.WriteFile(cfg.File, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for runs := 0; ; runs++ {
		ctx, cancel := context.WithCancel(t.Context())
		rest := &client.REST{URL: s.REST.URL, App: s.REST.App, Admin: s.REST.Admin, Key: s.REST.Key, HTTP: stopping(cancel, 5+r.IntN(3))}
		err := bulk.Import(ctx, cfg, rest, bulk.Streams{Out: io.Discard, Err: io.Discard})
		cancel()
		if err == nil {
			if runs < 2 {
				t.Errorf("stopped %d times", runs)
			}
			break
		}
		if !strings.Contains(err.Error(), "interrupted") && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	for from := 0; from < users; from += 100 {
		var names []string
		for i := range 100 {
			names = append(names, user(from+i))
		}
		var attrs struct {
			UserAttrs []struct{ Attrs map[string]string }
		}
		var tags struct{ UserTags []struct{ Tags []string } }
		s.Call("all_member_push/im_get_attr", map[string]any{"To_Account": names}, &attrs)
		s.Call("all_member_push/im_get_tag", map[string]any{"To_Account": names}, &tags)
		for i, n := range names {
			if attrs.UserAttrs[i].Attrs["city"] != "c"+n || !slices.Equal(tags.UserTags[i].Tags, []string{"a", n}) {
				t.Fatalf("%s has %q and %q", n, attrs.UserAttrs[i].Attrs, tags.UserTags[i].Tags)
			}
		}
	}
}

func user(i int) string {
	return "u" + string(rune('a'+i%26)) + strings.Repeat("x", i/26%20) + string(rune('A'+i/520))
}

// stopping makes a client that cancels after so many calls.
func stopping(cancel func(), calls int) *http.Client {
	return &http.Client{Transport: &stop{cancel: cancel, left: int64(calls)}}
}

type stop struct {
	cancel func()
	left   int64
}

func (s *stop) RoundTrip(r *http.Request) (*http.Response, error) {
	if atomic.AddInt64(&s.left, -1) == 0 {
		s.cancel()
	}
	return http.DefaultTransport.RoundTrip(r)
}
