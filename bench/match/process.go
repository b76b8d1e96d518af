package match

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// process is a database of a run's own. It ends with end, with the context, and with this process, however that ends.
type process struct {
	name  string
	cmd   *exec.Cmd
	log   string // path
	ended chan struct{}
	stop  syscall.Signal
	let   func() bool // no longer ends it with the context
}

// launch starts a command, which ends properly at the signal stop. What it says goes to a log in its directory.
func launch(ctx context.Context, cmd *exec.Cmd, stop syscall.Signal) (*process, error) {
	p := &process{name: filepath.Base(cmd.Path), cmd: cmd, log: filepath.Join(cmd.Dir, "log"), ended: make(chan struct{}), stop: stop}
	log, err := os.OpenFile(filepath.Clean(p.log), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", p.name, err)
	}
	defer log.Close()
	cmd.Stderr = log
	if cmd.Stdout == nil {
		cmd.Stdout = log
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true // a terminal's interrupt is this process's alone, which then ends it in order
	cmd.SysProcAttr.Pdeathsig = syscall.SIGQUIT
	started := make(chan error, 1)
	go func() { // the process's end ends it
		// The kernel signals it when the thread that started it ends, so that one waits here until the process has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		_ = cmd.Wait() // how it ended is in its log
		close(p.ended)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	p.let = context.AfterFunc(ctx, func() { p.signal(stop) })
	return p, nil
}

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) } // it may have ended

// endWait is how long a process may take to end when it is asked to.
const endWait = 20 * time.Second

// end asks it to end, and insists when that takes too long.
func (p *process) end() {
	p.let()
	p.signal(p.stop)
	select { // its end, or the time
	case <-p.ended:
	case <-time.After(endWait):
		p.signal(syscall.SIGKILL)
		<-p.ended
	}
}

// ready waits until it answers.
func (p *process) ready(ctx context.Context, answers func() error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if answers() == nil {
			return nil
		}
		select { // the ticker wakes it; the process's end, or ctx, ends it
		case <-ctx.Done():
			return ctx.Err()
		case <-p.ended:
			return fmt.Errorf("%s ended: %s", p.name, p.said())
		case <-tick.C:
		}
	}
}

// said is the end of its log in a line.
func (p *process) said() string {
	log, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return lastWords(log)
}

// lastWords are the last line that was said.
func lastWords(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// perform runs a command to its end, and tells what it said if it fails.
func perform(ctx context.Context, cmd *exec.Cmd) error {
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	return errors.Join(ctx.Err(), fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, lastWords(out)))
}
