package soak

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/usersig"
)

// clock gives the moments of a run.
type clock struct{ start time.Time }

func (c clock) now() Moment { return time.Since(c.start) }

// Site is where a service is, and the app that calls it.
type Site struct {
	// REST are base URLs.
	REST []string
	// Gateways are the addresses of sessions, and Names what the cluster calls their processes.
	Gateways, Names []string
	App             push.AppID
	Admin, Key      string
}

// caller is everybody outside the service: operators and users.
type caller struct {
	l        *Ledger
	clock    clock
	site     Site
	gateways []string
	http     *http.Client
	turn     atomic.Uint64 // REST processes take turns
	haunting time.Duration // Config.Haunting

	mu   sync.Mutex
	sigs map[string]string
	busy map[int]Moment // accounts that a call is changing, until when: never while it runs
	// Accounts that nobody may log in to, and how many logins are under way.
	locked   map[int]bool
	dialling map[int]int
}

// callWait bounds one call. It is longer than a process is stopped, and than a revocation waits for the others, so that most
// of those calls get their answers.
const callWait = 12 * time.Second

func newCaller(l *Ledger, site Site, clock clock, haunting time.Duration) *caller {
	return &caller{
		l: l, clock: clock, site: site, gateways: site.Gateways, haunting: haunting,
		http: &http.Client{Timeout: callWait, Transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 10 * time.Second}},
		sigs: map[string]string{}, busy: map[int]Moment{}, locked: map[int]bool{}, dialling: map[int]int{},
	}
}

func (c *caller) gatewayName(address string) string {
	for i, g := range c.site.Gateways {
		if g == address {
			return c.site.Names[i]
		}
	}
	return address
}

// sigLife is longer than any run.
const sigLife = 30 * 24 * time.Hour

// query is what every call and login says of who makes it.
func (c *caller) query(account string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	q, known := c.sigs[account]
	if !known {
		sig, err := usersig.Sign(c.site.Key, c.site.App, account, time.Now(), sigLife, nil)
		if err != nil {
			c.l.Odd("%v", err)
		}
		q = url.Values{"sdkappid": {c.site.App.String()}, "identifier": {account}, "usersig": {sig}}.Encode()
		c.sigs[account] = q
	}
	return q
}

// errUnsure is a call of which nobody knows whether it was done.
var errUnsure = errors.New("no answer that says what became of it")

// do makes one call to one of the processes. The error is errUnsure for everything that a repeat may mend.
func (c *caller) do(ctx context.Context, method, path string, header map[string]string, body, answer any) (status int, err error) {
	var payload io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return 0, err
		}
		payload = bytes.NewReader(b)
	}
	base := c.site.REST[c.turn.Add(1)%uint64(len(c.site.REST))]
	r, err := http.NewRequestWithContext(ctx, method, base+path+"?"+c.query(c.site.Admin), payload)
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", "application/json")
	for k, v := range header {
		r.Header.Set(k, v)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return 0, errUnsure
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 500 {
		return resp.StatusCode, errUnsure
	}
	if answer != nil {
		if err := json.Unmarshal(b, answer); err != nil {
			return resp.StatusCode, fmt.Errorf("%s %s: the answer is not JSON: %.200q", method, path, b)
		}
	}
	return resp.StatusCode, nil
}

// outcome are the three fields of the contract's answers, and what some have besides.
type outcome struct {
	ActionStatus string
	ErrorInfo    string
	ErrorCode    int
	TaskID       string `json:"TaskId"`
}

// tryAgain are the codes of what may have been half done, or was not done for now.
var tryAgain = map[int]bool{91000: true, 70500: true, 60007: true, 90024: true}

// command makes one call of the contract.
func (c *caller) command(ctx context.Context, command string, body any) (outcome, error) {
	var o outcome
	err := c.answered(ctx, command, body, &o, &o)
	return o, err
}

// answered makes one call of the contract whose answer has more than the outcome, which is within it.
func (c *caller) answered(ctx context.Context, command string, body, answer any, o *outcome) error {
	status, err := c.do(ctx, http.MethodPost, "/v4/"+command, nil, body, answer)
	if err != nil {
		return err
	}
	if tryAgain[o.ErrorCode] {
		return errUnsure
	}
	if status != http.StatusOK || o.ActionStatus != "OK" || o.ErrorCode != 0 {
		return fmt.Errorf("%s: HTTP %d, %s %d %s", command, status, o.ActionStatus, o.ErrorCode, o.ErrorInfo)
	}
	return nil
}

// repeat makes a call again and again, until it is answered or ctx ends, and says whether every attempt was.
func (c *caller) repeat(ctx context.Context, call func() error) (sure bool, err error) {
	sure = true
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		if err = call(); !errors.Is(err, errUnsure) {
			return sure, err
		}
		sure = false
		pause(ctx, wait)
		if ctx.Err() != nil {
			return sure, err
		}
	}
}
