package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"pgregory.net/rapid"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// The quota, as two processes on one broker have it, against an oracle that keeps every push for ever and counts.
func TestQuotaAgainstOracle(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	ctx := t.Context()
	zone := time.FixedZone("", 8*60*60)
	rapid.Check(t, func(t *rapid.T) {
		app := push.AppID(lastApp.Add(1))
		processes := []*quota{newQuota(b, app), newQuota(b, app)}
		l := limits{
			interval: rapid.SampledFrom([]time.Duration{0, 300 * time.Millisecond, time.Second, 5 * time.Second}).Draw(t, "interval"),
			perDay:   rapid.IntRange(0, 4).Draw(t, "perDay"), zone: zone,
		}
		type accepted struct {
			id string
			at time.Time
		}
		var pushes []accepted // those that are on the broker as new
		now := time.Date(2026, 1, 1, 23, 59, 50, 0, zone)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 1200).Draw(t, "ms")) * time.Millisecond)
			id := fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "id"))
			fails := rapid.IntRange(0, 4).Draw(t, "fails") == 0
			q := processes[rapid.IntRange(0, 1).Draw(t, "process")]

			var want Code
			repeat, today := false, 0
			for _, p := range pushes {
				repeat = repeat || p.id == id && now.Sub(p.at) < wire.DuplicateWindow
				if p.at.In(zone).YearDay() == now.YearDay() {
					today++
				}
			}
			switch {
			case repeat:
			case len(pushes) > 0 && now.Sub(pushes[len(pushes)-1].at) < l.interval:
				want = codePushInterval
			case l.perDay > 0 && today >= l.perDay:
				want = codePushPerDay
			}
			ticket, err := q.reserve(ctx, l, id, now)
			var refused *QuotaError
			errors.As(err, &refused)
			if (err == nil) != (want == 0) || err != nil && (refused == nil || refused.Code != want) {
				t.Fatalf("at %v push %s: %v, want %d", now, id, err, want)
			}
			if err != nil {
				then := now.Add(refused.RetryAfter)
				if want == codePushInterval && then.Sub(pushes[len(pushes)-1].at) != l.interval ||
					want == codePushPerDay && (then.Day() == now.Day() || then.Add(-1).Day() != now.Day()) {
					t.Fatalf("at %v push %s is refused until %v", now, id, then)
				}
				continue
			}
			if ticket.paid == (repeat || l.none()) || ticket.repeat != (repeat && !l.none()) {
				t.Fatalf("at %v push %s, repeat %t: %+v", now, id, repeat, ticket)
			}
			switch {
			case ticket.repeat:
			case fails && ticket.paid:
				if err := q.giveBack(ctx, ticket); err != nil {
					t.Fatal(err)
				}
			case !fails:
				pushes = append(pushes, accepted{id, now})
			}
		}
	})
}

// A clock that is behind, or is wrong by days, neither gives an app its day again and again nor takes it away.
func TestQuotaOfWrongClocks(t *testing.T) {
	t.Parallel()
	l := limits{perDay: 1, zone: time.UTC}
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	spent := wire.Quota{Day: l.day(noon), Used: 1}
	for after, want := range map[time.Duration]int{
		0: 1, 12*time.Hour - 1: 1, 12 * time.Hour: 0, -13 * time.Hour: 1, -36*time.Hour - 1: 0,
	} {
		if got := l.at(spent, noon.Add(after)).Used; got != want {
			t.Errorf("%v later %d are used, want %d", after, got, want)
		}
	}
	spent.Last = noon.Add(time.Hour).UnixNano()
	l = limits{interval: time.Minute, zone: time.UTC}
	if _, err := l.pay(spent, wire.Payment{At: noon.UnixNano()}); err != nil {
		t.Errorf("a push that was an hour ahead still counts: %v", err)
	}
	many := wire.Quota{Payments: make([]wire.Payment, wire.MaxPayments)}
	if q, err := l.pay(many, wire.Payment{Push: 7, At: 1}); err != nil || len(q.Payments) != wire.MaxPayments || q.Payments[wire.MaxPayments-1].Push != 7 {
		t.Errorf("%d payments, %v", len(q.Payments), err)
	}
}

// used is what the app's entry on the broker says; zero without one.
func (a *api) used() int {
	a.t.Helper()
	m, err := a.b.Last(a.t.Context(), wire.QuotasStream, wire.QuotaSubject(a.app))
	if errors.Is(err, broker.ErrNotFound) {
		return 0
	}
	if err != nil {
		a.t.Fatal(err)
	}
	q, err := wire.DecodeQuota(m.Data)
	if err != nil {
		a.t.Fatal(err)
	}
	return q.Used
}

// storm sends requests to several processes at once, and counts the answers by code.
func storm(t *testing.T, processes []*api, n int, command string, body func(int) string) map[Code]int {
	t.Helper()
	handlers := make([]*echo.Echo, len(processes))
	for i, a := range processes {
		handlers[i] = echo.New()
		a.Mount(handlers[i])
	}
	url := "/v4/" + command + "?" + processes[0].query(nil)
	codes := make([]Code, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			w := httptest.NewRecorder()
			handlers[i%len(handlers)].ServeHTTP(w, httptest.NewRequest(http.MethodPost, url, strings.NewReader(body(i))))
			_, rest, _ := strings.Cut(w.Body.String(), `"ErrorCode":`)
			if _, err := fmt.Sscan(strings.Trim(rest[:min(5, len(rest))], ",}\""), &codes[i]); err != nil {
				t.Errorf("%s: %v", w.Body, err)
			}
		})
	}
	wg.Wait()
	count := map[Code]int{}
	for _, c := range codes {
		count[c]++
	}
	return count
}

// noon is a clock that goes as the real one does and does not come to midnight. It is yesterday's, so that no signature has
// expired.
func noon() func() time.Time {
	start := time.Now()
	at := start.Truncate(24 * time.Hour).Add(-12 * time.Hour)
	return func() time.Time { return at.Add(time.Since(start)) }
}

// processes are several Ingests for one app on a broker.
func processes(t *testing.T, b *broker.Broker, n int, change func(*Config, *App)) []*api {
	t.Helper()
	id := push.AppID(1400000000 + lastApp.Add(1))
	clock := noon()
	list := make([]*api, n)
	for i := range list {
		list[i] = serveApp(t, b, id, change)
		list[i].Ingest.now = clock
	}
	return list
}

func distinct(n int) string { return pushBody(fmt.Sprintf(`,"MsgRandom":%d`, n)) }

// Contract §2, quotas: several processes that push at once are admitted exactly the limit, also after a restart.
func TestSection2QuotaOfSeveralProcesses(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	const perDay, sent = 7, 40
	list := processes(t, b, 2, func(_ *Config, app *App) { app.PushPerDay = perDay })
	got := storm(t, list, sent, imPush, distinct)
	if got[codeOK] != perDay || got[codePushPerDay] != sent-perDay || list[0].pushes(1) != perDay || list[0].used() != perDay {
		t.Errorf("%v; %d on the broker, %d used", got, list[0].pushes(1), list[0].used())
	}
	again := serveApp(t, b, list[0].app, func(_ *Config, app *App) { app.PushPerDay = perDay })
	again.Ingest.now = list[0].Ingest.now
	again.refused(codePushPerDay, "7 pushes", imPush, distinct(sent))
	if left := again.quotaLeft(); left != 0 {
		t.Errorf("%v are left, want 0", left)
	}
}

// quotaLeft reads the metric.
func (a *api) quotaLeft() float64 {
	a.t.Helper()
	families, err := a.reg.Gather()
	if err != nil {
		a.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "carillon_ingest_quota_left" && f.GetMetric()[0].GetLabel()[0].GetValue() == a.app.String() {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	return -1
}

// Contract §2: a push that comes to several processes within the second is one push, and costs one.
func TestSection2RepeatsAtSeveralProcesses(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	for { // until a round is done within the second, as it is at once
		list := processes(t, b, 2, func(_ *Config, app *App) { app.PushInterval, app.PushPerDay = time.Hour, 2 })
		before, err := b.LastSeq(t.Context(), wire.PushesStream)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		got := storm(t, list, 8, imPush, func(int) string { return distinct(1) })
		if time.Since(start) >= wire.DuplicateWindow {
			continue
		}
		if n := list[0].pushes(push.Seq(before + 1)); got[codeOK] != 8 || n != 1 || list[0].used() != 1 || list[1].quotaLeft() != 1 {
			t.Errorf("%v; %d on the broker, %d used, %v left", got, n, list[0].used(), list[1].quotaLeft())
		}
		list[0].refused(codePushInterval, "", imPush, distinct(2))
		return
	}
}

// What the broker refuses costs nothing; what it may have taken does.
func TestQuotaOfRefusedPushes(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	var outcome error
	faulty := b.Faulty(func(operation string) error {
		if strings.HasPrefix(operation, "before publish push.") {
			return outcome
		}
		return nil
	})
	a := processes(t, faulty, 1, func(_ *Config, app *App) { app.PushInterval, app.PushPerDay = time.Hour, 3 })[0]
	if left := a.quotaLeft(); left != 3 {
		t.Errorf("%v are left at first, want 3", left)
	}
	outcome = fmt.Errorf("as a test wants: %w", broker.ErrRefused)
	a.refused(codeInternal, "", imPush, distinct(1))
	if a.used() != 0 {
		t.Errorf("%d used", a.used())
	}
	outcome = context.DeadlineExceeded
	a.refused(codeInternal, "", imPush, distinct(2))
	if a.used() != 1 {
		t.Errorf("%d used, want 1", a.used())
	}
	outcome = nil
	a.refused(codePushInterval, "", imPush, distinct(3))
}

// A push that comes otherwise than by im_push pays from the same quota.
func TestAdmitPush(t *testing.T) {
	t.Parallel()
	a := processes(t, brokertest.Start(t), 1, func(_ *Config, app *App) { app.PushPerDay = 2 })[0]
	for n, isNew := range []bool{true, false} {
		settle, err := a.AdmitPush(t.Context(), a.app)
		if err != nil || a.used() != n+1 {
			t.Fatalf("%d used, %v", a.used(), err)
		}
		settle(isNew)
	}
	a.ok(imPush, distinct(1))
	var over *QuotaError
	if _, err := a.AdmitPush(t.Context(), a.app); !errors.As(err, &over) || over.Code != codePushPerDay {
		t.Errorf("a third push of two: %v", err)
	}
	if _, err := a.AdmitPush(t.Context(), 1); err == nil {
		t.Error("a push of no app is admitted")
	}
}

// Without an interval and a daily limit nothing is read and nothing written.
func TestNoQuotaNoEntry(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t))
	a.ok(imPush, pushBody(""))
	if n, err := a.b.LastSeq(t.Context(), wire.QuotasStream); err != nil || n != 0 {
		t.Errorf("%d entries were written, %v", n, err)
	}
}

// A crash at any step of a push that is paid for, and the client's repeat: no push is unpaid, and one unit at most is lost.
func TestCrashWhilePaying(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	limit := func(_ *Config, app *App) { app.PushInterval, app.PushPerDay = time.Second, 1000 }
	for step := 0; ; step++ {
		view, died := brokertest.Crashing(b, step)
		whole := serveAPI(t, b, limit)
		a := serveApp(t, view, whole.app, limit)
		clock := noon()
		a.Ingest.now, whole.Ingest.now = clock, clock
		before, err := b.LastSeq(t.Context(), wire.PushesStream)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		crashed, r := a.call(imPush, pushBody("")), whole.ok(imPush, pushBody(""))
		n, used := whole.pushes(push.Seq(before+1)), whole.used()
		if late := time.Since(start) >= wire.DuplicateWindow; n != 1 && !(late && n == 2) || used < n || used > n+1 {
			t.Errorf("step %d: %d pushes, %d paid for; %s, then %s", step, n, used, crashed.Raw, r.Raw)
		}
		if !died() {
			if step < 6 {
				t.Errorf("there were only %d steps", step)
			}
			return
		}
	}
}
