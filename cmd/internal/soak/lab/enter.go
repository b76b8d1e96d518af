package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// ErrNoNamespaces is returned by Enter when this process may not have namespaces of its own; nothing was run then.
var ErrNoNamespaces = errors.New("no namespaces of its own can be had")

// Enter runs this program with other arguments in a network and a view of the file system of its own, and gives its exit
// code. Both go with the last process in them. When ctx ends the program is asked to end, and killed 30 s later.
func Enter(ctx context.Context, args []string, stdout, stderr io.Writer) (code int, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, fmt.Errorf("find this program: %w", err)
	}
	runtime.LockOSThread() // the program dies with this thread, and is not to die before this process
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	// In a group of its own, so that an interrupt of the keyboard comes once, from us.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true, Unshareflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 { // an ordinary user is root among users of its own
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrNoNamespaces, err)
	}
	err = cmd.Wait()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		if code = exit.ExitCode(); code < 0 {
			return 0, fmt.Errorf("the run in namespaces of its own: %s", exit.ProcessState)
		}
		return code, nil
	}
	return 0, err
}
