package native

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/directory"
	"github.com/carillon-push/carillon/pkg/history"
)

// Native answers /v1. Its methods are safe for concurrent use.
type Native struct {
	cfg        Config
	b          *broker.Broker
	dir        *directory.Directory
	history    *history.History
	log        *slog.Logger
	metrics    *metrics
	operations []*operation
	tenants    atomic.Pointer[tenants]
	now        func() time.Time
}

// New makes the interface on a broker that has the apps' streams (broker.EnsureApp).
func New(cfg Config, b *broker.Broker, reg prometheus.Registerer, log *slog.Logger) (*Native, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m, err := newMetrics(reg)
	if err != nil {
		return nil, err
	}
	n := &Native{
		cfg: cfg, b: b, dir: directory.New(b), history: history.New(b, log), log: log.With("component", "native"),
		metrics: m, now: time.Now,
	}
	n.operations = n.table()
	return n, n.SetApps(cfg.Apps)
}

// SetApps changes the apps that may be called for. Requests that are under way go on as they began.
func (n *Native) SetApps(apps []App) error {
	all, err := n.tenantsOf(apps)
	if err != nil {
		return err
	}
	n.tenants.Store(all)
	return nil
}

// operation is one method of one resource.
type operation struct {
	id     string // as in openapi.json
	method string
	path   string // as Echo writes it
	role   Role
	// hasBody says that a body is read; without one it is an error only to who needs a field of it.
	hasBody bool
	handle  func(context.Context, *call) (*reply, error)
}

// table is every operation.
func (n *Native) table() []*operation {
	const accounts, account, attributes, pushes = "/v1/accounts", "/v1/accounts/:account", "/v1/attributes", "/v1/pushes"
	return []*operation{
		{"listAccounts", http.MethodGet, accounts, Read, false, n.listAccounts},
		{"mergeAccounts", http.MethodPost, accounts, Admin, true, n.mergeAccounts},
		{"putAccount", http.MethodPut, account, Admin, true, n.putAccount},
		{"getAccount", http.MethodGet, account, Read, false, n.getAccount},
		{"patchAccount", http.MethodPatch, account, Admin, true, n.patchAccount},
		{"deleteAccount", http.MethodDelete, account, Admin, false, n.deleteAccount},
		{"listDevices", http.MethodGet, account + "/devices", Read, false, n.listDevices},
		{"deleteDevice", http.MethodDelete, account + "/devices/:device", Admin, false, n.deleteDevice},
		{"createDevices", http.MethodPost, "/v1/devices", Admin, true, n.createDevices},
		{"getAttributes", http.MethodGet, attributes, Read, false, n.getAttributes},
		{"putAttributes", http.MethodPut, attributes, Admin, true, n.putAttributes},
		{"createPush", http.MethodPost, pushes, Push, true, n.createPush},
		{"listPushes", http.MethodGet, pushes, Read, false, n.listPushes},
		{"getPush", http.MethodGet, pushes + "/:id", Read, false, n.getPush},
		{"deletePush", http.MethodDelete, pushes + "/:id", Push, false, n.deletePush},
		{"tracePush", http.MethodGet, pushes + "/:id/users/:account", Read, false, n.tracePush},
		{"replayPush", http.MethodGet, pushes + "/:id/replay", Read, false, n.replayPush},
		{"createReplay", http.MethodPost, pushes + "/:id/replay", Push, true, n.createReplay},
	}
}

// Mount answers the resources, /v1/openapi.json and /v1/docs of an Echo server, and refuses other methods on their paths,
// and whatever nobody else answers under /v1, with a problem.
func (n *Native) Mount(e *echo.Echo) {
	methods := map[string][]string{}
	for _, o := range n.operations {
		methods[o.path] = append(methods[o.path], o.method)
		e.Add(o.method, o.path, func(c echo.Context) error { return n.serve(c, o) })
	}
	for path, body := range pages() {
		methods[path] = []string{http.MethodGet}
		e.GET(path, body)
	}
	for path, allowed := range methods {
		slices.Sort(allowed)
		for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodHead, http.MethodOptions} {
			if !slices.Contains(allowed, m) {
				e.Add(m, path, func(c echo.Context) error {
					c.Response().Header().Set("Allow", strings.Join(allowed, ", "))
					return write(c, refuse(http.StatusMethodNotAllowed, codeMethod, "there is %s here", strings.Join(allowed, ", ")))
				})
			}
		}
	}
	e.RouteNotFound("/v1/*", func(c echo.Context) error {
		return write(c, refuse(http.StatusNotFound, codePath, "there is nothing at this path; see /v1/docs"))
	})
}

// reply is what a handler gives.
type reply struct {
	status int
	body   any // nil for none
	header map[string]string
}

// serve answers one request.
func (n *Native) serve(c echo.Context, o *operation) error {
	start, status := time.Now(), 0
	out, err := n.run(c, o)
	if err != nil {
		p := problemOf(err)
		if p.Status >= http.StatusInternalServerError {
			n.log.Error("a request failed", "operation", o.id, "err", err)
		}
		status, err = p.Status, write(c, p)
	} else {
		for k, v := range out.header {
			c.Response().Header().Set(k, v)
		}
		status, err = out.status, send(c, out.status, "application/json", out.body)
	}
	n.metrics.request(o.id, status, time.Since(start))
	return err
}

// write answers with a problem.
func write(c echo.Context, p *problem) error {
	h := c.Response().Header()
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Bearer")
	}
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(p.retryAfter.Seconds()))))
	}
	return send(c, p.Status, "application/problem+json", p.bounded())
}

// send lays out an answer. Names of users and tags are given as they are, without escapes for HTML.
func send(c echo.Context, status int, kind string, body any) error {
	if body == nil {
		return c.NoContent(status)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(body); err != nil {
		return fmt.Errorf("encode an answer: %w", err)
	}
	return c.Blob(status, kind, b.Bytes())
}

// call is a request that passed every check that does not depend on its fields.
type call struct {
	*caller
	query  url.Values
	param  string   // the path's first parameter, decoded
	params []string // all of them
	body   field
	raw    []byte // the body as it was sent
	header http.Header
}

func (n *Native) run(c echo.Context, o *operation) (*reply, error) {
	r, start := c.Request(), time.Now()
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, codeParameter, "the URL's parameters cannot be parsed")
	}
	who, err := n.authenticate(r, q)
	if err != nil {
		return nil, err
	}
	if who.app.Disabled {
		return nil, refuse(http.StatusForbidden, codeDisabled, "the app is disabled")
	}
	if !who.may(o.role) {
		return nil, refuse(http.StatusForbidden, codeForbidden, "this API key has not the role %s", o.role)
	}
	if !who.app.calls[o].AllowN(n.now(), 1) {
		return nil, refuse(http.StatusTooManyRequests, codeRate, "%s is called too often: try again in a second", o.id).after(time.Second)
	}
	in := &call{caller: who, query: q, header: r.Header}
	for _, v := range c.ParamValues() {
		if v, err = param(r.URL, v); err != nil {
			return nil, err
		}
		in.params = append(in.params, v)
	}
	if len(in.params) > 0 {
		in.param = in.params[0]
	}
	if o.hasBody {
		if in.raw, err = n.read(r); err != nil {
			return nil, err
		}
		if in.body, err = parseBody(in.raw); err != nil {
			return nil, err
		}
	}
	// A caller that hangs up does not stop its request between two writes.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), n.cfg.CallTimeout)
	defer cancel()
	ctx, span := n.cfg.Tracer.Request(ctx, r, o.id, start)
	out, err := o.handle(ctx, in)
	if err == nil {
		span.Status(out.status)
	} else if span.Recording() {
		span.Status(problemOf(err).Status)
	}
	span.End(nil)
	return out, err
}

// param decodes a path's parameter, which Echo takes from the path as it was sent where that has escapes that Go would not
// have made.
func param(u *url.URL, v string) (string, error) {
	if strings.Contains(v, "/") { // a path that goes on: the router's last parameter takes all that is left
		return "", refuse(http.StatusNotFound, codePath, "there is nothing at this path; see /v1/docs")
	}
	if u.RawPath == "" {
		return v, nil
	}
	v, err := url.PathUnescape(v)
	if err != nil {
		return "", refuse(http.StatusBadRequest, codeParameter, "the path cannot be decoded")
	}
	return v, nil
}

// read takes the whole body, which may be of the limit's length. No body is an empty object.
func (n *Native) read(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, n.cfg.BodyLimit+1))
	if err != nil {
		return nil, refuse(http.StatusBadRequest, codeJSON, "the body broke off before its end")
	}
	if int64(len(body)) > n.cfg.BodyLimit {
		return nil, refuse(http.StatusRequestEntityTooLarge, codeTooLong, "the body is longer than %d bytes", n.cfg.BodyLimit)
	}
	if len(body) == 0 {
		body = []byte("{}")
	}
	return body, nil
}

// number reads a parameter of the URL from least to most, with a default where it is absent.
func (c *call) number(name string, absent, least, most uint64) (uint64, error) {
	s := c.query.Get(name)
	if s == "" {
		return absent, nil
	}
	v, err := strconv.ParseUint(s, 10, 64)
	if err != nil || v < least || v > most {
		return 0, refuse(http.StatusBadRequest, codeParameter, "%s is not a number from %d to %d", name, least, most)
	}
	return v, nil
}
