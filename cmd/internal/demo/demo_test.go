package demo

import (
	"bytes"
	"context"
	"errors"
	"io"
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

// A demo that is interrupted ends with the interruption, whatever it was doing.
func TestRunInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// It is cancelled when the first users are online.
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

// A crowd in which hardly anybody matches anything, and nobody is online.
func TestRunWithAHandful(t *testing.T) {
	t.Parallel()
	cfg := small()
	cfg.Accounts, cfg.Online = 3, 0
	var out bytes.Buffer
	if err := Run(t.Context(), cfg, &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*Config){
		"from 1 to 10000000 accounts": func(c *Config) { c.Accounts, c.Online = 0, 0 },
		"can be online, not 2001":     func(c *Config) { c.Accounts, c.Online = 2000, 2001 },
		"can be online, not -1":       func(c *Config) { c.Online = -1 },
		"logins at once":              func(c *Config) { c.Logins = 0 },
		"raise it (ulimit -n)":        func(c *Config) { c.Accounts, c.Online = maxAccounts, maxAccounts },
	} {
		cfg := Default()
		change(&cfg)
		if _, err := newDemo(cfg, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestDirectory(t *testing.T) {
	t.Parallel()
	dir, remove, err := directory("")
	if err != nil {
		t.Fatal(err)
	}
	if err := remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the temporary directory is still there: %v", err)
	}
	own := t.TempDir()
	if dir, remove, err = directory(own); err != nil || dir != own || remove() != nil {
		t.Errorf("got %q, %v", dir, err)
	}
	if _, err := os.Stat(own); err != nil {
		t.Errorf("a directory that was named is gone: %v", err)
	}
}
