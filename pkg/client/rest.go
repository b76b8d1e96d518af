package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/usersig"
)

// REST calls the service as an operator's server does. Its methods are safe for concurrent use. None of them tries again.
type REST struct {
	// URL is the service's base, such as https://push.example.com.
	URL string
	App push.AppID
	// Admin is the account that calls, and Key signs for it.
	Admin, Key string
	// HTTP is the client to use; nil for http.DefaultClient.
	HTTP *http.Client

	mu    sync.Mutex
	sig   string
	until time.Time // the signature is made anew from here on
}

// Error is a refusal of the service: an answer whose ActionStatus is FAIL, or of the native interface a problem.
type Error struct {
	Command string
	// Code and Info are ErrorCode and ErrorInfo of the contract; of the native interface the HTTP status and the detail.
	Code int
	Info string
	// Problem is the native interface's stable code, such as "no_such_push"; empty in the contract's answers.
	Problem string
}

func (e *Error) Error() string {
	if e.Problem != "" {
		return fmt.Sprintf("%s: HTTP %d: %s: %s", e.Command, e.Code, e.Problem, e.Info)
	}
	return fmt.Sprintf("%s: %d: %s", e.Command, e.Code, e.Info)
}

const (
	sigLife   = time.Hour
	sigMargin = 5 * time.Minute
	maxAnswer = 16 << 20 // bytes
)

// Call posts a body as JSON to a command such as "all_member_push/im_push", and reads the answer into answer unless that
// is nil. The error is an *Error when the service refused.
func (c *REST) Call(ctx context.Context, command string, body, answer any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("%s: lay out the body: %w", command, err)
	}
	q := url.Values{"random": {strconv.FormatUint(uint64(rand.Uint32()), 10)}, "contenttype": {"json"}}
	status, raw, err := c.do(ctx, http.MethodPost, "/v4/"+command, q, data)
	if err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	var head struct {
		ActionStatus string
		ErrorInfo    string
		ErrorCode    int
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return fmt.Errorf("%s: HTTP %d with an answer that is not JSON", command, status)
	}
	if head.ActionStatus != "OK" {
		return &Error{Command: command, Code: head.ErrorCode, Info: head.ErrorInfo}
	}
	if answer != nil {
		if err := json.Unmarshal(raw, answer); err != nil {
			return fmt.Errorf("%s: read the answer: %w", command, err)
		}
	}
	return nil
}

// Push posts im_push with a Message, or with anything else whose JSON is of that form, and gives the TaskId. Once it has
// returned without an error, the push is not lost.
func (c *REST) Push(ctx context.Context, body any) (push.TaskID, error) {
	var answer struct{ TaskId push.TaskID } //nolint:revive // the contract's spelling
	err := c.Call(ctx, "all_member_push/im_push", body, &answer)
	return answer.TaskId, err
}

// do makes one request, signed, and gives the status and the body of its answer. No error shows the signature.
func (c *REST) do(ctx context.Context, method, path string, q url.Values, body []byte) (status int, answer []byte, err error) {
	sig, err := c.signature()
	if err != nil {
		return 0, nil, err
	}
	for name, value := range map[string]string{"sdkappid": c.App.String(), "identifier": c.Admin, "usersig": sig} {
		q.Set(name, value)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(c.URL, "/")+path+"?"+q.Encode(), bytes.NewReader(body))
	if err != nil {
		return 0, nil, withoutURL(err)
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := withoutRedirects(c.HTTP).Do(req)
	if err != nil {
		return 0, nil, withoutURL(err)
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(answer) > maxAnswer {
		err = fmt.Errorf("it is longer than %d bytes", maxAnswer)
	}
	if err != nil {
		return 0, nil, fmt.Errorf("read the answer: %w", err)
	}
	return resp.StatusCode, answer, nil
}

// signature of the admin, made anew before it expires.
func (c *REST) signature() (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if now.Before(c.until) {
		return c.sig, nil
	}
	sig, err := usersig.Sign(c.Key, c.App, c.Admin, now, sigLife, nil)
	if err != nil {
		return "", fmt.Errorf("sign for %q: %w", c.Admin, err)
	}
	c.sig, c.until = sig, now.Add(sigLife-sigMargin)
	return sig, nil
}

// withoutRedirects is a client that follows no redirect, unless it says by itself which: they would give the signature,
// which is in the URL, to whomever they name. The one given is left as it is; nil stands for http.DefaultClient.
func withoutRedirects(c *http.Client) *http.Client {
	if c == nil {
		c = http.DefaultClient
	}
	if c.CheckRedirect != nil {
		return c
	}
	mine := *c
	mine.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &mine
}

// withoutURL takes the URL out of an HTTP client's error: it holds the signature.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
