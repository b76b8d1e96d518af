package soak

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// newProcess is one of this program's own, with a starter that ends with the test.
func newProcess(t *testing.T, what string) (p *process, odd *[]string) {
	t.Helper()
	starter := newStarter(nil)
	t.Cleanup(starter.close)
	odd = new([]string)
	p = &process{
		slot: "deliver-1", args: []string{os.Args[0]}, env: []string{idle + "=" + what}, log: filepath.Join(t.TempDir(), "log"),
		starter: starter, crashed: func(_, how string) { *odd = append(*odd, how) },
	}
	t.Cleanup(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.down(syscall.SIGKILL, time.Minute)
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.up(); err != nil {
		t.Fatal(err)
	}
	return p, odd
}

// alive says whether there is a process.
func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

func TestAKilledProcessIsStartedAgain(t *testing.T) {
	t.Parallel()
	p, odd := newProcess(t, "waits")
	pid, begun := p.cmd.Process.Pid, false
	if err := disturb(t.Context(), []*process{p}, Disturbance{What: Kill, For: time.Millisecond}, func() { begun = true }); err != nil {
		t.Fatal(err)
	}
	if !begun || alive(pid) || p.cmd.Process.Pid == pid || !alive(p.cmd.Process.Pid) {
		t.Errorf("begun %v, the first lives: %v, the second is %d after %d", begun, alive(pid), p.cmd.Process.Pid, pid)
	}
	if err := disturb(t.Context(), []*process{p}, Disturbance{What: Stop, For: time.Millisecond}, func() {}); err != nil {
		t.Fatal(err)
	}
	if len(*odd) != 0 {
		t.Errorf("odd: %q", *odd)
	}
}

func TestAProcessThatEndsByItselfIsTold(t *testing.T) {
	t.Parallel()
	p, odd := newProcess(t, "ends")
	<-p.exited
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.revive(); err != nil {
		t.Fatal(err)
	}
	if len(*odd) != 1 || !strings.Contains((*odd)[0], "exit status 3") {
		t.Errorf("odd: %q", *odd)
	}
}

// A process that a run could not end in an orderly way is killed when its context is over, and nothing is left.
func TestAnInterruptedDisturbanceLeavesOneProcess(t *testing.T) {
	t.Parallel()
	p, _ := newProcess(t, "waits")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := disturb(ctx, []*process{p}, Disturbance{What: Kill, For: time.Hour}, func() {}); err != nil {
		t.Fatal(err)
	}
	pid := p.cmd.Process.Pid
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down(syscall.SIGKILL, time.Minute); alive(pid) || p.cmd != nil {
		t.Error("the process is still there")
	}
}

// Two processes are down at the same time when both are to be.
func TestTwoAreDownTogether(t *testing.T) {
	t.Parallel()
	a, _ := newProcess(t, "waits")
	b, _ := newProcess(t, "waits")
	pids := []int{a.cmd.Process.Pid, b.cmd.Process.Pid}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- disturb(ctx, []*process{a, b}, Disturbance{What: Kill, For: time.Hour}, func() {})
	}()
	for _, p := range []*process{a, b} {
		<-p.exited // of the first life: nobody starts the next before the time is over
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for i, p := range []*process{a, b} {
		if alive(pids[i]) || !alive(p.cmd.Process.Pid) {
			t.Errorf("process %d: the first lives: %v, the second lives: %v", i, alive(pids[i]), alive(p.cmd.Process.Pid))
		}
	}
}
