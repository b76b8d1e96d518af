// Package service runs Carillon as an operator does: the real binary, every role in one process of its own, on free ports
// of the loopback, durable, in a directory that is removed afterwards.
package service

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/carillon-push/carillon/pkg/client"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/usersig"
)

// The app that a Process has, and who calls for it.
const (
	App   push.AppID = 1400000001
	Admin            = "administrator"
	Key              = "a key for measurements only"
)

// Apps are the service's apps, as its configuration has them: without quotas, which would be what is measured.
func Apps() any {
	return []map[string]any{{
		"sdkappid": App, "key": Key, "admins": []string{Admin},
		"push_interval": "0s", "push_per_day": 0, "calls_per_second": 1_000_000,
	}}
}

// Caller calls a service as its admin, over connections that stay open.
func Caller(url string) *client.REST {
	return &client.REST{
		URL: url, App: App, Admin: Admin, Key: Key,
		HTTP: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}},
	}
}

// command is the package of the binary.
const command = "github.com/carillon-push/carillon/cmd/carillon"

const (
	startWait = 30 * time.Second
	stopWait  = 30 * time.Second
)

// Process is a running service.
type Process struct {
	Observed
	// REST calls it as its admin. Concurrent callers share connections that stay open.
	REST *client.REST
	// Sessions is host:port of the users' sessions.
	Sessions string

	dir    string
	cmd    *exec.Cmd
	output output
}

// Binary is the service's, which is built once for all.
var Binary = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "carillon-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the service's binary: %w", err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "carillon")
	if out, err := exec.Command("go", "build", "-o", path, command).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the service: %w: %s", err, bytes.TrimSpace(out))
	}
	return os.ReadFile(path)
})

// Install writes a binary that is to be run. No process is started meanwhile: it would have the open file for a moment, and
// who runs the binary then is told that it is busy.
func Install(path string, binary []byte) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, binary, 0o700); err != nil {
		return fmt.Errorf("write the service's binary: %w", err)
	}
	return nil
}

// Start builds the service if that was not done yet, starts it with some more flags, and returns when it is ready. It ends
// with Stop or the context.
func Start(ctx context.Context, flags ...string) (p *Process, err error) {
	built, err := Binary()
	if err != nil {
		return nil, err
	}
	p = &Process{output: output{ready: make(chan struct{})}}
	if p.dir, err = os.MkdirTemp("", "carillon-bench-"); err != nil {
		return nil, fmt.Errorf("make a directory for the service: %w", err)
	}
	if err = p.start(ctx, built, flags); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return p, nil
}

func (p *Process) start(ctx context.Context, built []byte, flags []string) error {
	path := filepath.Join(p.dir, "carillon")
	if err := Install(path, built); err != nil {
		return err
	}
	apps, err := json.Marshal(Apps())
	if err != nil {
		return fmt.Errorf("configure the service: %w", err)
	}
	p.cmd = exec.CommandContext(ctx, path, append([]string{"serve",
		"--data", filepath.Join(p.dir, "data"), "--http.listen", "127.0.0.1:0", "--sessions.listen", "127.0.0.1:0",
		"--sessions.heartbeat", "1h", "--sessions.drain", "0s", "--sessions.logins_per_second", "1000000",
		"--log.level", "warn"}, flags...)...)
	p.cmd.Env = append(os.Environ(), "CARILLON_APPS="+string(apps))
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	p.cmd.WaitDelay = 5 * time.Second
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(unix.SIGTERM) }
	if err := p.cmd.Start(); err != nil {
		p.cmd = nil
		return fmt.Errorf("start the service: %w", err)
	}
	select { // the service's own words wake it; the context or the time ends it
	case <-p.output.ready:
	case <-ctx.Done():
		return fmt.Errorf("wait for the service: %w", ctx.Err())
	case <-time.After(startWait):
		return fmt.Errorf("the service was not ready after %v and said: %s", startWait, p.output.text())
	}
	p.Sessions = p.output.sessions
	p.REST = Caller(p.output.rest)
	p.Observed = Observed{p.cmd.Process.Pid, p.output.rest}
	return nil
}

// maxSaid is how much of the service's output is kept, in bytes: what it says first is the cause of what it says later.
const maxSaid = 64 << 10

// output keeps what the service says and finds out where it is.
type output struct {
	mu             sync.Mutex
	said           bytes.Buffer
	ready          chan struct{}
	rest, sessions string
}

// greeting is the line by which the service says that it is ready.
var greeting = regexp.MustCompile(`Carillon is ready: REST (http://\S+), sessions wss?://(\S+)\n`)

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.said.Write(b[:min(len(b), maxSaid-o.said.Len())])
	if o.rest == "" {
		if m := greeting.FindSubmatch(o.said.Bytes()); m != nil {
			o.rest, o.sessions = string(m[1]), string(m[2])
			close(o.ready)
		}
	}
	return len(b), nil
}

func (o *output) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.TrimSpace(o.said.String())
}

// Stop ends the process, waits for it, and removes its directory. Its error holds what the service has complained of.
func (p *Process) Stop() error {
	var err error
	if p.REST != nil {
		p.REST.HTTP.CloseIdleConnections()
	}
	if p.cmd != nil {
		_ = p.cmd.Process.Signal(unix.SIGTERM) // it may have ended
		kill := time.AfterFunc(stopWait, func() { _ = p.cmd.Process.Kill() })
		err = p.cmd.Wait()
		kill.Stop()
		if err != nil {
			err = fmt.Errorf("the service ended with %w and said: %s", err, p.output.text())
		}
	}
	return errors.Join(err, os.RemoveAll(p.dir))
}

// Sign is a user's signature.
func Sign(account string) (string, error) {
	sig, err := usersig.Sign(Key, App, account, time.Now(), time.Hour, nil)
	if err != nil {
		return "", fmt.Errorf("sign for %s: %w", account, err)
	}
	return sig, nil
}

// SessionPath is the path and query by which a user of the app logs in.
func SessionPath(account string) (string, error) {
	sig, err := Sign(account)
	if err != nil {
		return "", err
	}
	q := url.Values{"sdkappid": {App.String()}, "identifier": {account}, "usersig": {sig}}
	return "/v1/session?" + q.Encode(), nil
}

const (
	together  = 100 // accounts that one call imports
	importers = 8   // calls at once
)

// Import makes accounts.
func (p *Process) Import(ctx context.Context, accounts []string) error {
	return Import(ctx, p.REST, accounts)
}

// Import makes accounts.
func Import(ctx context.Context, rest *client.REST, accounts []string) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(importers)
	for some := range slices.Chunk(accounts, together) {
		g.Go(func() error {
			if err := rest.Call(ctx, "im_open_login_svc/multiaccount_import", map[string]any{"Accounts": some}, nil); err != nil {
				return fmt.Errorf("import accounts: %w", err)
			}
			return nil
		})
	}
	return g.Wait()
}
