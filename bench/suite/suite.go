// Package suite measures what the tree's own trials come to: how long `make test` takes, and what a run under chaos finds. Both
// are commands that anybody can run; here they are run as they are.
package suite

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"github.com/carillon-push/carillon/bench/report"
)

// Options of a run. Use Tests or Chaos.
type Options struct {
	// Command and its arguments; it is run in the module's root.
	Command []string
}

// Tests runs all tests, whatever was cached of their results.
func Tests() Options { return Options{[]string{"make", "test", "TESTFLAGS=-count=1"}} }

// Chaos runs a cluster under chaos at its usual length.
func Chaos() Options { return Options{[]string{"go", "run", "./cmd/soak", "-chaos"}} }

// RunTests measures how long the tests take; that one fails is an error.
func RunTests(ctx context.Context, o Options) ([]report.Figure, error) {
	start := time.Now()
	if out, err := command(ctx, o.Command); err != nil {
		return nil, fmt.Errorf("run the tests: %w; of what they said:\n%s", err, end(failures(out)))
	}
	return []report.Figure{report.New("make test, every test run again, with warm caches", "s", time.Since(start).Seconds()).AtMost(180)}, nil
}

// What a run under chaos says of repeats, and its last line.
var (
	repeats  = regexp.MustCompile(`(?m)^repeated though acknowledged: \d+, of them unexplained (\d+);.* odd (\d+)$`)
	oddity   = regexp.MustCompile(`(?m)^odd: (.{1,300})`)
	lastLine = regexp.MustCompile(`(?m)^pairs (\d+) lost (\d+) stranger (\d+) repeated (\d+) disorder (\d+)$`)
)

// RunChaos measures what a run under chaos has checked and found. That promises were broken is a figure; that it failed for
// another reason is an error.
func RunChaos(ctx context.Context, o Options) ([]report.Figure, error) {
	out, failed := command(ctx, o.Command)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("run a cluster under chaos: %w", ctx.Err())
	}
	m, again := lastLine.FindSubmatch(out), repeats.FindSubmatch(out)
	if m == nil || again == nil {
		return nil, fmt.Errorf("run a cluster under chaos: it did not say what it found (%v); it ended with:\n%s", failed, end(out))
	}
	var found [7]float64
	for i, text := range append(m[1:], again[1:]...) {
		n, err := strconv.ParseFloat(string(text), 64)
		if err != nil {
			return nil, fmt.Errorf("read what a cluster under chaos came to: %w", err)
		}
		found[i] = n
	}
	pairs, lost, stranger, repeated, disorder, unexplained, odd := found[0], found[1], found[2], found[3], found[4], found[5], found[6]
	if failed != nil && lost+stranger+disorder+unexplained+odd == 0 {
		return nil, fmt.Errorf("run a cluster under chaos: %w; it ended with:\n%s", failed, end(out))
	}
	const unit = "pairs"
	return []report.Figure{
		report.New("chaos: pairs of a push and a user that were checked", unit, pairs).AtLeast(10_000_000),
		report.New("chaos: pushes that a user was promised and did not get", unit, lost).AtMost(0),
		report.New("chaos: pushes that came to a user whom they were not for", unit, stranger).AtMost(0),
		report.New("chaos: pushes that came again where the promise does not allow it", unit, unexplained).AtMost(0).
			Noting("%s came again after they were acknowledged", report.Text(repeated)),
		report.New("chaos: pushes that came in another order than promised", unit, disorder).AtMost(0),
		report.New("chaos: what went wrong beside, such as a process that ended by itself", "times", odd).AtMost(0).Noting("%s", firstOdd(out)),
	}, nil
}

// failure is a line of `go test`, or of Node's test runner, that names a test, a package or a place that failed.
var failure = regexp.MustCompile(`^\s*(--- FAIL|FAIL\b|panic:|not ok|✖|\S+_test\.go:\d+:|# )`)

// failures are the lines that name what failed, or everything where no line does, as when nothing could be built.
func failures(out []byte) []byte {
	var named []byte
	for line := range bytes.Lines(out) {
		if failure.Match(line) {
			named = append(named, line...)
		}
	}
	if named == nil {
		return out
	}
	return named
}

// firstOdd is what went wrong first beside the pairs, if anything did.
func firstOdd(out []byte) string {
	if m := oddity.FindSubmatch(out); m != nil {
		return string(m[1])
	}
	return ""
}

// command runs one in the module's root. With the context all its processes end.
func command(ctx context.Context, args []string) ([]byte, error) {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return nil, fmt.Errorf("find the module's root: %w", err)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = string(bytes.TrimSpace(root))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	return cmd.CombinedOutput()
}

// end is the last lines of what a command has said.
func end(out []byte) []byte {
	const most = 2000
	return out[max(0, len(out)-most):]
}
