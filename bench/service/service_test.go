package service

import (
	"context"
	"errors"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestProcess(t *testing.T) {
	t.Parallel()
	p, err := Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.REST.Call(t.Context(), "im_open_login_svc/account_import", map[string]any{"UserID": "u"}, nil); err != nil {
		t.Error(err)
	}
	if used, err := p.CPU(); err != nil || used <= 0 {
		t.Errorf("CPU time %v, %v", used, err)
	}
	if rss, err := p.RSS(); err != nil || rss < 1<<20 {
		t.Errorf("resident memory %d, %v", rss, err)
	}
	if n, err := p.Metric(t.Context(), "carillon_deliver_sessions"); err != nil || n != 0 {
		t.Errorf("%v sessions, %v", n, err)
	}
	if n, err := p.Metric(t.Context(), "no_such_metric"); err == nil {
		t.Errorf("an unknown metric is %v", n)
	}
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(p.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its directory is still there: %v", err)
	}
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Start(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("after the context's end: %v", err)
	}
}
