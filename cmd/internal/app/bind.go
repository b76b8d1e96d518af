package app

import (
	"context"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// Names of the listeners, in logs and metrics.
const (
	restListener     = "rest"
	sessionsListener = "sessions"
	adminListener    = "admin"
)

const (
	// idle is how long a connection is kept for the next request.
	idle = time.Minute
	// adminConnections is enough for those who watch a process, and cannot be used up by those who call it.
	adminConnections = 64
)

// bind opens the listeners of REST and of the probes: one for both, unless the probes have theirs. Then a process without
// the ingest role has nothing to say to operators, and no listener for them.
func (a *App) bind(ctx context.Context, rest *echo.Echo, ingests bool, m *Metrics) (err error) {
	if a.cfg.Admin.Listen != "" {
		if a.admins, err = newServer(ctx, a.adminServer(), m, a.log); err != nil || !ingests {
			return err
		}
	} else {
		probes := echo.WrapHandler(a.probes())
		for _, path := range []string{"/healthz", "/readyz", "/health", "/metrics"} {
			rest.GET(path, probes)
		}
	}
	l := a.restServer(rest)
	if a.cfg.HTTP.TLS() {
		if a.cert, err = loadCertificate("http", a.cfg.HTTP.TLSCert, a.cfg.HTTP.TLSKey, a.log); err != nil {
			return err
		}
		l.tls = a.cert.tls()
	}
	a.rest, err = newServer(ctx, l, m, a.log)
	return err
}

func (a *App) restServer(h http.Handler) listen {
	c := a.cfg.HTTP
	l := listen{
		name: restListener, address: c.Listen, handler: h, read: c.ReadTimeout, write: c.WriteTimeout, idle: idle,
		connections: c.MaxConnections,
	}
	if a.cfg.Log.Access != "off" {
		l.access = &accessLog{log: a.log, all: a.cfg.Log.Access == "all"}
	}
	return l
}

// bindSessions opens the listener of the users' sessions.
func (a *App) bindSessions(ctx context.Context, h http.Handler, m *Metrics) (err error) {
	c := a.cfg.Sessions
	l := listen{
		name: sessionsListener, address: c.Listen, handler: h, read: c.HandshakeTimeout, write: a.cfg.HTTP.WriteTimeout,
		idle: c.HandshakeTimeout, connections: c.MaxHandshakes,
	}
	if c.TLS() {
		if a.sessionsCert, err = loadCertificate("sessions", c.TLSCert, c.TLSKey, a.log); err != nil {
			return err
		}
		l.tls = a.sessionsCert.tls()
	}
	a.sessions, err = newServer(ctx, l, m, a.log)
	return err
}

// adminServer has no time limit on answers: a profile takes as long as it is asked to.
func (a *App) adminServer() listen {
	return listen{
		name: adminListener, address: a.cfg.Admin.Listen, handler: a.admin(), read: a.cfg.HTTP.ReadTimeout, idle: idle,
		connections: adminConnections,
	}
}

// URL of the REST interface, empty when this process has none.
func (a *App) URL() string { return a.rest.url("http") }

// Client reaches URL and SessionsURL, over TLS by trusting the process's own certificates.
func (a *App) Client() *http.Client {
	if a.cert == nil && a.sessionsCert == nil {
		return http.DefaultClient
	}
	return trust(a.cert, a.sessionsCert)
}

// AdminURL is where the probes are.
func (a *App) AdminURL() string {
	if a.admins == nil {
		return a.URL()
	}
	return a.admins.url("http")
}

// SessionsURL is the base of the sessions, empty without the deliver role.
func (a *App) SessionsURL() string { return a.sessions.url("ws") }
