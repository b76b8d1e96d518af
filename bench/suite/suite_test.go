package suite

import (
	"context"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func shell(script string) Options { return Options{[]string{"sh", "-c", script}} }

func TestChaos(t *testing.T) {
	t.Parallel()
	const said = `echo "odd: ingest-2 ended by itself"; echo "repeated though acknowledged: 5, of them unexplained %s; twice on one session 0; missed at a login 0; odd %o"; echo "pairs 10800000 lost %l stranger 0 repeated 48595 disorder 0"; `
	with := func(unexplained, lost, odd, end string) Options {
		return shell(strings.NewReplacer("%s", unexplained, "%l", lost, "%o", odd).Replace(said) + end)
	}
	list, err := RunChaos(t.Context(), with("0", "0", "0", ""))
	if err != nil || len(list) != 6 || list[0].Value != 10_800_000 {
		t.Fatalf("figures %v, %v", list, err)
	}
	for _, f := range list {
		if !f.Met || f.Goal == "" {
			t.Errorf("%v", f)
		}
	}
	if list, err = RunChaos(t.Context(), with("0", "2", "0", "exit 1")); err != nil || list[1].Met || !list[2].Met {
		t.Errorf("two that were lost gave %v, %v", list, err)
	}
	if list, err = RunChaos(t.Context(), with("3", "0", "0", "exit 1")); err != nil || list[3].Met {
		t.Errorf("three that came again gave %v, %v", list, err)
	}
	if list, err = RunChaos(t.Context(), with("0", "0", "1", "exit 1")); err != nil || list[5].Met || !list[1].Met || list[5].Note != "ingest-2 ended by itself" {
		t.Errorf("a process that ended gave %v, %v", list, err)
	}
	for _, o := range []Options{with("0", "0", "0", "exit 1"), shell("echo something else")} {
		if list, err := RunChaos(t.Context(), o); err == nil {
			t.Errorf("%q gave %v", o.Command, list)
		}
	}
}

func TestTests(t *testing.T) {
	t.Parallel()
	list, err := RunTests(t.Context(), shell("test -f go.mod"))
	if err != nil || len(list) != 1 || !list[0].Met {
		t.Errorf("figures %v, %v", list, err)
	}
	if _, err := RunTests(t.Context(), shell("echo it is this test; exit 1")); err == nil || !strings.Contains(err.Error(), "it is this test") {
		t.Errorf("a test that fails gave %v", err)
	}
	long := `echo "--- FAIL: TestOne (0.01s)"; echo "    one_test.go:7: it is that"; yes "ok  	a package" | head -1000; exit 1`
	if _, err := RunTests(t.Context(), shell(long)); err == nil || !strings.Contains(err.Error(), "TestOne") || !strings.Contains(err.Error(), "it is that") {
		t.Errorf("a test that failed long before the end gave %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := RunTests(gone, shell("exec cat")); err == nil {
		t.Error("who goes away is told that the tests passed")
	}
}
