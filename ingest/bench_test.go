package ingest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/carillon-push/carillon/pkg/broker/brokertest"
)

// benchmark has an app call commands by turns, one after the other.
func benchmark(b *testing.B, a *api, body func(n int) string, commands ...string) {
	e := echo.New()
	a.Mount(e)
	query := a.query(nil)
	n := 0
	for b.Loop() {
		n++
		w := httptest.NewRecorder()
		url := "/v4/" + commands[n%len(commands)] + "?" + query
		e.ServeHTTP(w, httptest.NewRequest(http.MethodPost, url, strings.NewReader(body(n))))
		if !strings.Contains(w.Body.String(), `"ErrorCode":0`) {
			b.Fatal(w.Body)
		}
	}
}

func BenchmarkPush(b *testing.B) { benchmark(b, serveAPI(b, brokertest.Start(b)), distinct, imPush) }

func BenchmarkPushWithQuota(b *testing.B) {
	a := serveAPI(b, brokertest.Start(b), func(_ *Config, app *App) { app.PushPerDay = 1e9 })
	benchmark(b, a, distinct, imPush)
}

const benchTags = `{"UserTags":[{"To_Account":"u","Tags":["a"]}]}`

// A tag is given and taken, so that each call writes.
func BenchmarkAddTag(b *testing.B) {
	a := serveAPI(b, brokertest.Start(b))
	a.ok(login+"account_import", `{"UserID":"u"}`)
	benchmark(b, a, func(int) string { return benchTags }, addTag, removeTag)
}

// The worst case of frequencies: each call is the first of its second and needs a lease.
func BenchmarkAddTagOnceASecond(b *testing.B) {
	a := serveAPI(b, brokertest.Start(b), func(_ *Config, app *App) { app.CallsPerSecond = 0 })
	a.ok(login+"account_import", `{"UserID":"u"}`)
	at := time.Now().Add(-1000 * time.Hour) // no signature has expired before the benchmark is over
	a.Ingest.now = func() time.Time { at = at.Add(time.Second); return at }
	benchmark(b, a, func(int) string { return benchTags }, addTag, removeTag)
}

// What a lease alone costs.
func BenchmarkLease(b *testing.B) {
	a := serveAPI(b, brokertest.Start(b))
	second, c := int64(1e9), a.commands[addTag]
	for b.Loop() {
		second++
		if _, err := a.addCalls(a.app, c, second, 10); err != nil {
			b.Fatal(err)
		}
	}
}
