// Package start measures how long a test waits for the whole system: every role in the test's process, as package apptest
// starts it. Each repeat is a process of its own, so that nothing is warm but the files.
package start

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/carillon-push/carillon/bench/report"
)

// Package is the one whose benchmarks are run.
const Package = "github.com/carillon-push/carillon/cmd/internal/app/apptest"

// Options of a run. Use Default and change what differs.
type Options struct {
	// Repeats of each start.
	Repeats int
}

// Default is a run of some seconds.
func Default() Options { return Options{Repeats: 9} }

// Short is a run for tests.
func Short() Options { return Options{Repeats: 1} }

// Run measures the system, and a NATS server alone, in turns.
func Run(ctx context.Context, o Options) (figures []report.Figure, err error) {
	if o.Repeats < 1 {
		return nil, errors.New("measure the start: there must be at least one repeat")
	}
	dir, err := os.MkdirTemp("", "carillon-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the test's binary: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	binary := filepath.Join(dir, "start.test")
	if out, err := exec.CommandContext(ctx, "go", "test", "-c", "-o", binary, Package).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the test that starts the system: %w: %s", err, bytes.TrimSpace(out))
	}
	var system, broker []float64 // ms
	for range o.Repeats {
		for _, b := range []struct {
			name string
			into *[]float64
		}{{"BenchmarkStart", &system}, {"BenchmarkStartNATS", &broker}} {
			took, err := once(ctx, dir, binary, b.name)
			if err != nil {
				return nil, err
			}
			*b.into = append(*b.into, took)
		}
	}
	return []report.Figure{
		report.New("start of the whole system in a test, until it is ready and a first push is accepted, against a NATS server alone", "ms", system...).
			Under(broker...).AtMost(300).Noting("each in a process of its own; the server's peer keeps nothing yet"),
	}, nil
}

// result is the line of a benchmark that was run once.
var result = regexp.MustCompile(`(?m)^Benchmark\S*\s+1\s+([\d.]+) ns/op`)

func once(ctx context.Context, dir, binary, name string) (ms float64, err error) {
	cmd := exec.CommandContext(ctx, binary, "-test.run", "^$", "-test.bench", "^"+name+"$", "-test.benchtime", "1x")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("run %s: %w: %s", name, err, bytes.TrimSpace(out))
	}
	m := result.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("%s said nothing that can be read: %s", name, bytes.TrimSpace(out))
	}
	ns, err := strconv.ParseFloat(string(m[1]), 64)
	return ns / 1e6, err
}
