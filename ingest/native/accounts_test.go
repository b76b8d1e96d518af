package native

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/directory"
	"github.com/carillon-push/carillon/pkg/push"
)

func TestAccount(t *testing.T) {
	t.Parallel()
	a := serve(t, brokertest.Start(t))
	a.attributes("sex", "city")
	same := func(got account, want string) {
		t.Helper()
		if js(got) != want {
			t.Errorf("got  %s\nwant %s", js(got), want)
		}
	}
	const u = "/v1/accounts/u1"
	a.refused(404, codeAccount, "-", "GET", u, "")
	a.refused(404, codeAccount, "-", "PATCH", u, `{"tags":{"add":["a"]}}`)
	a.refused(404, codeAccount, "-", "PATCH", u, `{}`)
	a.refused(404, codeAccount, "-", "DELETE", u, "")
	same(ok[account](a, 201, "PUT", u, ""), `{"account":"u1","ordinal":1,"tags":[],"attributes":{}}`)
	same(ok[account](a, 200, "PUT", u, `{"tags":["b","a","b"],"attributes":{"city":"深圳"}}`), `{"account":"u1","ordinal":1,"tags":["a","b"],"attributes":{"city":"深圳"}}`)
	same(ok[account](a, 200, "PUT", u, `{}`), `{"account":"u1","ordinal":1,"tags":["a","b"],"attributes":{"city":"深圳"}}`)
	same(ok[account](a, 200, "PATCH", u, `{"tags":{"add":["c","x"],"remove":["a","x"]},"attributes":{"set":{"sex":"f"},"remove":["city"]}}`),
		`{"account":"u1","ordinal":1,"tags":["b","c","x"],"attributes":{"sex":"f"}}`)
	same(ok[account](a, 200, "PUT", u, `{"tags":[]}`), `{"account":"u1","ordinal":1,"tags":[],"attributes":{"sex":"f"}}`)
	same(ok[account](a, 200, "GET", u, ""), `{"account":"u1","ordinal":1,"tags":[],"attributes":{"sex":"f"}}`)
	ok[any](a, 204, "DELETE", u, "")
	a.refused(404, codeAccount, "-", "GET", u, "")
	same(ok[account](a, 201, "PUT", u, ""), `{"account":"u1","ordinal":2,"tags":[],"attributes":{}}`)
}

func TestAccountNames(t *testing.T) {
	t.Parallel()
	a := serve(t, brokertest.Start(t))
	for _, name := range []string{"a b", "a/b", "%41", "..", "深圳", "a?b#c", "*.>", "a%2Fb", "+", "\x00"} {
		path := "/v1/accounts/" + strings.ReplaceAll(url.PathEscape(name), ".", "%2E")
		ok[account](a, 201, "PUT", path, "")
		if got := ok[account](a, 200, "GET", path, ""); got.Account != name {
			t.Errorf("%q is %q", name, got.Account)
		}
	}
	got := ok[account](a, 201, "PUT", "/v1/accounts/%ff%2f", "")
	if got.Account != "" || string(got.AccountBase64) != "\xff/" {
		t.Errorf("a name that is not UTF-8: %+v", got)
	}
	users, err := directory.New(a.b).Users(t.Context(), a.app, "\xff/", "..", "a%2Fb")
	if err != nil || len(users) != 3 {
		t.Errorf("the directory has %v, %v", users, err)
	}
	a.refused(400, codeParameter, "-", "PUT", "/v1/accounts/"+strings.Repeat("x", 33), "")
}

func TestAccountBodiesThatAreRefused(t *testing.T) {
	t.Parallel()
	a := serve(t, brokertest.Start(t))
	a.attributes("sex")
	ok[account](a, 201, "PUT", "/v1/accounts/full", `{"tags":`+list(100, `"t%d"`)+`}`)
	for _, c := range []struct {
		method, body string
		status       int
		code, at     string
	}{
		{"PUT", `{`, 400, codeJSON, "-"},
		{"PUT", "{\"tags\":[\"\xff\"]}", 400, codeJSON, "-"},
		{"PUT", `[]`, 400, codeField, ""},
		{"PUT", `null`, 400, codeField, ""},
		{"PUT", `{"Tags":[]}`, 400, codeUnknownField, "/Tags"},
		{"PUT", `{"a/~b":[]}`, 400, codeUnknownField, "/a~1~0b"},
		{"PUT", `{"tags":[],"tags":["a"]}`, 400, codeField, "/tags"},
		{"PUT", `{"tags":null}`, 400, codeField, "/tags"},
		{"PUT", `{"tags":"a"}`, 400, codeField, "/tags"},
		{"PUT", `{"tags":["a",1]}`, 400, codeField, "/tags/1"},
		{"PUT", `{"tags":["a",""]}`, 400, codeField, "/tags/1"},
		{"PUT", `{"tags":["` + long51 + `"]}`, 400, codeField, "/tags/0"},
		{"PUT", `{"tags":["\ud800"]}`, 400, codeField, "/tags/0"},
		{"PUT", `{"tags":` + list(101, `"t%d"`) + `}`, 400, codeField, "/tags"},
		{"PUT", `{"attributes":[]}`, 400, codeField, "/attributes"},
		{"PUT", `{"attributes":{"city":"x"}}`, 422, codeAttribute, "/attributes/city"},
		{"PUT", `{"attributes":{"sex":3}}`, 400, codeField, "/attributes/sex"},
		{"PUT", `{"attributes":{"sex":""}}`, 400, codeField, "/attributes/sex"},
		{"PUT", `{"attributes":{"sex":"` + long51 + `"}}`, 400, codeField, "/attributes/sex"},
		{"PATCH", `{"tags":[]}`, 400, codeField, "/tags"},
		{"PATCH", `{"tags":{"set":[]}}`, 400, codeUnknownField, "/tags/set"},
		{"PATCH", `{"tags":{"add":["one more"]}}`, 422, codeTags, "-"},
		{"PATCH", `{"attributes":{"remove":["city"]}}`, 422, codeAttribute, "/attributes/remove/0"},
		{"PATCH", `{"attributes":{"remove":[7]}}`, 400, codeField, "/attributes/remove/0"},
		{"PATCH", `{"attributes":{"set":{"city":"x"}}}`, 422, codeAttribute, "/attributes/set/city"},
		{"PUT", `{"tags":["` + strings.Repeat("x", 64<<10) + `"]}`, 413, codeTooLong, "-"},
	} {
		a.refused(c.status, c.code, c.at, c.method, "/v1/accounts/full", c.body)
	}
	if got := ok[account](a, 200, "GET", "/v1/accounts/full", ""); len(got.Tags) != 100 {
		t.Errorf("refused requests changed something: %+v", got)
	}
}

// All pages together have every account once, whatever was deleted between, over shards and beyond.
func TestListAccounts(t *testing.T) {
	t.Parallel()
	a := serve(t, brokertest.Start(t, func(c *broker.Config) { c.Sharding = 4 }))
	if got := ok[accountList](a, 200, "GET", "/v1/accounts", ""); len(got.Accounts) != 0 || got.Next != nil {
		t.Errorf("an app without accounts: %+v", got)
	}
	want := []string{}
	for i := range 70 {
		name := fmt.Sprintf("u%02d", i)
		ok[account](a, 201, "PUT", "/v1/accounts/"+name, fmt.Sprintf(`{"tags":["%d"]}`, i))
		if i >= 5 && i < 60 {
			ok[any](a, 204, "DELETE", "/v1/accounts/"+name, "")
		} else {
			want = append(want, name)
		}
	}
	for _, limit := range []int{1, 3, 16, 1000} {
		var all []account
		var after push.Ordinal
		for pages := 0; ; pages++ {
			page := ok[accountList](a, 200, "GET", fmt.Sprintf("/v1/accounts?limit=%d&after=%d", limit, after), "")
			if len(page.Accounts) > limit || pages > 200 {
				t.Fatalf("a page of %d, %d pages", len(page.Accounts), pages)
			}
			all = append(all, page.Accounts...)
			if page.Next == nil {
				break
			}
			after = *page.Next
		}
		if got := names(all); !slices.Equal(got, want) {
			t.Errorf("limit %d: %v, want %v", limit, got, want)
		}
		if !slices.IsSortedFunc(all, func(x, y account) int { return int(x.Ordinal) - int(y.Ordinal) }) {
			t.Errorf("limit %d: not in the order of ordinals", limit)
		}
	}
	for _, q := range []string{"limit=0", "limit=1001", "limit=x", "after=-1", "after=x"} {
		a.refused(400, codeParameter, "-", "GET", "/v1/accounts?"+q, "")
	}
}

func TestAttributes(t *testing.T) {
	t.Parallel()
	a := serve(t, brokertest.Start(t))
	const path = "/v1/attributes"
	same := func(got attributeNames, want string) {
		t.Helper()
		if js(got) != want {
			t.Errorf("got %s, want %s", js(got), want)
		}
	}
	same(ok[attributeNames](a, 200, "GET", path, ""), `{"attributes":{}}`)
	same(ok[attributeNames](a, 200, "PUT", path, `{"attributes":{"9":"sex","0":"city"}}`), `{"attributes":{"0":"city","9":"sex"}}`)
	ok[account](a, 201, "PUT", "/v1/accounts/u", `{"attributes":{"city":"x","sex":"f"}}`)
	same(ok[attributeNames](a, 200, "PUT", path, `{"attributes":{"0":"town"}}`), `{"attributes":{"0":"town"}}`)
	if got := ok[account](a, 200, "GET", "/v1/accounts/u", ""); js(got.Attributes) != `{"town":"x"}` {
		t.Errorf("the values do not belong to slots: %+v", got)
	}
	for _, c := range []struct{ body, code, at string }{
		{`{}`, codeMissing, "/attributes"},
		{`{"attributes":[]}`, codeField, "/attributes"},
		{`{"attributes":{"10":"x"}}`, codeField, "/attributes/10"},
		{`{"attributes":{"00":"x"}}`, codeField, "/attributes/00"},
		{`{"attributes":{"0":""}}`, codeField, "/attributes/0"},
		{`{"attributes":{"0":"a","1":"a"}}`, codeField, "/attributes/1"},
		{`{"attributes":{"0":"` + long51 + `"}}`, codeField, "/attributes/0"},
	} {
		a.refused(400, c.code, c.at, "PUT", path, c.body)
	}
	same(ok[attributeNames](a, 200, "GET", path, ""), `{"attributes":{"0":"town"}}`)
}

func TestRolesAndCallers(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	a, other := serve(t, b), serve(t, b)
	ok[account](a, 201, "PUT", "/v1/accounts/u", "")
	id := ok[accepted](a, 202, "POST", "/v1/pushes", `{"body":`+hello+`}`).ID
	requests := map[string]string{ // by operation
		"listAccounts": "GET /v1/accounts", "mergeAccounts": `POST /v1/accounts {"accounts":[]}`, "putAccount": "PUT /v1/accounts/u", "getAccount": "GET /v1/accounts/u",
		"patchAccount": "PATCH /v1/accounts/u {}", "deleteAccount": "DELETE /v1/accounts/none",
		"listDevices": "GET /v1/accounts/u/devices", "deleteDevice": "DELETE /v1/accounts/u/devices/none",
		"createDevices": `POST /v1/devices {"devices":[]}`, "getAttributes": "GET /v1/attributes",
		"putAttributes": `PUT /v1/attributes {"attributes":{}}`, "createPush": `POST /v1/pushes {"body":` + hello + `}`,
		"listPushes": "GET /v1/pushes", "getPush": "GET /v1/pushes/" + string(id),
		"deletePush": "DELETE /v1/pushes/" + string(push.NewTaskID(a.app, 1<<40)),
		"tracePush":  "GET /v1/pushes/" + string(id) + "/users/u", "replayPush": "GET /v1/pushes/" + string(id) + "/replay",
		"createReplay": "POST /v1/pushes/" + string(push.NewTaskID(a.app, 1<<40)) + "/replay {}",
	}
	for _, o := range a.operations {
		f := strings.SplitN(requests[o.id]+" ", " ", 3)
		method, path, body := f[0], f[1], strings.TrimSpace(f[2])
		for _, role := range []Role{Read, Push, Admin} {
			res := a.as(keyOf(a.app, role)).do(method, path, body)
			if may := role == o.role || role == Admin || role == Push && o.role == Read; may != (res.StatusCode != http.StatusForbidden) {
				t.Errorf("%s with role %s: %d %s", o.id, role, res.StatusCode, res.raw)
			}
		}
		if res := a.as("").do(method, path+a.signed(admin), body); res.StatusCode == http.StatusForbidden || res.StatusCode == http.StatusUnauthorized {
			t.Errorf("%s by an admin: %d %s", o.id, res.StatusCode, res.raw)
		}
		a.as("").refused(403, codeForbidden, "-", method, path+a.signed("u"), body)
		for what, bad := range map[string]string{"": "", "no such key": "", keyOf(a.app, Admin) + "x": "", "k": "?usersig=x"} {
			a.as(what).refused(401, codeUnauthenticated, "-", method, path+bad, body)
		}
		a.as("").refused(401, codeUnauthenticated, "-", method, path+strings.Replace(a.signed(admin), admin, "second", 1), body)
		a.as("").refused(401, codeUnauthenticated, "-", method, path+"?sdkappid=1&identifier=a&usersig=x", body)
	}
	// A key is for its own app, and another app's push is not there.
	other.refused(404, codePush, "-", "GET", "/v1/pushes/"+string(id), "")
	other.refused(404, codeAccount, "-", "GET", "/v1/accounts/u", "")
	if res := a.as("").do("GET", "/v1/accounts", ""); res.Header.Get("WWW-Authenticate") != "Bearer" {
		t.Errorf("no challenge: %v", res.Header)
	}
	a.as("").refused(401, codeUnauthenticated, "-", "GET", "/v1/accounts", "", "Authorization", "Basic eDp5")
}

func TestPathsAndMethods(t *testing.T) {
	t.Parallel()
	a := serve(t, brokertest.Start(t))
	for _, path := range []string{"/v1/", "/v1/users", "/v1/accounts/a/b", "/v1/pushes/1/2"} {
		a.refused(404, codePath, "-", "GET", path, "")
	}
	for path, allowed := range map[string]string{
		"/v1/accounts": "GET, POST", "/v1/accounts/u": "DELETE, GET, PATCH, PUT", "/v1/attributes": "GET, PUT", "/v1/pushes": "GET, POST",
		"/v1/pushes/1": "DELETE, GET", "/v1/docs": "GET",
	} {
		if res := a.do("OPTIONS", path, ""); res.StatusCode != 405 || res.problem.Code != codeMethod || res.Header.Get("Allow") != allowed {
			t.Errorf("%s: %d %s, allowed %q", path, res.StatusCode, res.raw, res.Header.Get("Allow"))
		}
	}
}

func TestCallsPerSecond(t *testing.T) {
	t.Parallel()
	a := serve(t, brokertest.Start(t), func(c *Config) { c.Apps[0].CallsPerSecond = 1 })
	at := a.now()
	a.Native.now = func() time.Time { return at }
	ok[attributeNames](a, 200, "GET", "/v1/attributes", "")
	res := a.do("GET", "/v1/attributes", "")
	if res.StatusCode != 429 || res.problem.Code != codeRate || res.Header.Get("Retry-After") != "1" {
		t.Errorf("%d %s", res.StatusCode, res.raw)
	}
	ok[pushList](a, 200, "GET", "/v1/pushes", "")
}
