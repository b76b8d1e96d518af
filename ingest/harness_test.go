package ingest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/usersig"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	key   = "0123456789abcdef"
	admin = "administrator"
)

var lastApp atomic.Uint32

// api is one app on an Ingest of its own, reached over HTTP.
type api struct {
	t   testing.TB
	b   *broker.Broker
	app push.AppID
	*Ingest
	reg *prometheus.Registry
	srv *httptest.Server
}

// serveAPI mounts an Ingest with a new app on a broker; limits are off unless change sets them.
func serveAPI(t testing.TB, b *broker.Broker, change ...func(*Config, *App)) *api {
	t.Helper()
	id := push.AppID(1400000000 + lastApp.Add(1))
	return serveApp(t, b, id, change...)
}

func serveApp(t testing.TB, b *broker.Broker, id push.AppID, change ...func(*Config, *App)) *api {
	t.Helper()
	if err := b.EnsureApp(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	cfg, app := Default(), App{ID: id, Keys: []string{"another key", key}, Admins: []string{admin, "second"}, CallsPerSecond: 1e6}
	for _, c := range change {
		c(&cfg, &app)
	}
	cfg.Apps = []App{app}
	reg := prometheus.NewRegistry()
	i, err := New(cfg, b, reg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	e := echo.New()
	i.Mount(e)
	srv := httptest.NewServer(e)
	t.Cleanup(srv.Close)
	return &api{t: t, b: b, app: id, Ingest: i, reg: reg, srv: srv}
}

// sign makes a UserSig that is valid for an hour.
func (a *api) sign(identifier string) string {
	a.t.Helper()
	sig, err := usersig.Sign(key, a.app, identifier, time.Now(), time.Hour, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	return sig
}

// query is a URL's parameters as an admin sends them, with some changed; an empty value leaves one out.
func (a *api) query(change map[string]string) string {
	params := map[string]string{
		"sdkappid": a.app.String(), "identifier": admin, "random": "99999999", "contenttype": "json",
	}
	if _, set := change["usersig"]; !set {
		params["usersig"] = a.sign(admin)
	}
	maps.Copy(params, change)
	q := url.Values{}
	for k, v := range params {
		if v != "" {
			q.Set(k, v)
		}
	}
	return q.Encode()
}

// reply is an answer, with its three fields read.
type reply struct {
	Status       int `json:"-"`
	Raw          string
	ActionStatus string
	ErrorInfo    string
	ErrorCode    Code
	TaskId       string
}

// do sends a request and checks what every answer must be like.
func (a *api) do(method, path, body string) reply {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), method, a.srv.URL+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	res, err := a.srv.Client().Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	r := reply{Status: res.StatusCode, Raw: string(raw)}
	if method == http.MethodHead {
		return r
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		a.t.Fatalf("%s %s answers %d %q: %v", method, path, res.StatusCode, raw, err)
	}
	if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusRequestEntityTooLarge {
		a.t.Errorf("%s: HTTP status %d", path, res.StatusCode)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	var order []string
	for range 6 {
		tok, err := d.Token()
		if err != nil {
			a.t.Fatal(err)
		}
		order = append(order, fmt.Sprint(tok))
	}
	if order[1] != "ActionStatus" || order[3] != "ErrorInfo" || order[5] != "ErrorCode" {
		a.t.Errorf("%s: the answer begins otherwise: %s", path, raw)
	}
	if (r.ActionStatus == "OK") != (r.ErrorCode == 0) || (r.ErrorInfo == "") != (r.ErrorCode == 0) {
		a.t.Errorf("%s: an outcome against itself: %s", path, raw)
	}
	return r
}

// call has an admin call a command, like all_member_push/im_push.
func (a *api) call(command, body string) reply {
	a.t.Helper()
	return a.do(http.MethodPost, "/v4/"+command+"?"+a.query(nil), body)
}

// ok is call for what must succeed.
func (a *api) ok(command, body string) reply {
	a.t.Helper()
	r := a.call(command, body)
	if r.ErrorCode != codeOK {
		a.t.Fatalf("%s %s: %s", command, body, r.Raw)
	}
	return r
}

// refused is call for what must be refused with a code, and a text that holds info.
func (a *api) refused(want Code, info, command, body string) {
	a.t.Helper()
	if r := a.call(command, body); r.ErrorCode != want || !strings.Contains(r.ErrorInfo, info) {
		a.t.Errorf("%s %.200s:\n got %s\nwant %d, %q", command, body, r.Raw, want, info)
	}
}

// extra checks the members of an answer behind the three fields.
func (r reply) extra(t testing.TB, want string) {
	t.Helper()
	const head = `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0`
	if want != "" {
		want = "," + want
	}
	if r.Raw != head+want+"}" {
		t.Errorf("answer %s\n  want %s%s}", r.Raw, head, want)
	}
}

const (
	login  = "im_open_login_svc/"
	all    = "all_member_push/"
	imPush = all + "im_push"
	online = "openim/query_online_status"
)

// strs is a JSON array of n strings.
func strs(n int, format string) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(format, i)
	}
	b, err := json.Marshal(list)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// elems is a JSON array of n values of a format with the number in it.
func elems(n int, format string) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(format, i)
	}
	return "[" + strings.Join(list, ",") + "]"
}

var long51 = strings.Repeat("x", 51)

// signAt makes a UserSig for a test's own clock.
func signAt(a *api, at time.Time) (string, error) {
	return usersig.Sign(key, a.app, admin, at, 1000*time.Hour, nil)
}
