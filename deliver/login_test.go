package deliver

import (
	"errors"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/usersig"
	"github.com/carillon-push/carillon/pkg/wire"
)

// A login that is refused makes no account and no session.
func TestLoginsThatAreRefused(t *testing.T) {
	t.Parallel()
	g := start(t)
	sign := func(key string, app push.AppID, account string, issued time.Time) string {
		sig, err := usersig.Sign(key, app, account, issued, time.Hour, nil)
		if err != nil {
			t.Fatal(err)
		}
		return sig
	}
	now := time.Now()
	set := func(pairs ...string) url.Values {
		q := query(t, "u")
		for i := 0; i < len(pairs); i += 2 {
			q.Set(pairs[i], pairs[i+1])
		}
		return q
	}
	for name, c := range map[string]struct {
		q            url.Values
		status, code int
	}{
		"no app":           {set("sdkappid", ""), 403, 60012},
		"an unknown app":   {set("sdkappid", foreign.String()), 403, 60006},
		"no account":       {set("identifier", ""), 401, 60004},
		"no signature":     {set("usersig", ""), 401, 60005},
		"a long account":   {set("identifier", strings.Repeat("x", 33)), 403, 70402},
		"a platform":       {set("platform", "Toaster"), 403, 70402},
		"garbage":          {set("usersig", "garbage"), 401, 70003},
		"expired":          {set("usersig", sign(testKey, testApp, "u", now.Add(-2*time.Hour))), 401, 70001},
		"forged":           {set("usersig", sign("another key", testApp, "u", now)), 401, 70009},
		"of another user":  {set("usersig", sign(testKey, testApp, "v", now)), 401, 70013},
		"of another's app": {set("usersig", sign(testKey, foreign, "u", now)), 401, 70014},
	} {
		var r *refused
		if _, err := g.dial(c.q); !errors.As(err, &r) || *r != (refused{c.status, c.code}) {
			t.Errorf("%s: %v, want HTTP %d, %d", name, err, c.status, c.code)
		}
	}
	if n, err := g.b.LastSeq(t.Context(), wire.AccountsStream(testApp)); err != nil || n != 0 {
		t.Errorf("%d accounts, %v", n, err)
	}
	if n := g.taken.Load(); n != 0 {
		t.Errorf("%d sessions are counted", n)
	}
}

// Before live pushes are heard a session could miss one.
func TestLoginBeforeItIsReady(t *testing.T) {
	t.Parallel()
	d, err := New(Default(), brokertest.Start(t), prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if d.Ready() == nil {
		t.Error("ready before it runs")
	}
	if _, err := d.register(t.Context(), user{testApp, "u", 0, ""}); err == nil {
		t.Error("registered before it runs")
	}
	if err := d.poller.Run(ended(t)); err != nil { // closes what New opened
		t.Error(err)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	if err := Default().Validate(); err != nil {
		t.Errorf("the default: %v", err)
	}
	_, err := New(Config{Drain: -1}, (*broker.Broker)(nil), prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	for _, want := range []string{"an account", "the gateway", "receipts", "drain", "queue limit"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("nothing is said of %s: %v", want, err)
		}
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	d, err := New(Default(), brokertest.Start(t), reg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil || len(families) < 4 {
		t.Errorf("%d families, %v", len(families), err)
	}
	if _, err := newMetrics(reg, d.poller); err == nil {
		t.Error("registered twice")
	}
	if err := d.poller.Run(ended(t)); err != nil {
		t.Error(err)
	}
}
