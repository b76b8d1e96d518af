package bulk

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"

	"github.com/carillon-push/carillon/pkg/client"
	"github.com/carillon-push/carillon/pkg/push"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is what import and export see of the service, in memory.
type fake struct {
	url  string
	http *http.Client

	mu    sync.Mutex
	names [push.AttrSlots]string
	users map[string]*User
	order []string
	calls int
	// before is called with each call, numbered from 1, before it is done. What it returns is answered instead; "cut" cuts the
	// connection, before or after the call was done.
	before func(n int, command string) fault
}

type fault struct {
	code          int
	cut, cutAfter bool
}

func startFake(t testing.TB) *fake {
	t.Helper()
	f := &fake{users: map[string]*User{}, before: func(int, string) fault { return fault{} }}
	s := httptest.NewServer(f)
	f.url, f.http = s.URL, s.Client()
	t.Cleanup(s.Close)
	return f
}

func (f *fake) rest() *client.REST {
	return &client.REST{URL: f.url, App: 1400000001, Admin: "administrator", Key: "k", HTTP: f.http}
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	command := strings.TrimPrefix(r.URL.Path, "/v4/")
	f.mu.Lock()
	f.calls++
	n := f.calls
	before := f.before
	f.mu.Unlock()
	fault := before(n, command)
	if fault.cut {
		panic(http.ErrAbortHandler)
	}
	var body map[string]json.RawMessage
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil && r.Method != http.MethodGet {
		fault.code = 90001
	}
	var answer map[string]any
	if fault.code == 0 {
		f.mu.Lock()
		switch {
		case r.Method == http.MethodGet:
			answer = f.list(r.URL.Query())
		default:
			answer, fault.code = f.do(command, body)
		}
		f.mu.Unlock()
	}
	if fault.cutAfter {
		panic(http.ErrAbortHandler)
	}
	if answer == nil {
		answer = map[string]any{}
	}
	if strings.HasPrefix(r.URL.Path, "/v4/") {
		answer["ActionStatus"], answer["ErrorCode"], answer["ErrorInfo"] = "OK", fault.code, ""
		if fault.code != 0 {
			answer["ActionStatus"], answer["ErrorInfo"] = "FAIL", "for a test"
		}
	} else if fault.code == http.StatusBadRequest || fault.code == http.StatusUnprocessableEntity {
		w.WriteHeader(fault.code)
	} else if fault.code != 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(answer) // a test that is over hangs up
}

func (f *fake) register(account string) *User {
	u := f.users[account]
	if u == nil {
		u = &User{Account: account}
		f.users[account] = u
		f.order = append(f.order, account)
	}
	return u
}

func (u *User) give(tags []string, attributes map[string]string) {
	for _, t := range tags {
		if i, has := slices.BinarySearch(u.Tags, t); !has {
			u.Tags = slices.Insert(u.Tags, i, t)
		}
	}
	for name, value := range attributes {
		if u.Attributes == nil {
			u.Attributes = map[string]string{}
		}
		u.Attributes[name] = value
	}
}

func (f *fake) do(command string, body map[string]json.RawMessage) (map[string]any, int) {
	read := func(name string, into any) bool { return json.Unmarshal(body[name], into) == nil }
	switch command {
	case "all_member_push/im_get_attr_name":
		names := map[string]string{}
		for i, n := range f.names {
			if n != "" {
				names[strconv.Itoa(i)] = n
			}
		}
		return map[string]any{"AttrNames": names}, 0
	case "all_member_push/im_set_attr_name":
		var names map[int]string
		if !read("AttrNames", &names) {
			return nil, 90001
		}
		for i, n := range names {
			f.names[i] = n
		}
		return nil, 0
	case accountsPath:
		var users []struct {
			Account       string
			AccountBase64 []byte
			Tags          []string
			Attributes    map[string]string
		}
		if !read("accounts", &users) || len(users) > 1000 {
			return nil, http.StatusBadRequest
		}
		for i, u := range users {
			users[i].Account += string(u.AccountBase64)
			for name := range u.Attributes {
				if !slices.Contains(f.names[:], name) {
					return nil, http.StatusUnprocessableEntity
				}
			}
			if had := f.users[users[i].Account]; had != nil && len(distinct(append(slices.Clone(had.Tags), u.Tags...))) > push.MaxTags {
				return nil, http.StatusUnprocessableEntity
			}
		}
		for _, u := range users {
			f.register(u.Account).give(u.Tags, u.Attributes)
		}
		return nil, 0
	}
	return nil, 60009
}

func (f *fake) list(q url.Values) map[string]any {
	after, _ := strconv.Atoi(q.Get("after"))
	limit, _ := strconv.Atoi(q.Get("limit"))
	end := min(after+min(limit, 7), len(f.order))
	users := []any{}
	for i, name := range f.order[after:end] {
		u := f.users[name]
		m := map[string]any{"ordinal": after + i + 1, "tags": append([]string{}, u.Tags...), "attributes": u.Attributes}
		if utf8.ValidString(name) {
			m["account"] = name
		} else {
			m["accountBase64"] = []byte(name)
		}
		users = append(users, m)
	}
	var next any
	if end < len(f.order) {
		next = end
	}
	return map[string]any{"accounts": users, "next": next}
}

// state is every user as a line of text, sorted.
func state(users map[string]*User) string {
	var lines []string
	for _, u := range users {
		lines = append(lines, fmt.Sprintf("%q %q %q", u.Account, u.Attributes, u.Tags))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func (f *fake) state() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return state(f.users)
}

// expect applies lines as plain loops do.
func expect(users ...User) map[string]*User {
	f := &fake{users: map[string]*User{}}
	for _, u := range users {
		f.register(u.Account).give(u.Tags, u.Attributes)
	}
	return f.users
}

// hasty makes an importer that does not wait long before it calls again.
func hasty(t testing.TB, f *fake, cfg ImportConfig, s Streams) *importer {
	t.Helper()
	im, err := newImporter(cfg, f.rest(), s)
	if err != nil {
		t.Fatal(err)
	}
	im.calls.first, im.calls.longest = time.Microsecond, 100*time.Microsecond
	return im
}
