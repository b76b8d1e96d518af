package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// process is one of the cluster, at the same addresses in each of its lives.
type process struct {
	name    string
	command []string
	health  string // URL
	log     string // path
	cmd     *exec.Cmd
	ended   chan struct{} // closed when it has
}

// starter starts processes from one thread that lives as long as it does: the kernel kills them when that thread ends,
// however this process does.
type starter struct{ todo chan func() }

func newStarter() *starter {
	s := &starter{make(chan func())}
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		for f := range s.todo {
			f()
		}
	}()
	return s
}

func (s *starter) do(f func() error) error {
	done := make(chan error)
	s.todo <- func() { done <- f() }
	return <-done
}

func (s *starter) close() { close(s.todo) }

// start begins a life.
func (p *process) start(by *starter) error {
	log, err := os.OpenFile(filepath.Clean(p.log), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the log of %s: %w", p.name, err)
	}
	defer log.Close()
	cmd := exec.Command(p.command[0], p.command[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := by.do(cmd.Start); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	p.cmd, p.ended = cmd, make(chan struct{})
	ended := p.ended
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(ended)
	}()
	return nil
}

// kill is kill -9.
func (p *process) kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
	p.cmd = nil
}

// drainPatience is how long a process may take to end when it is asked to.
const drainPatience = 15 * time.Second

// stop asks it to end, and insists when that takes too long.
func (p *process) stop() error {
	if p.cmd == nil {
		return nil
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select { // its end, or the time
	case <-p.ended:
		p.cmd = nil
		return nil
	case <-time.After(drainPatience):
		p.kill()
		return fmt.Errorf("%s had not ended %s after it was asked to", p.name, drainPatience)
	}
}

// ready waits until it can do its work.
func (p *process) ready(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if p.asked(ctx) {
			return nil
		}
		select { // the ticker wakes it; its end, or ctx, ends it
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w; its log ends with:\n%s", p.name, ctx.Err(), p.lastLines(10))
		case <-p.ended:
			return fmt.Errorf("%s has ended by itself; its log ends with:\n%s", p.name, p.lastLines(10))
		case <-tick.C:
		}
	}
}

func (p *process) asked(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.health, nil)
	if err != nil {
		return false
	}
	r.Close = true
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// lastLines of its log.
func (p *process) lastLines(n int) string {
	b, err := os.ReadFile(filepath.Clean(p.log))
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// faults are what must not be in any log.
var faults = []string{"panic:", "fatal error:", "DATA RACE"}

// inspect looks for them.
func (p *process) inspect() error {
	text := p.lastLines(1 << 30)
	for _, f := range faults {
		if i := strings.Index(text, f); i >= 0 {
			return errors.New("the log of " + p.name + " has: " + text[i:min(len(text), i+500)])
		}
	}
	return nil
}
