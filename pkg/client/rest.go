// Package client is the Go SDK: REST for operators (REST), and sessions for an app's users (Listen).
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
	"sync"
	"time"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/usersig"
)

// REST calls the service as an operator's server does. Its methods are safe for concurrent use.
type REST struct {
	// URL is the service's base, such as http://127.0.0.1:8080.
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

// Error is an answer whose ActionStatus is FAIL.
type Error struct {
	Command string
	// Code and Info are ErrorCode and ErrorInfo of the contract.
	Code int
	Info string
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %d: %s", e.Command, e.Code, e.Info) }

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
	sig, err := c.signature()
	if err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	q := url.Values{
		"sdkappid": {c.App.String()}, "identifier": {c.Admin}, "usersig": {sig},
		"random": {strconv.FormatUint(uint64(rand.Uint32()), 10)}, "contenttype": {"json"},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL+"/v4/"+command+"?"+q.Encode(), bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	req.Header.Set("Content-Type", "application/json")
	hc := c.HTTP
	if hc == nil {
		hc = http.DefaultClient
	}
	resp, err := hc.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", command, withoutURL(err))
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%s: read the answer: %w", command, err)
	}
	var head struct {
		ActionStatus string
		ErrorInfo    string
		ErrorCode    int
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return fmt.Errorf("%s: HTTP %d with an answer that is not JSON", command, resp.StatusCode)
	}
	if head.ActionStatus != "OK" {
		return &Error{command, head.ErrorCode, head.ErrorInfo}
	}
	if answer != nil {
		if err := json.Unmarshal(raw, answer); err != nil {
			return fmt.Errorf("%s: read the answer: %w", command, err)
		}
	}
	return nil
}

// Push posts im_push and gives the TaskId.
func (c *REST) Push(ctx context.Context, body any) (push.TaskID, error) {
	var answer struct{ TaskId push.TaskID } //nolint:revive // the contract's spelling
	err := c.Call(ctx, "all_member_push/im_push", body, &answer)
	return answer.TaskId, err
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

// withoutURL takes the URL out of an HTTP client's error: it holds the signature.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
