package match

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// TestProcess: it ends when it is asked to, and with its context.
func TestProcess(t *testing.T) {
	t.Parallel()
	for _, by := range []string{"end", "context"} {
		ctx, cancel := context.WithCancel(t.Context())
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sh", "-c", "trap 'exit 0' TERM; echo ready; while :; do read -r line <&3; done", "sh")
		cmd.Dir, cmd.Stdout = t.TempDir(), w
		hold, held, err := os.Pipe() // a read that waits
		if err != nil {
			t.Fatal(err)
		}
		cmd.ExtraFiles = []*os.File{hold}
		p, err := launch(ctx, cmd, syscall.SIGTERM)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bufio.NewReader(r).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		if by == "context" {
			cancel()
			<-p.ended
		}
		p.end()
		cancel()
		if code := cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("by %s: it ended with %d", by, code)
		}
		for _, f := range []*os.File{r, w, hold, held} {
			_ = f.Close()
		}
	}
}

// TestEndsEarly: what a process says before it ends is the reason that it is not ready.
func TestEndsEarly(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("sh", "-c", "echo first; echo no room >&2; exit 3")
	cmd.Dir = t.TempDir()
	p, err := launch(t.Context(), cmd, syscall.SIGTERM)
	if err != nil {
		t.Fatal(err)
	}
	defer p.end()
	err = p.ready(t.Context(), func() error { return errors.New("not yet") })
	if err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("it is ready: %v", err)
	}
	if _, err := launch(t.Context(), &exec.Cmd{Path: "/nothing/here", Dir: t.TempDir()}, syscall.SIGTERM); err == nil {
		t.Error("what is not there was started")
	}
}

// TestInstallsNothing: where it is not allowed to, a run leaves the package lists alone.
func TestInstallsNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/package-lock.json", []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := npm(t.Context(), dir, false); !errors.Is(err, errAbsent) {
		t.Errorf("without its packages: %v", err)
	}
	if err := npm(t.Context(), t.TempDir(), true); err == nil {
		t.Error("without a list of packages it was taken for installed")
	}
}
