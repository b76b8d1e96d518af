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
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/directory"
	"github.com/carillon-push/carillon/pkg/history"
	"github.com/carillon-push/carillon/pkg/push"
)

// Ingest answers the REST contract. Its methods are safe for concurrent use.
type Ingest struct {
	cfg      Config
	b        *broker.Broker
	dir      *directory.Directory
	history  *history.History
	log      *slog.Logger
	metrics  *metrics
	commands map[string]*command // by service/name
	tenants  atomic.Pointer[map[push.AppID]*tenant]
	setting  sync.Mutex // held while tenants are replaced
	failures *failures
	now      func() time.Time
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
	if cfg.Location == nil {
		cfg.Location = time.UTC
	}
	i := &Ingest{
		cfg: cfg, b: b, dir: directory.New(b), history: history.New(b, log), log: log.With("component", "ingest"), metrics: m, failures: f,
		commands: map[string]*command{}, now: time.Now,
	}
	for _, c := range i.table() {
		i.commands[c.service+"/"+c.name] = c
	}
	i.setApps(cfg.Apps)
	waiting := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "carillon_ingest_quota_waiting", Help: "Pushes that wait for others of their app to be paid for.",
	}, i.payers)
	if err := reg.Register(waiting); err != nil {
		return nil, fmt.Errorf("register the metrics of ingest: %w", err)
	}
	if err := reg.Register(quotaLeft{i}); err != nil {
		return nil, fmt.Errorf("register the metrics of ingest: %w", err)
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
			i.log.ErrorContext(r.Context(), "a request failed", "command", name, "err", err)
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
	start := time.Now()
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
	if c.app, c.caller, err = i.authenticate(q, r.RemoteAddr); err != nil {
		return cmd, nil, err
	}
	if c.app.Disabled {
		return cmd, nil, refuse(codeDisabled, "the app is disabled")
	}
	if !c.app.admins[c.caller] {
		return cmd, nil, refuse(cmd.family.rights, fmt.Sprintf("%q is no admin of app %d", c.caller, c.app.ID))
	}
	if !i.mayCall(c.app, cmd) {
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
	ctx, span := i.cfg.Tracer.Request(ctx, r, cmd.name, start)
	out, err := cmd.handle(ctx, c)
	if span.Recording() {
		code, _ := cmd.family.code(err)
		span.Int("code", int(code))
		span.End(nil)
	}
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
