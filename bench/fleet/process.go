package fleet

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

	"github.com/carillon-push/carillon/bench/service"
)

// Process is one of a fleet, at the same addresses in each of its lives.
type Process struct {
	// Name is its role and number.
	Name string
	service.Observed

	command []string
	log     string // path
	cmd     *exec.Cmd
	ended   chan struct{} // closed when it has
}

// starter starts processes from one thread that lives as long as it does: the kernel kills them when that thread ends,
// however this process does.
type starter struct{ todo chan func() }

func newStarter() *starter {
	s := &starter{make(chan func())}
	go func() { // each start wakes it, close ends it
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
func (p *Process) start(by *starter) error {
	log, err := os.OpenFile(filepath.Clean(p.log), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the log of %s: %w", p.Name, err)
	}
	defer log.Close()
	cmd := exec.Command(p.command[0], p.command[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := by.do(cmd.Start); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	p.cmd, p.PID, p.ended = cmd, cmd.Process.Pid, make(chan struct{})
	ended := p.ended
	go func() { // the process's end ends it
		_ = cmd.Wait() // how it ended is in its log
		close(ended)
	}()
	return nil
}

// Signal sends it a signal; one that has ended gets none.
func (p *Process) Signal(s syscall.Signal) {
	if p.cmd != nil {
		_ = p.cmd.Process.Signal(s) // it may have ended
	}
}

// Kill is kill -9, and returns when it has ended.
func (p *Process) Kill() {
	if p.cmd == nil {
		return
	}
	p.Signal(syscall.SIGKILL)
	<-p.ended
	p.cmd = nil
}

// endWait is how long a process may take to end when it is asked to.
const endWait = 15 * time.Second

// end asks it to end, and insists when that takes too long.
func (p *Process) end() error {
	if p.cmd == nil {
		return nil
	}
	p.Signal(syscall.SIGTERM)
	select { // its end, or the time
	case <-p.ended:
		p.cmd = nil
		return p.inspect()
	case <-time.After(endWait):
		p.Kill()
		return fmt.Errorf("%s had not ended %v after it was asked to", p.Name, endWait)
	}
}

// Ready waits until it can do its work.
func (p *Process) Ready(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if p.asked(ctx) {
			return nil
		}
		select { // the ticker wakes it; its end, or ctx, ends it
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w; its log ends with:\n%s", p.Name, ctx.Err(), p.lastLines(10))
		case <-p.ended:
			return fmt.Errorf("%s has ended by itself; its log ends with:\n%s", p.Name, p.lastLines(10))
		case <-tick.C:
		}
	}
}

// probe asks whether a process is ready, on a connection of its own.
var probe = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 2 * time.Second}

func (p *Process) asked(ctx context.Context) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := probe.Do(r)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func (p *Process) text() string {
	b, err := os.ReadFile(filepath.Clean(p.log))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// lastLines of its log.
func (p *Process) lastLines(n int) string {
	lines := strings.Split(p.text(), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// faults are what must not be in any log.
var faults = []string{"panic:", "fatal error:", "DATA RACE"}

func (p *Process) inspect() error {
	text := p.text()
	for _, f := range faults {
		if i := strings.Index(text, f); i >= 0 {
			return errors.New("the log of " + p.Name + " has: " + text[i:min(len(text), i+500)])
		}
	}
	return nil
}
