package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The whole topology as processes: with the server gone that led the pushes, every accepted push reaches everybody once, and
// nothing is left of the processes.
func TestClusterOutlivesItsLeader(t *testing.T) {
	s := defaults().short()
	s.Users, s.Pushes, s.Patience = 30, 10, 3*time.Minute
	s.Binary = filepath.Join(t.TempDir(), "carillon")
	if out, err := exec.Command("go", "build", "-o", s.Binary, "../../carillon").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	t.Setenv("TMPDIR", t.TempDir())
	var out bytes.Buffer
	err := run(t.Context(), s, &out)
	t.Log("\n" + out.String())
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`26 pushes were accepted, 780 pairs of a push and a user checked: 0 lost, 0 pushes there twice`).MatchString(out.String()) {
		t.Error("the story does not say that nothing was lost")
	}
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	for _, f := range left {
		if strings.HasPrefix(f.Name(), "carillon-cluster-") {
			t.Errorf("%s is left", f.Name())
		}
	}
	if err != nil {
		t.Error(err)
	}
}

// A process that cannot start is told with what it said, and no other is left running.
func TestABinaryThatIsNone(t *testing.T) {
	s := defaults().short()
	s.Binary = filepath.Join(t.TempDir(), "carillon")
	if err := os.WriteFile(s.Binary, []byte("#!/bin/sh\necho no broker here\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var out bytes.Buffer
	if err := run(ctx, s, &out); err == nil || !strings.Contains(err.Error(), "no broker here") {
		t.Errorf("got %v", err)
	}
}
