package bulk

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/carillon-push/carillon/pkg/client"
	"github.com/carillon-push/carillon/pkg/usersig"
)

const (
	accountsPath = "/v1/accounts"
	devicesPath  = "/v1/devices"
	// maxAnswer bounds what is read of an answer, in bytes: no page of users is longer.
	maxAnswer = 64 << 20
	// maxProblem is how much of a refusal is shown, in bytes.
	maxProblem = 1000
	sigLife    = time.Hour
)

// native calls the interface under /v1 until it answers, as the same admin as the contract's. A refusal that will stay is a
// *client.Error with the HTTP status for its code. A nil body is none, and to a nil answer none is read.
func (c *caller) native(ctx context.Context, method, path string, query url.Values, body, answer any) error {
	return c.do(ctx, func(ctx context.Context) error { return c.nativeOnce(ctx, method, path, query, body, answer) })
}

func (c *caller) nativeOnce(ctx context.Context, method, path string, query url.Values, body, answer any) error {
	var data []byte
	if body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			return fmt.Errorf("lay out the body: %w", err)
		}
	}
	sig, err := usersig.Sign(c.rest.Key, c.rest.App, c.rest.Admin, time.Now(), sigLife, nil)
	if err != nil {
		return fmt.Errorf("sign for %q: %w", c.rest.Admin, err)
	}
	q := url.Values{"sdkappid": {c.rest.App.String()}, "identifier": {c.rest.Admin}, "usersig": {sig}}
	for name, values := range query {
		q[name] = values
	}
	req, err := http.NewRequestWithContext(ctx, method, c.rest.URL+path+"?"+q.Encode(), bytes.NewReader(data))
	if err != nil {
		return withoutURL(err)
	}
	req.Header.Set("Content-Type", "application/json")
	hc := c.rest.HTTP
	if hc == nil {
		hc = http.DefaultClient
	}
	resp, err := hc.Do(req)
	if err != nil {
		return withoutURL(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return problem(resp)
	}
	if answer == nil {
		_, err := io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer)) // so that the connection can be used again
		return err
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(answer); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return nil
}

// problem is an answer that is no success.
func problem(resp *http.Response) error {
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	if err != nil {
		return fmt.Errorf("HTTP %d: %w", resp.StatusCode, err)
	}
	info := strings.TrimSpace(string(raw))
	var details struct{ Detail string }
	if json.Unmarshal(raw, &details) == nil && details.Detail != "" {
		info = details.Detail
	}
	if resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests {
		return fmt.Errorf("HTTP %d: %s", resp.StatusCode, info)
	}
	return &client.Error{Command: resp.Request.Method + " " + resp.Request.URL.Path, Code: resp.StatusCode, Info: info}
}

// merge tells the service of some users, of whom it takes all or none.
func (c *caller) merge(ctx context.Context, entries []*entry) error {
	accounts := make([]json.RawMessage, len(entries))
	for i, e := range entries {
		accounts[i] = e.body
	}
	return c.native(ctx, http.MethodPost, accountsPath, nil, map[string]any{"accounts": accounts}, nil)
}

// addDevices registers the devices of some users, of whom there are at most perDevices, and so a thousand devices.
func (c *caller) addDevices(ctx context.Context, entries []*entry) error {
	type device struct {
		Account       string `json:"account,omitempty"`
		AccountBase64 []byte `json:"accountBase64,omitempty"`
		Device
	}
	var devices []device
	var owners []*entry
	for _, e := range entries {
		for _, d := range e.user.Devices {
			next := device{Account: e.user.Account, Device: d}
			if !utf8.ValidString(e.user.Account) {
				next.Account, next.AccountBase64 = "", []byte(e.user.Account)
			}
			devices, owners = append(devices, next), append(owners, e)
		}
	}
	var answer struct {
		Refused []struct {
			Index  int
			Detail string
		}
	}
	if err := c.native(ctx, http.MethodPost, devicesPath, nil, map[string]any{"devices": devices}, &answer); err != nil {
		return err
	}
	for _, r := range answer.Refused {
		if r.Index >= 0 && r.Index < len(owners) {
			owners[r.Index].err = fmt.Errorf("the service refuses a device: %s", r.Detail)
		}
	}
	return nil
}
