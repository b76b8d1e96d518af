package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/directory"
	"github.com/carillon-push/carillon/pkg/push"
)

// Ingest answers the REST contract. Its methods are safe for concurrent use.
type Ingest struct {
	cfg      Config
	b        *broker.Broker
	dir      *directory.Directory
	log      *slog.Logger
	metrics  *metrics
	commands map[string]*command // by service/name
	tenants  map[push.AppID]*tenant
	failures *failures
	now      func() time.Time
}

// tenant is an app with what is counted of it.
type tenant struct {
	App
	admins map[string]bool
	calls  map[*command]*rate.Limiter
	quota  quota
}

// New makes an Ingest on a broker that has the apps' streams (broker.EnsureApp).
func New(cfg Config, b *broker.Broker, reg prometheus.Registerer, log *slog.Logger) (*Ingest, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m, err := newMetrics(reg)
	if err != nil {
		return nil, err
	}
	f, err := newFailures()
	if err != nil {
		return nil, err
	}
	i := &Ingest{
		cfg: cfg, b: b, dir: directory.New(b), log: log.With("component", "ingest"), metrics: m, failures: f,
		commands: map[string]*command{}, tenants: map[push.AppID]*tenant{}, now: time.Now,
	}
	table := i.table()
	for _, c := range table {
		i.commands[c.service+"/"+c.name] = c
	}
	for _, a := range cfg.Apps {
		t := &tenant{App: a, admins: map[string]bool{}, calls: map[*command]*rate.Limiter{}}
		t.quota.interval, t.quota.perDay = a.PushInterval, a.PushPerDay
		for _, admin := range a.Admins {
			t.admins[admin] = true
		}
		for _, c := range table {
			n := c.perSecond
			if a.CallsPerSecond > 0 {
				n = a.CallsPerSecond
			}
			t.calls[c] = rate.NewLimiter(rate.Limit(n), n)
		}
		i.tenants[a.ID] = t
	}
	return i, nil
}

// Mount answers everything under /v4 of an Echo server.
func (i *Ingest) Mount(e *echo.Echo) {
	e.POST("/v4/:service/:command", i.serve)
	// Whatever else is asked for under /v4, by any method, is answered in the contract's form too.
	for _, path := range []string{"/v4", "/v4/*"} {
		e.Any(path, i.serve)
		e.RouteNotFound(path, i.serve)
	}
}

// serve answers one request.
func (i *Ingest) serve(c echo.Context) error {
	start := time.Now()
	name, status, code := unknownCommand, http.StatusOK, codeOK
	r := c.Request()
	cmd, out, err := i.run(r, c.Param("service"), c.Param("command"))
	if cmd != nil {
		name = cmd.name
	}
	if err == nil {
		out.set(codeOK, "")
	} else {
		family := pushFamily
		if cmd != nil {
			family = cmd.family
		}
		var info string
		code, info = family.code(err)
		if code == family.internal {
			i.log.Error("a request failed", "command", name, "err", err)
		}
		if errors.Is(err, errBodyTooLong) {
			status = http.StatusRequestEntityTooLarge
		}
		out = failure(code, info)
	}
	body, err := encode(out)
	if err != nil {
		return fmt.Errorf("encode the answer to %s: %w", name, err)
	}
	took := time.Since(start)
	i.metrics.request(name, code, took)
	i.log.DebugContext(r.Context(), "request", "command", name, "code", int(code), "took", took)
	return c.JSONBlob(status, body)
}

// call is a request that passed every check that does not depend on its fields.
type call struct {
	app    *tenant
	caller string // the admin
	body   object
}

// run checks a request in the contract's order and has its command carried out. The command is nil when there is none.
func (i *Ingest) run(r *http.Request, service, name string) (*command, answer, error) {
	if service == "" || name == "" || strings.Contains(name, "/") { // the router's last parameter takes all that is left
		return nil, nil, refuse(codeURL, "the URL is not of the form POST /v4/{service}/{command}")
	}
	cmd := i.commands[service+"/"+name]
	q, err := i.query(r)
	if err != nil {
		return cmd, nil, err
	}
	if cmd == nil {
		return nil, nil, refuse(codeCommand, fmt.Sprintf("there is no command %s/%s", service, name))
	}
	c := &call{}
	if c.app, c.caller, err = i.authenticate(q); err != nil {
		return cmd, nil, err
	}
	if !c.app.admins[c.caller] {
		return cmd, nil, refuse(cmd.family.rights, fmt.Sprintf("%q is no admin of app %d", c.caller, c.app.ID))
	}
	if !c.app.calls[cmd].AllowN(i.now(), 1) {
		return cmd, nil, refuse(codeFrequency, fmt.Sprintf("%s is called too often: try again in a second", name))
	}
	raw, err := i.read(r, cmd.family)
	if err != nil {
		return cmd, nil, err
	}
	if c.body, err = parseBody(raw); err != nil {
		return cmd, nil, refuse(cmd.family.body, err.Error())
	}
	// A caller that hangs up does not stop its request between two writes.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), i.cfg.CallTimeout)
	defer cancel()
	out, err := cmd.handle(ctx, c)
	return cmd, out, err
}

// query checks the form of the URL's parameters. Those that nothing depends on may be absent.
func (i *Ingest) query(r *http.Request) (url.Values, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, refuse(codeURL, "the URL's parameters cannot be parsed")
	}
	if s := q.Get("random"); s != "" {
		if _, err := strconv.ParseUint(s, 10, 32); err != nil {
			return nil, refuse(codeURL, "random in the URL is not a number from 0 to 4294967295")
		}
	}
	if s := q.Get("contenttype"); s != "" && s != "json" {
		return nil, refuse(codeURL, "contenttype in the URL is not json")
	}
	return q, nil
}

var errBodyTooLong = &refusal{codeTooLong, "the body is longer than this service reads"}

// read takes the whole body, which may be of the limit's length.
func (i *Ingest) read(r *http.Request, f *family) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, i.cfg.BodyLimit+1))
	if err != nil {
		return nil, refuse(f.body, "the body broke off before its end")
	}
	if int64(len(body)) > i.cfg.BodyLimit {
		return nil, errBodyTooLong
	}
	return body, nil
}
