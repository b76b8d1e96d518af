package demo

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func small() Config {
	c := Default()
	c.Accounts, c.Online, c.Logins = 2000, 100, 16
	return c
}

// The whole demo, small: every delivery is there.
func TestRun(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := Run(t.Context(), small(), &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	t.Log(out.String())
	for _, want := range []string{"checked 2,000 accounts: ", " 0 missing, 0 to strangers, 0 twice\n", "USERS_1400000001_0", "second logins: 1,000 in "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report has no %q:\n%s", want, out.String())
		}
	}
}

// A naive filter that is not what the condition says makes the demo fail, so that a service that is not what it should
// be does.
func TestRunFindsAPlantedFault(t *testing.T) {
	t.Parallel()
	cfg := small()
	cfg.Data = filepath.Join(t.TempDir(), "data")
	var out bytes.Buffer
	d, err := newDemo(cfg, &out)
	if err != nil {
		t.Fatal(err)
	}
	d.uses[1].wants = func(p *person) bool { return p.follows[0] == popular }
	if err := d.run(t.Context()); err == nil || !strings.Contains(err.Error(), "differences") {
		t.Fatalf("got %v\n%s", err, out.String())
	}
	if !strings.Contains(out.String(), "DIFFERENCE: user") || strings.Contains(out.String(), " 0 to strangers") {
		t.Errorf("the report does not show it:\n%s", out.String())
	}
	if err := Run(t.Context(), cfg, &out); err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("a second demo in the same directory: got %v", err)
	}
}

// A demo that is interrupted ends with the interruption, and leaves no directory.
func TestRunInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// The first line of the import ends it.
	out := writerFunc(func(b []byte) {
		if bytes.Contains(b, []byte("online:")) {
			cancel()
		}
	})
	if err := Run(ctx, small(), out); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(b []byte) (int, error) {
	f(b)
	return len(b), nil
}

// TestFullSize is the demo as users run it; CARILLON_DEMO names where its report goes.
func TestFullSize(t *testing.T) {
	path := os.Getenv("CARILLON_DEMO")
	if path == "" {
		t.Skip("it takes minutes; set CARILLON_DEMO to a file for the report")
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := Run(t.Context(), Default(), f); err != nil {
		t.Error(err)
	}
}
