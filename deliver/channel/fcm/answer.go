package fcm

import (
	"net/http"
	"time"

	"github.com/carillon-push/carillon/deliver/channel"
)

// answer is what messages:send answers: a name, or an error of the form of Google's APIs.
type answer struct {
	Name  string `json:"name"`
	Error struct {
		Message string `json:"message"`
		Status  string `json:"status"`
		Details []struct {
			Type            string `json:"@type"`
			ErrorCode       string `json:"errorCode"` // of an FcmError
			FieldViolations []struct {
				Field string `json:"field"`
			} `json:"fieldViolations"` // of a BadRequest
		} `json:"details"`
	} `json:"error"`
}

const (
	fcmError   = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
	badRequest = "type.googleapis.com/google.rpc.BadRequest"

	invalidArgument = "INVALID_ARGUMENT"
	quotaExceeded   = "QUOTA_EXCEEDED"
	unauthenticated = "UNAUTHENTICATED"
	invalidToken    = "token" // our name for the one that is about the token
)

// quotaPause is how long Google asks to be left alone when a quota is used up and no Retry-After says how long.
const quotaPause = time.Minute

// outcomes is what FCM's documented error codes, and the statuses of Google's APIs in general, mean for a device.
var outcomes = map[string]channel.Outcome{
	"UNREGISTERED": channel.Gone,
	invalidToken:   channel.Gone,

	invalidArgument: channel.Refused,
	// The token is of another project. It would never do, but if the configured project is the wrong one, all are like that.
	"SENDER_ID_MISMATCH": channel.Refused,
	// Google's own credentials for Apple, or for Web Push, are missing in the project: it concerns tokens of those kinds only.
	"THIRD_PARTY_AUTH_ERROR": channel.Refused,

	quotaExceeded: channel.Later,
	"UNAVAILABLE": channel.Later,
	"INTERNAL":    channel.Later,

	unauthenticated:     channel.Denied,
	"PERMISSION_DENIED": channel.Denied,

	"NOT_FOUND":           channel.Refused,
	"FAILED_PRECONDITION": channel.Refused,
	"OUT_OF_RANGE":        channel.Refused,
	"RESOURCE_EXHAUSTED":  channel.Later,
	"DEADLINE_EXCEEDED":   channel.Later,
	"ABORTED":             channel.Later,
	"UNKNOWN":             channel.Later,
}

// reason is FCM's error code, or the API's status where there is none.
func (a *answer) reason() string {
	aboutToken, aboutRequest := false, false
	reason := a.Error.Status
	for _, d := range a.Error.Details {
		switch d.Type {
		case fcmError:
			if d.ErrorCode != "UNSPECIFIED_ERROR" { // which says less than the status
				reason = d.ErrorCode
			}
		case badRequest:
			aboutRequest = true
			for _, v := range d.FieldViolations {
				aboutToken = aboutToken || v.Field == "message.token"
			}
		}
	}
	// The documentation tells a token that is none from other invalid arguments by this message and the absence of a
	// BadRequest; the API has named the field too.
	aboutToken = aboutToken || !aboutRequest && a.Error.Message == "The registration token is not a valid FCM registration token"
	if reason == invalidArgument && aboutToken {
		return invalidToken
	}
	return reason
}

// result is what an answer means for the device.
func (a *answer) result(status int, header http.Header) channel.Result {
	if status == http.StatusOK {
		return channel.Result{Outcome: channel.Sent, ID: a.Name}
	}
	r := channel.Result{Reason: a.reason()}
	r.Outcome = outcomes[r.Reason]
	if r.Outcome == 0 {
		r = channel.Result{Outcome: undocumented(status), Reason: channel.ReasonOther}
	}
	if r.Reason == invalidToken {
		r.Reason = invalidArgument
	}
	if r.Outcome == channel.Later {
		r.After = channel.RetryAfter(header)
		if r.After == 0 && (r.Reason == quotaExceeded || status == http.StatusTooManyRequests) {
			r.After = quotaPause
		}
	}
	return r
}

// undocumented is what a status means whose error has no code that is documented.
func undocumented(status int) channel.Outcome {
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return channel.Denied
	case status == http.StatusTooManyRequests, status >= 500, status < 400:
		return channel.Later
	default:
		return channel.Refused
	}
}
