package start

import (
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRun(t *testing.T) {
	t.Parallel()
	list, err := Run(t.Context(), Short())
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || list[0].Value <= 0 || list[0].Peer == nil || !strings.Contains(list[0].Goal, "300 ms") {
		t.Errorf("figures %v", list)
	}
	if _, err := Run(t.Context(), Options{}); err == nil {
		t.Error("no repeats were taken")
	}
}

func TestOnce(t *testing.T) {
	t.Parallel()
	if _, err := once(t.Context(), t.TempDir(), "true", "BenchmarkNothing"); err == nil || !strings.Contains(err.Error(), "BenchmarkNothing") {
		t.Errorf("a program that says nothing gave %v", err)
	}
	if m := result.FindStringSubmatch("goos: linux\nBenchmarkStart-2   \t       1\t 123456789 ns/op\t 3 B/op\nPASS\n"); len(m) != 2 || m[1] != "123456789" {
		t.Errorf("found %q", m)
	}
}
