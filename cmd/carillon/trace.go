package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/carillon-push/carillon/pkg/history"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/usersig"
)

func traceCommand() *cobra.Command {
	var of nativeFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "trace PUSH USER",
		Short: "Tell what became of a push for a user, and why",
		Long: `Tell what became of a push for a user: whether its condition held, clause by clause as of the push's own place in the log, with
the change that would have made the difference, and when the push was sent, acknowledged and opened. PUSH is a TaskId. The
exit status is 1 when the audience and the user's record are at odds.`,
		Example: "  carillon trace 1400000001-42 alice",
		Args:    cobra.ExactArgs(2),
	}
	of.register(c)
	c.Flags().BoolVar(&asJSON, "json", false, "Print the answer of GET /v1/pushes/{id}/users/{account} as it is.")
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := push.ValidAccount(args[1]); err != nil {
			return err
		}
		n, err := of.native(c)
		if err != nil {
			return err
		}
		raw, err := n.get(c.Context(), "/v1/pushes/"+url.PathEscape(args[0])+"/users/"+url.PathEscape(args[1]), nil)
		if err != nil {
			return err
		}
		var t history.Trace
		if err := json.Unmarshal(raw, &t); err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
		if asJSON {
			_, err = c.OutOrStdout().Write(raw)
		} else {
			err = t.WriteText(c.OutOrStdout())
		}
		if err == nil && t.Fault != "" {
			err = errors.New(t.Fault)
		}
		return err
	}
	return c
}

// nativeFlags choose an app and where to call the interface under /v1 for it.
type nativeFlags struct {
	appFlags
	url string
}

// apiKeyVariable holds an API key to call with; without it the app's first admin signs.
const apiKeyVariable = "CARILLON_API_KEY"

func (f *nativeFlags) register(c *cobra.Command) {
	f.appFlags.register(c)
	c.Flags().StringVar(&f.url, "url", "", "The base of the REST interface, such as https://push.example.com. Empty: http.listen of the configuration.")
	c.Long += "\n\nCalled as the first admin of the app, or with the API key in the environment variable " + apiKeyVariable + "."
}

// native calls the interface under /v1.
type native struct {
	base   string
	header http.Header
	query  url.Values
}

func (f *nativeFlags) native(c *cobra.Command) (*native, error) {
	n := &native{base: strings.TrimSuffix(f.url, "/"), header: http.Header{}, query: url.Values{}}
	key := os.Getenv(apiKeyVariable)
	if key != "" {
		n.header.Set("Authorization", "Bearer "+key)
		if n.base != "" {
			return n, nil
		}
	}
	cfg, a, err := f.load(c)
	if err != nil {
		return nil, err
	}
	if n.base == "" {
		n.base = "http://" + cfg.HTTP.Listen
	}
	if key != "" {
		return n, nil
	}
	sig, err := usersig.Sign(a.Key, a.SDKAppID, a.Admins[0], time.Now(), time.Hour, nil)
	if err != nil {
		return nil, fmt.Errorf("sign for %q: %w", a.Admins[0], err)
	}
	n.query = url.Values{"sdkappid": {a.SDKAppID.String()}, "identifier": {a.Admins[0]}, "usersig": {sig}}
	return n, nil
}

// maxAnswer bounds an answer in bytes.
const maxAnswer = 64 << 20

// get reads one resource.
func (n *native) get(ctx context.Context, path string, query url.Values) ([]byte, error) {
	return n.call(ctx, http.MethodGet, path, query, nil)
}

// call does one operation, with a body unless that is nil. No error shows the signature, which is in the URL.
func (n *native) call(ctx context.Context, method, path string, query url.Values, body any) ([]byte, error) {
	q := url.Values{}
	for _, of := range []url.Values{n.query, query} {
		for name, values := range of {
			q[name] = values
		}
	}
	var sent []byte
	if body != nil {
		var err error
		if sent, err = json.Marshal(body); err != nil {
			return nil, fmt.Errorf("write the request: %w", err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, n.base+path+"?"+q.Encode(), bytes.NewReader(sent))
	if err != nil {
		return nil, hidden(err)
	}
	req.Header = n.header
	resp, err := (&http.Client{Timeout: callTimeout}).Do(req)
	if err != nil {
		return nil, hidden(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode > 299 {
		var problem struct{ Detail string }
		if json.Unmarshal(raw, &problem) != nil || problem.Detail == "" {
			problem.Detail = http.StatusText(resp.StatusCode)
		}
		return nil, fmt.Errorf("HTTP %d: %s", resp.StatusCode, problem.Detail)
	}
	return raw, nil
}

// hidden takes the URL out of an HTTP client's error.
func hidden(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
