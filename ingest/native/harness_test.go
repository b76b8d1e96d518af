package native

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/usersig"
)

func TestMain(m *testing.M) { brokertest.VerifyMain(m) }

const (
	sigKey = "0123456789abcdef"
	admin  = "administrator"
	hello  = `[{"MsgType":"TIMTextElem","MsgContent":{"Text":"hello"}}]`
)

// Keys of every test's app, each with the role of its name; none is another app's, since the app's number is in them.
func keyOf(app push.AppID, role Role) string { return fmt.Sprintf("the %s key of %d", role, app) }

var lastApp atomic.Uint32

// api is one app on a Native of its own, reached over HTTP.
type api struct {
	testing.TB
	*Native
	b   *broker.Broker
	app push.AppID
	srv *httptest.Server
	key string // sent with every request; empty for none
}

// serve mounts a Native with a new app on a broker.
func serve(t testing.TB, b *broker.Broker, change ...func(*Config)) *api {
	t.Helper()
	return serveApp(t, b, push.AppID(1400000000+lastApp.Add(1)), change...)
}

func configOf(id push.AppID) Config {
	cfg := Default()
	cfg.Apps = []App{{ID: id, Keys: []string{sigKey}, Admins: []string{admin, "second"}, CallsPerSecond: 1e6}}
	for _, r := range []Role{Read, Push, Admin} {
		cfg.Apps[0].APIKeys = append(cfg.Apps[0].APIKeys, APIKey{Name: "key " + string(r), Key: keyOf(id, r), Roles: []Role{r}})
	}
	return cfg
}

func serveApp(t testing.TB, b *broker.Broker, id push.AppID, change ...func(*Config)) *api {
	t.Helper()
	if err := b.EnsureApp(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	cfg := configOf(id)
	for _, c := range change {
		c(&cfg)
	}
	n, err := New(cfg, b, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	e := echo.New()
	n.Mount(e)
	srv := httptest.NewServer(e)
	t.Cleanup(srv.Close)
	return &api{TB: t, Native: n, b: b, app: id, srv: srv, key: keyOf(id, Admin)}
}

// as is the same app called with another key.
func (a *api) as(key string) *api {
	other := *a
	other.key = key
	return &other
}

// reply is an answer as it came.
type answer struct {
	*http.Response
	raw     []byte
	problem problem
}

// do sends a request, and checks the answer against openapi.json. Headers are name and value in turn.
func (a *api) do(method, path, body string, headers ...string) answer {
	a.Helper()
	req, err := http.NewRequestWithContext(a.Context(), method, a.srv.URL+path, strings.NewReader(body))
	if err != nil {
		a.Fatal(err)
	}
	if a.key != "" {
		req.Header.Set("Authorization", "Bearer "+a.key)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	res, err := a.srv.Client().Do(req)
	if err != nil {
		a.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		a.Fatal(err)
	}
	out := answer{Response: res, raw: raw}
	if strings.HasPrefix(res.Header.Get("Content-Type"), "application/problem+json") {
		if err := json.Unmarshal(raw, &out.problem); err != nil || out.problem.Status != res.StatusCode || out.problem.Code == "" || out.problem.Detail == "" {
			a.Errorf("%s %s answers %d with the problem %s", method, path, res.StatusCode, raw)
		}
	}
	documented(a, req, out, body)
	return out
}

// ok sends what must be answered with a status, and decodes the answer.
func ok[T any](a *api, status int, method, path, body string, headers ...string) T {
	a.Helper()
	res := a.do(method, path, body, headers...)
	if res.StatusCode != status {
		a.Fatalf("%s %s %s: %d %s, want %d", method, path, body, res.StatusCode, res.raw, status)
	}
	var v T
	if len(res.raw) > 0 {
		if err := json.Unmarshal(res.raw, &v); err != nil {
			a.Fatalf("%s %s answers %s: %v", method, path, res.raw, err)
		}
	}
	return v
}

// refused sends what must be refused, at a pointer unless that is "-".
func (a *api) refused(status int, code, at, method, path, body string, headers ...string) {
	a.Helper()
	res := a.do(method, path, body, headers...)
	pointer := "-"
	if res.problem.Pointer != nil {
		pointer = *res.problem.Pointer
	}
	if res.StatusCode != status || res.problem.Code != code || pointer != at {
		a.Errorf("%s %s %.300s:\n got %d %s\nwant %d %s at %s", method, path, body, res.StatusCode, res.raw, status, code, at)
	}
}

// signed is the query of an admin's UserSig.
func (a *api) signed(identifier string) string {
	a.Helper()
	sig, err := usersig.Sign(sigKey, a.app, identifier, time.Now(), time.Hour, nil)
	if err != nil {
		a.Fatal(err)
	}
	return "?" + url.Values{"sdkappid": {a.app.String()}, "identifier": {identifier}, "usersig": {sig}}.Encode()
}

// attributes names the app's first slots.
func (a *api) attributes(names ...string) {
	a.Helper()
	slots := map[string]string{}
	for i, n := range names {
		slots[fmt.Sprint(i)] = n
	}
	ok[attributeNames](a, http.StatusOK, http.MethodPut, "/v1/attributes", js(attributeNames{slots}))
}

// pushesOf counts the app's pushes on the broker.
func (a *api) pushesOf() int {
	a.Helper()
	all, err := a.pushesBetween(a.Context(), a.app, 1, 1<<62, 1<<20)
	if err != nil {
		a.Fatal(err)
	}
	return len(all)
}

func js(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	return strings.TrimSpace(b.String())
}

// list is a JSON array of n texts.
func list(n int, format string) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(format, i)
	}
	return "[" + strings.Join(all, ",") + "]"
}

var long51 = strings.Repeat("x", 51)

func names(accounts []account) []string {
	all := []string{}
	for _, a := range accounts {
		all = append(all, a.Account)
	}
	slices.Sort(all)
	return all
}
