package app

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// answer is a ResponseWriter that knows what was answered, and gives a client that reads slowly as much time as it needs
// while it reads at all: the time limit is for each piece.
type answer struct {
	http.ResponseWriter
	timeout time.Duration // zero for none

	status int // zero until the answer has begun
	bytes  int64
	code   int // ErrorCode of an answer in the contract's form that says FAIL
}

// piece is how much must be taken within the time limit, in bytes.
const piece = 64 << 10

// Unwrap lets http.ResponseController reach the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) WriteHeader(status int) {
	if status >= http.StatusOK || status == http.StatusSwitchingProtocols { // else more headers follow
		a.begin(status)
	}
	a.extend()
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) begin(status int) {
	if a.status == 0 {
		a.status = status
	}
}

// extend gives the client the whole time limit from now. Without support for it the server's own limit holds.
func (a *answer) extend() {
	if a.timeout > 0 {
		_ = http.NewResponseController(a.ResponseWriter).SetWriteDeadline(time.Now().Add(a.timeout))
	}
}

func (a *answer) Write(b []byte) (n int, err error) {
	a.begin(http.StatusOK)
	if a.bytes == 0 {
		a.code = failureCode(b)
	}
	for {
		a.extend()
		m, err := a.ResponseWriter.Write(b[n:min(len(b), n+piece)])
		n += m
		a.bytes += int64(m)
		if err != nil || n == len(b) {
			return n, err
		}
	}
}

// fail is how an answer begins that says FAIL.
var fail = []byte(`{"ActionStatus":"FAIL"`)

// failureCode reads the ErrorCode of an answer that says FAIL; such answers are short, and written at once.
func failureCode(b []byte) int {
	if !bytes.HasPrefix(b, fail) {
		return 0
	}
	var a struct{ ErrorCode int }
	_ = json.Unmarshal(b, &a) // what cannot be read has no code
	return a.ErrorCode
}

// internalError is the contract's code for what is not the caller's fault: it should try again.
const internalError = 91000

// contract says whether a path's answers have the contract's three fields; elsewhere an error is a problem of RFC 9457.
func contract(path string) bool {
	return path == "/v4" || strings.HasPrefix(path, "/v4/") || path == "/v1/session"
}

// problemCodes are the codes of problems, those of the /v1 interface, by status.
var problemCodes = map[int]string{
	http.StatusNotFound: "no_such_path", http.StatusMethodNotAllowed: "method_not_allowed",
	http.StatusInternalServerError: "internal", http.StatusServiceUnavailable: "unavailable",
}

// refuse answers a request that did not reach its handler, or of which no more can be said.
func refuse(w http.ResponseWriter, r *http.Request, status int, info string) {
	var body any
	contentType := "application/problem+json"
	if contract(r.URL.Path) {
		contentType = "application/json"
		body = struct {
			ActionStatus, ErrorInfo string
			ErrorCode               int
		}{"FAIL", info, internalError}
	} else {
		body = struct {
			Title  string `json:"title"`
			Status int    `json:"status"`
			Code   string `json:"code,omitempty"`
			Detail string `json:"detail"`
		}{http.StatusText(status), status, problemCodes[status], info}
	}
	raw, _ := json.Marshal(body) // strings and numbers always can be
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = w.Write(raw) // a client that has gone needs no answer
}
