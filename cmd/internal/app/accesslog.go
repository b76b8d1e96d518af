package app

import (
	"log/slog"
	"net/http"
	"regexp"
	"time"

	"github.com/carillon-push/carillon/pkg/push"
)

// accessLog writes a line for each request, or for each that failed. Nothing that may be a secret is in it: no part of a
// body or header, and of the URL only what cannot hold a UserSig.
type accessLog struct {
	log *slog.Logger
	all bool
}

// plain is the part of a path that is logged. A path with more in it is not one of ours: with a ? or & that was escaped by
// mistake it holds the whole query.
var plain = regexp.MustCompile(`^[A-Za-z0-9_./-]{0,128}`)

func (l *accessLog) request(r *http.Request, a *answer, took time.Duration) {
	if l == nil || !l.all && a.status < http.StatusBadRequest && a.code == 0 {
		return
	}
	path := plain.FindString(r.URL.Path)
	if path != r.URL.Path {
		path += "…"
	}
	attrs := []slog.Attr{
		slog.String("method", method(r)), slog.String("path", path), slog.Int("status", a.status), slog.Int("code", a.code),
		slog.Int64("bytes", a.bytes), slog.Duration("took", took), slog.String("remote", r.RemoteAddr),
	}
	q := r.URL.Query()
	if app, err := push.ParseAppID(q.Get("sdkappid")); err == nil {
		attrs = append(attrs, slog.Uint64("sdkappid", uint64(app)))
	}
	// Who claims to call, whether or not the signature agrees. An account is too short to hold one.
	if who := q.Get("identifier"); push.ValidAccount(who) == nil {
		attrs = append(attrs, slog.String("identifier", who))
	}
	l.log.LogAttrs(r.Context(), slog.LevelInfo, "request", attrs...)
}

// method is one that HTTP knows: a client can send any word.
func method(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return r.Method
	}
	return "other"
}
