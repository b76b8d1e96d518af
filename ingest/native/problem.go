package native

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/carillon-push/carillon/ingest"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/directory"
)

// Codes of problems. They are stable: programs go by them.
const (
	codeJSON            = "invalid_json"
	codeField           = "invalid_field"
	codeMissing         = "missing_field"
	codeUnknownField    = "unknown_field"
	codeParameter       = "invalid_parameter"
	codeTooLong         = "too_long"
	codeUnauthenticated = "unauthenticated"
	codeForbidden       = "forbidden"
	codePath            = "no_such_path"
	codeMethod          = "method_not_allowed"
	codeAccount         = "no_such_account"
	codePush            = "no_such_push"
	codeNotOver         = "push_not_over"
	codeRevoked         = "push_revoked"
	codeReplayed        = "push_replayed"
	codeForgotten       = "audience_gone"
	codeNobody          = "nobody_missed"
	codeAttribute       = "unknown_attribute"
	codeSender          = "unknown_sender"
	codeTags            = "too_many_tags"
	codeKeyReused       = "idempotency_key_reused"
	codeRate            = "rate_limited"
	codeInterval        = "push_interval"
	codePerDay          = "push_per_day"
	codeDisabled        = "app_disabled"
	codePushDisabled    = "push_disabled"
	codeUnavailable     = "unavailable"
	codeInternal        = "internal"
)

// problem is an answer of application/problem+json. Its type is about:blank: the code says more than a page would.
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
	// Pointer is the JSON pointer of the field that is wrong.
	Pointer *string `json:"pointer,omitempty"`

	retryAfter time.Duration
}

func (p *problem) Error() string { return p.Detail }

func refuse(status int, code, format string, args ...any) *problem {
	return &problem{Title: http.StatusText(status), Status: status, Code: code, Detail: fmt.Sprintf(format, args...)}
}

func (p *problem) at(pointer string) *problem {
	p.Pointer = &pointer
	return p
}

func (p *problem) after(d time.Duration) *problem {
	p.retryAfter = d
	return p
}

// invalid is a field of the body that is not what it must be.
func invalid(pointer, format string, args ...any) *problem {
	return refuse(http.StatusBadRequest, codeField, format, args...).at(pointer)
}

// errNow marks an error of which the caller learns only that it may try again.
var errNow = errors.New("cannot be done now")

// quotaCodes are the contract's codes of what a Quota refuses.
var quotaCodes = map[ingest.Code]string{90024: codeInterval, 90047: codePerDay}

// problemOf is the one place where an error becomes an answer. Whatever is not in it is an internal error, of which the
// caller sees no detail.
func problemOf(err error) *problem {
	var p *problem
	var quota *ingest.QuotaError
	var field *ingest.FieldError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &quota):
		code, known := quotaCodes[quota.Code]
		if !known {
			code = codeRate
		}
		return refuse(http.StatusTooManyRequests, code, "%s", quota.Detail).after(quota.RetryAfter)
	case errors.As(err, &field):
		return invalid(pointer(field.Path), "%s", field.Error())
	case errors.Is(err, directory.ErrNoAccount):
		return refuse(http.StatusNotFound, codeAccount, "%s", err.Error())
	case errors.Is(err, errNow), errors.Is(err, broker.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		return refuse(http.StatusServiceUnavailable, codeUnavailable, "this cannot be done now: try again").after(time.Second)
	}
	return refuse(http.StatusInternalServerError, codeInternal, "internal error: try again")
}

// pointer makes the JSON pointer of a path like body[0].MsgContent.Text, whose names have no characters to escape.
func pointer(path string) string {
	return "/" + strings.NewReplacer("[", "/", "]", "", ".", "/").Replace(path)
}

// maxDetail bounds a detail in bytes: it may quote what the caller sent.
const maxDetail = 400

func (p *problem) bounded() *problem {
	q := *p
	if len(q.Detail) > maxDetail {
		cut := maxDetail
		for cut > 0 && !utf8.RuneStart(q.Detail[cut]) {
			cut--
		}
		q.Detail = q.Detail[:cut] + "..."
	}
	return &q
}
