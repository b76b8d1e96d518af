package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/carillon-push/carillon/pkg/push"
)

// Revocation is what the revocation of a push has come to. The numbers are of users.
type Revocation struct {
	ID push.TaskID `json:"id"`
	// State is "revoking" as long as sessions may still get the push, and then "revoked".
	State string `json:"state"`
	// Audience is whom the push was for. Received have acknowledged it, Sent were only sent it, and Withheld will not get it.
	Audience uint64 `json:"audience"`
	Received uint64 `json:"received"`
	Sent     uint64 `json:"sent"`
	Withheld uint64 `json:"withheld"`
}

// Revoke cancels a push: who has not got it does not get it, and who has is told so. Revoking it again changes nothing, and
// tells how far it has come. The error is an *Error when the service refused, with the Problem "no_such_push" for one that
// never was or whose time is over.
func (c *REST) Revoke(ctx context.Context, id push.TaskID) (Revocation, error) {
	var r Revocation
	err := c.native(ctx, http.MethodDelete, "/v1/pushes/"+url.PathEscape(string(id)), &r)
	return r, err
}

// native calls the interface under /v1, which answers with HTTP's statuses.
func (c *REST) native(ctx context.Context, method, path string, answer any) error {
	command := method + " " + path
	status, raw, err := c.do(ctx, method, path, url.Values{}, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	if status < 200 || status > 299 {
		e := &Error{Command: command, Code: status, Info: http.StatusText(status)}
		var problem struct{ Code, Detail string }
		if json.Unmarshal(raw, &problem) == nil && problem.Detail != "" {
			e.Problem, e.Info = problem.Code, problem.Detail
		}
		return e
	}
	if err := json.Unmarshal(raw, answer); err != nil {
		return fmt.Errorf("%s: read the answer: %w", command, err)
	}
	return nil
}
