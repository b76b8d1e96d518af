package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/carillon-push/carillon/bench/crowd"
	"github.com/carillon-push/carillon/bench/notify"
	"github.com/carillon-push/carillon/bench/report"
)

func TestMain(m *testing.M) {
	crowd.Child()
	notify.Child()
	// Children of a test under the race detector would each wait a second at their end.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// TestRun: two measurements and the files; each of the others has a test of its own.
func TestRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-short", "-only", "pending,match", "-out", dir}, &out); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{report.JSONFile, report.MarkdownFile} {
		b, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil || !bytes.Contains(b, []byte("against one entry a user")) {
			t.Errorf("%s: %v\n%s", file, err, b)
		}
		if bytes.Contains(b, []byte(dir)) {
			t.Errorf("%s tells of this machine:\n%s", file, b)
		}
	}
	if said := out.String(); strings.Index(said, "Matching") > strings.Index(said, "Pending") || !strings.Contains(said, "p99") {
		t.Errorf("it said:\n%s", said)
	}
}

// TestWritesNothing: what does not measure everything in full leaves the last figures alone.
func TestWritesNothing(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-short", "-only", "match"}, &out); err != nil || strings.Contains(out.String(), "written") {
		t.Errorf("%v: it said:\n%s", err, out.String())
	}
}

func TestArguments(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-only", "match,nothing"}, {"match"}, {"-what"}} {
		if err := run(t.Context(), args, new(bytes.Buffer)); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
}
