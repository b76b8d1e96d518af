package ingest

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/usersig"
)

// with signs a call of a command by a key of an app, and gives its code.
func (a *api) with(id push.AppID, key, command, body string) Code {
	a.t.Helper()
	sig, err := usersig.Sign(key, id, admin, time.Now(), time.Hour, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	q := a.query(map[string]string{"usersig": sig, "sdkappid": id.String()})
	return a.do("POST", "/v4/"+command+"?"+q, body).ErrorCode
}

// Apps are added, changed, disabled and removed while requests run: each request is answered as one of the tables says that
// it ran under, and once a change has returned, as that one says.
func TestSetAppsWhileRequestsRun(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t))
	first := App{ID: a.app, Keys: []string{key}, Admins: []string{admin}, CallsPerSecond: 1e6}
	second := first
	second.ID = push.AppID(1400000000 + lastApp.Add(1))
	if err := a.b.EnsureApp(t.Context(), second.ID); err != nil {
		t.Fatal(err)
	}
	set := func(apps ...App) {
		t.Helper()
		if err := a.SetApps(apps); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for n := range 4 {
		wg.Go(func() {
			id := []push.AppID{first.ID, second.ID}[n%2]
			for {
				select { // the test's end ends it
				case <-stop:
					return
				default:
				}
				switch got := a.with(id, key, imPush, pushBody("")); got {
				case codeOK, codeApp, codeSignature, codeDisabled, codePushDisabled, codeFailures, codePushPerDay:
				default:
					t.Errorf("code %d", got)
				}
			}
		})
	}
	expect := func(want Code, id push.AppID, key, command string) {
		t.Helper()
		if got := a.with(id, key, command, pushBody("")); got != want {
			t.Errorf("%s of %d: code %d, want %d", command, id, got, want)
		}
	}
	const names = all + "im_get_attr_name"
	for range 5 {
		expect(codeApp, second.ID, key, imPush)
		set(first, second)
		expect(codeOK, second.ID, key, imPush)

		rotated := second
		rotated.Keys = []string{"the new key", key}
		set(first, rotated)
		expect(codeOK, second.ID, "the new key", imPush)
		expect(codeOK, second.ID, key, imPush)

		off := second
		off.PushDisabled = true
		set(first, off)
		expect(codePushDisabled, second.ID, key, imPush)
		expect(codeOK, second.ID, key, names)
		off.Disabled = true
		set(first, off)
		expect(codeDisabled, second.ID, key, imPush)
		expect(codeDisabled, second.ID, key, names)
		expect(codeOK, first.ID, key, imPush)

		wrong := first
		wrong.Keys = nil
		if err := a.SetApps([]App{wrong, second}); err == nil || !strings.Contains(err.Error(), "no key") {
			t.Errorf("an app without a key: %v", err)
		}
		expect(codeDisabled, second.ID, key, names)
		set(first)
	}
	close(stop)
	wg.Wait()

	rotated := first
	rotated.Keys = []string{"the new key"}
	set(rotated)
	expect(codeOK, first.ID, "the new key", names)
	if got := a.with(first.ID, key, names, `{}`); got != codeSignature && got != codeFailures {
		t.Errorf("a key that is gone: code %d", got)
	}
}

// Limits that change apply at once, to what was counted before.
func TestSetAppsLimits(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t))
	clock := noon()()
	a.Ingest.now = func() time.Time { return clock }
	app := App{ID: a.app, Keys: []string{key}, Admins: []string{admin}}
	n := 0
	pushes := func(want Code) {
		t.Helper()
		n++
		if got := a.call(imPush, distinct(n)).ErrorCode; got != want {
			t.Errorf("push %d: code %d, want %d", n, got, want)
		}
	}
	for _, step := range []struct {
		perDay int
		codes  []Code
		left   float64
	}{
		{2, []Code{codeOK, codeOK, codePushPerDay}, 0}, {3, []Code{codeOK, codePushPerDay}, 0},
		{1, []Code{codePushPerDay}, 0}, {0, []Code{codeOK}, -1}, {9, []Code{codeOK}, 5},
	} {
		app.PushPerDay = step.perDay
		if err := a.SetApps([]App{app}); err != nil {
			t.Fatal(err)
		}
		for _, want := range step.codes {
			pushes(want)
		}
		if left := a.quotaLeft(); left != step.left {
			t.Errorf("%v are left of %d, want %v", left, step.perDay, step.left)
		}
	}
	app.PushInterval = time.Minute
	if err := a.SetApps([]App{app}); err != nil {
		t.Fatal(err)
	}
	pushes(codePushInterval)
}
