package soak

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/carillon-push/carillon/cmd/internal/app/apptest"
	"github.com/carillon-push/carillon/cmd/internal/config"
)

// inProcess is the whole service in this process, which nobody disturbs.
type inProcess struct{ *apptest.System }

func (s inProcess) Site() Site {
	u, err := url.Parse(s.SessionsURL())
	if err != nil {
		panic(err)
	}
	return Site{REST: []string{s.URL()}, Gateways: []string{u.Host}, Names: []string{"deliver-1"}, App: apptest.AppID, Admin: apptest.Admin, Key: apptest.Key}
}

func (inProcess) Troubles() []Offer                                    { return nil }
func (inProcess) Disturb(context.Context, Disturbance, func(), func()) {}
func (inProcess) Watch(ctx context.Context)                            { <-ctx.Done() }
func (inProcess) Restore(context.Context) error                        { return nil }
func (inProcess) Inspect()                                             {}

var lastLine = regexp.MustCompile(`\npairs [1-9]\d* lost 0 stranger 0 repeated \d+ disorder 0\n$`)

// Every promise holds for a service that nobody disturbs, and there are pairs of all kinds.
func TestRun(t *testing.T) {
	t.Parallel()
	service := inProcess{apptest.Start(t, func(c *config.Config) { c.Sharding.Bits = 5 })}
	cfg := Short()
	cfg.Users, cfg.Sessions, cfg.Duration, cfg.Stay, cfg.Grace = 80, 60, 3*time.Second, 3*time.Second, time.Second
	cfg.Pushes, cfg.Changes, cfg.Revocations = 20, 30, 1
	var out strings.Builder
	l := NewLedger(cfg.Users)
	v, err := Run(t.Context(), cfg, service, l, &out)
	if err != nil {
		t.Fatal(err)
	}
	if v.Failed() || !lastLine.MatchString(out.String()) || v.In == 0 || v.Out == 0 || v.Obliged == 0 {
		t.Errorf("%+v\n%s", v, out.String())
	}
	if !strings.Contains(out.String(), fmt.Sprintf("%d users are there", cfg.Users)) {
		t.Errorf("no word of the users:\n%s", out.String())
	}
}
