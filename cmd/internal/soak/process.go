package soak

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/carillon-push/carillon/cmd/internal/soak/lab"
)

// starter starts processes that die with this one, however it ends. The kernel binds that to the thread which started
// them, so all are started from one goroutine that keeps its thread.
type starter struct {
	jobs chan func()
	home *lab.Host // where this process is; nil when there is no network
}

func newStarter(net *lab.Network) *starter {
	s := &starter{jobs: make(chan func())}
	if net != nil {
		s.home = net.Home()
	}
	go func() { // each start wakes it, close ends it
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for job := range s.jobs {
			job()
		}
	}()
	return s
}

func (s *starter) start(cmd *exec.Cmd, in *lab.Host) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	done := make(chan error)
	s.jobs <- func() { done <- s.startIn(cmd, in) }
	return <-done
}

// startIn is called in the goroutine that keeps its thread: a process is where the thread is that starts it.
func (s *starter) startIn(cmd *exec.Cmd, in *lab.Host) error {
	if in == nil {
		return cmd.Start()
	}
	if err := in.Enter(); err != nil {
		return err
	}
	return errors.Join(cmd.Start(), s.home.Enter())
}

func (s *starter) close() { close(s.jobs) }

// process is one of the cluster's, which is started again and again.
type process struct {
	slot    string
	host    *lab.Host // nil: the loopback interface
	args    []string
	env     []string
	health  string // a URL that answers 200 when it is ready, or host:port that takes connections
	log     string // path
	starter *starter
	crashed func(slot, how string)

	mu     sync.Mutex // serialises what is done to it
	cmd    *exec.Cmd  // nil while it is down
	exited chan struct{}
}

// up starts the process. Called with mu held.
func (p *process) up() error {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open the log of %s: %w", p.slot, err)
	}
	defer log.Close()
	cmd := exec.Command(p.args[0], p.args[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), p.env...), log, log
	if err := p.starter.start(cmd, p.host); err != nil {
		return fmt.Errorf("start %s: %w", p.slot, err)
	}
	exited := make(chan struct{})
	p.cmd, p.exited = cmd, exited
	go func() { // the process's end wakes it and ends it
		_ = cmd.Wait() // its state says it all
		close(exited)
	}()
	return nil
}

// down ends the process with a signal, and without patience with SIGKILL. Called with mu held. What it gives is how the process
// ended by itself, empty when the signal did it.
func (p *process) down(sig syscall.Signal, patience time.Duration) (unasked string) {
	if p.cmd == nil {
		return ""
	}
	select {
	case <-p.exited:
		unasked = p.cmd.ProcessState.String()
	default:
		_ = p.cmd.Process.Signal(sig) // it may be gone by now
		select {
		case <-p.exited:
			if state := p.cmd.ProcessState; sig == syscall.SIGTERM && !state.Success() {
				unasked = "after SIGTERM: " + state.String()
			}
		case <-time.After(patience):
			unasked = fmt.Sprintf("still there %v after %v", patience, sig)
			_ = p.cmd.Process.Kill()
			<-p.exited
		}
	}
	p.cmd = nil
	return unasked
}

// drainPatience is how long a process may take to stop in an orderly way.
const drainPatience = 20 * time.Second

// signal sends a signal to a process that is there. Called with mu held.
func (p *process) signal(sig syscall.Signal) {
	if p.cmd != nil {
		_ = p.cmd.Process.Signal(sig) // it may be gone by now
	}
}

// revive starts the process again when it has ended by itself. Called with mu held.
func (p *process) revive() error {
	if p.cmd != nil {
		select {
		case <-p.exited:
			p.crashed(p.slot, p.cmd.ProcessState.String())
			p.cmd = nil
		default:
			return nil
		}
	}
	return p.up()
}

// ready says whether the process can do its work.
func (p *process) ready(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if !strings.HasPrefix(p.health, "http") {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.health)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}
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

// lastLines of the process's log.
func (p *process) lastLines(n int) string {
	b, err := os.ReadFile(filepath.Clean(p.log))
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
