package ingest

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"maps"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/usersig"
)

// Contract §1, the URL and who calls.
func TestSection1Calling(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t))
	expired, err := usersig.Sign(key, a.app, admin, time.Now().Add(-2*time.Hour), time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	forged, err := usersig.Sign("not the key", a.app, admin, time.Now(), time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := usersig.Sign(key, a.app+1, admin, time.Now(), time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	type set = map[string]string
	for _, c := range []struct {
		name, method, path string
		query              set
		body               string
		want               Code
	}{
		{"well formed", "POST", all + "im_get_attr_name", nil, `{}`, codeOK},
		{"not POST", "GET", all + "im_get_attr_name", nil, ``, codeURL},
		{"a method nobody knows", "FROB", all + "im_get_attr_name", nil, `{}`, codeURL},
		{"no command", "POST", "all_member_push", nil, `{}`, codeURL},
		{"an empty command", "POST", "all_member_push/", nil, `{}`, codeURL},
		{"more than a command", "POST", all + "im_push/now", nil, `{}`, codeURL},
		{"nothing", "POST", "", nil, `{}`, codeURL},
		{"random is no number", "POST", all + "im_get_attr_name", set{"random": "x"}, `{}`, codeURL},
		{"random is no uint32", "POST", all + "im_get_attr_name", set{"random": "4294967296"}, `{}`, codeURL},
		{"random is absent", "POST", all + "im_get_attr_name", set{"random": ""}, `{}`, codeOK},
		{"another content type", "POST", all + "im_get_attr_name", set{"contenttype": "xml"}, `{}`, codeURL},
		{"an unknown service", "POST", "all_members/im_push", nil, `{}`, codeCommand},
		{"an unknown command", "POST", all + "IM_PUSH", nil, `{}`, codeCommand},
		{"no app", "POST", imPush, set{"sdkappid": ""}, `{}`, codeNoApp},
		{"no account", "POST", imPush, set{"identifier": ""}, `{}`, codeNoIdentifier},
		{"no signature", "POST", imPush, set{"usersig": ""}, `{}`, codeNoUserSig},
		{"an unknown app", "POST", imPush, set{"sdkappid": "7"}, `{}`, codeApp},
		{"an app that is no number", "POST", imPush, set{"sdkappid": "seven"}, `{}`, codeApp},
		{"an expired signature", "POST", imPush, set{"usersig": expired}, `{}`, codeExpired},
		{"no signature at all", "POST", imPush, set{"usersig": "eJw*"}, `{}`, codeMalformedSig},
		{"a forged signature", "POST", imPush, set{"usersig": forged}, `{}`, codeSignature},
		{"another's signature", "POST", imPush, set{"usersig": a.sign("somebody")}, `{}`, codeSigIdentifier},
		{"another app's signature", "POST", imPush, set{"usersig": foreign}, `{}`, codeSigApp},
		{"no admin, push", "POST", imPush, set{"identifier": "joe", "usersig": a.sign("joe")}, `{`, codeRightsPush},
		{"no admin, accounts", "POST", login + "kick", set{"identifier": "joe", "usersig": a.sign("joe")}, `{`, codeRightsAccounts},
		{"no admin, online", "POST", online, set{"identifier": "joe", "usersig": a.sign("joe")}, `{`, codeRights},
		{"no JSON, push", "POST", imPush, nil, `{`, codeBodyPush},
		{"no JSON, accounts", "POST", login + "kick", nil, `{`, codeBodyAccounts},
		{"no JSON, online", "POST", online, nil, `{`, codeBodyAccounts},
		{"an empty body", "POST", imPush, nil, ``, codeBodyPush},
		{"no object", "POST", imPush, nil, `"x"`, codeBodyPush},
		{"null", "POST", imPush, nil, `null`, codeBodyPush},
		{"a comment", "POST", imPush, nil, "{} // as in the vendor's samples", codeBodyPush},
		{"not UTF-8", "POST", imPush, nil, "{\"MsgBody\":\"\xff\"}", codeBodyPush},
		{"an account that is no string", "POST", login + "account_import", nil, `{"UserID":7}`, codeAccountType},
	} {
		t.Run(c.name, func(t *testing.T) {
			if r := a.do(c.method, "/v4/"+c.path+"?"+a.query(c.query), c.body); r.ErrorCode != c.want {
				t.Errorf("%s, want %d", r.Raw, c.want)
			}
		})
	}
	for _, path := range []string{"/v4", "/v4/", "/v4?" + a.query(nil)} {
		if r := a.do("POST", path, `{}`); r.ErrorCode != codeURL {
			t.Errorf("%s: %s", path, r.Raw)
		}
	}
	if r := a.do("POST", "/v4/"+imPush+"?sdkappid=%zz", `{}`); r.ErrorCode != codeURL {
		t.Errorf("a URL that cannot be parsed: %s", r.Raw)
	}
	if r := a.do("HEAD", "/v4/"+imPush, ""); r.Status != http.StatusOK {
		t.Errorf("HEAD: status %d", r.Status)
	}
}

// Contract §1: names are case-sensitive.
func TestSection1NamesAreCaseSensitive(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t))
	a.refused(codeParameter, "UserID: missing", login+"account_import", `{"userid":"u"}`)
	a.ok(login+"account_import", `{"userid":"no","UserID":"u","USERID":"no"}`)
	a.ok(login+"account_check", `{"CheckItem":[{"UserID":"u"}]}`).extra(t,
		`"ResultItem":[{"UserID":"u","ResultCode":0,"ResultInfo":"","AccountStatus":"Imported"}]`)
}

// Contract §1: a body over the limit is HTTP 413, one of exactly the limit is read.
func TestSection1BodyLimit(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t), func(c *Config, _ *App) { c.BodyLimit, c.MessageLimit = 100, 50 })
	fits := `{}` + strings.Repeat(" ", 98)
	if r := a.call(all+"im_get_attr_name", fits); r.Status != http.StatusOK || r.ErrorCode != codeOK {
		t.Errorf("100 bytes: %d %s", r.Status, r.Raw)
	}
	if r := a.call(all+"im_get_attr_name", fits+" "); r.Status != http.StatusRequestEntityTooLarge || r.ErrorCode != codeTooLong {
		t.Errorf("101 bytes: %d %s", r.Status, r.Raw)
	}
}

// Contract §1: 60007. Each command and app has calls of its own, and more of them as time goes on.
func TestSection1Frequency(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t), func(_ *Config, app *App) { app.CallsPerSecond = 2 })
	clock := time.Now()
	a.Ingest.now = func() time.Time { return clock }
	a.ok(all+"im_get_attr_name", `{}`)
	a.ok(all+"im_get_attr_name", `{}`)
	a.refused(codeFrequency, "im_get_attr_name", all+"im_get_attr_name", `{`)
	a.ok(all+"im_get_tag", `{"To_Account":["u"]}`)
	clock = clock.Add(time.Second)
	a.ok(all+"im_get_attr_name", `{}`)
}

func TestSection1DefaultFrequencies(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t), func(_ *Config, app *App) { app.CallsPerSecond = 0 })
	clock := time.Now()
	a.Ingest.now = func() time.Time { return clock }
	for name, c := range a.commands {
		want, got := 100, 0
		if name == login+"account_import" {
			want = 200
		}
		for a.mayCall(a.tenant(a.app), c) {
			got++
		}
		if got != want {
			t.Errorf("%s: %d calls a second, want %d", name, got, want)
		}
	}
}

// Contract §1: 70050. A signature that verifies is taken however many failed before, and failures are forgotten.
func TestSection1FailedAuthentications(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t))
	clock := time.Now()
	a.Ingest.now = func() time.Time { return clock }
	fail := func(identifier string) Code {
		return a.do("POST", "/v4/"+imPush+"?"+a.query(map[string]string{"identifier": identifier, "usersig": "x"}), `{}`).ErrorCode
	}
	for range failuresPerMinute {
		if got := fail(admin); got != codeMalformedSig {
			t.Fatalf("code %d", got)
		}
	}
	if got := fail(admin); got != codeFailures {
		t.Errorf("one failure too many: code %d", got)
	}
	if got := fail("second"); got != codeMalformedSig {
		t.Errorf("another identifier: code %d", got)
	}
	a.ok(all+"im_get_attr_name", `{}`)
	clock = clock.Add(time.Minute)
	if got := fail(admin); got != codeMalformedSig {
		t.Errorf("a minute later: code %d", got)
	}
	// One address that guesses many identifiers is told no more either; another address is, and so is a signature that verifies.
	last := codeOK
	for n := range failuresPerAddress + 1 {
		last = fail(fmt.Sprint("guess", n))
	}
	if last != codeFailures {
		t.Errorf("one failure too many from an address: code %d", last)
	}
	if !a.failures.allow(a.app, "guess", "192.0.2.1:1", clock) {
		t.Error("another address is not told")
	}
	a.ok(all+"im_get_attr_name", `{}`)
	for n := range 2 * failuresKept {
		a.failures.allow(a.app, fmt.Sprint(n), "192.0.2.1:1", clock)
	}
	if n := a.failures.counters.Len(); n != failuresKept {
		t.Errorf("%d counters are kept, want %d", n, failuresKept)
	}
}

// Contract §1: 91000 and 70500 tell nothing of the inside.
func TestSection1InternalErrors(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	whole := serveAPI(t, b)
	whole.ok(login+"account_import", `{"UserID":"u"}`)
	broken, _ := brokertest.Crashing(b, 0)
	a := serveApp(t, broken, whole.app)
	a.refused(codeInternal, internalInfo, imPush, pushBody(""))
	a.refused(codeInternal, internalInfo, all+"im_add_tag", `{"UserTags":[{"To_Account":"u","Tags":["a"]}]}`)
	a.refused(codeInternal70, internalInfo, login+"account_import", `{"UserID":"new"}`)
	a.ok(login+"account_delete", `{"DeleteItem":[{"UserID":"u"}]}`).extra(t,
		`"ResultItem":[{"ResultCode":70500,"ResultInfo":"internal error: try again","UserID":"u"}]`)
}

// Whatever happens is counted under the contract's names and codes alone.
func TestMetrics(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t))
	a.ok(imPush, pushBody(""))
	a.ok(imPush, pushBody(`,"MsgRandom":8`))
	a.call("x/y", `{}`)
	a.refused(codeBodyPush, "", imPush, `{`)
	families, err := a.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	want := map[string]float64{
		"carillon_ingest_frequency_alone_total":        0,
		"carillon_ingest_quota_waiting":                0,
		"carillon_ingest_pushes_total accepted":        2,
		"carillon_ingest_requests_total 0 im_push":     2,
		"carillon_ingest_requests_total 60009 unknown": 1,
		"carillon_ingest_requests_total 90001 im_push": 1,
		"carillon_ingest_request_seconds im_push":      3,
		"carillon_ingest_request_seconds unknown":      1,
	}
	if !maps.Equal(got, want) {
		t.Errorf("metrics %v, want %v", got, want)
	}
}

// Neither a signature nor a key is in the log, whatever becomes of the request.
func TestSecretsAreNotLogged(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	broken, _ := brokertest.Crashing(b, 0)
	a := serveAPI(t, broken)
	var log bytes.Buffer
	a.log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	sig := a.sign(admin)
	for _, identifier := range []string{admin, "joe"} {
		a.do("POST", "/v4/"+imPush+"?"+a.query(map[string]string{"usersig": sig, "identifier": identifier}), pushBody(""))
	}
	a.srv.Close() // waits for the handlers, which log
	if s := log.String(); strings.Contains(s, sig) || strings.Contains(s, key) || strings.Count(s, "msg=request") != 2 {
		t.Errorf("log:\n%s", s)
	}
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	good := App{ID: 1, Keys: []string{"k"}, Admins: []string{"a"}}
	for want, change := range map[string]func(*Config, *App){
		"":                 func(*Config, *App) {},
		"no sdkappid":      func(_ *Config, a *App) { a.ID = 0 },
		"no key":           func(_ *Config, a *App) { a.Keys = []string{"k", ""} },
		"no admin":         func(_ *Config, a *App) { a.Admins = nil },
		"cannot be":        func(_ *Config, a *App) { a.Admins = []string{long51} },
		"negative":         func(_ *Config, a *App) { a.PushPerDay = -1 },
		"configured twice": func(c *Config, a *App) { c.Apps = append(c.Apps, good) },
		"message limit":    func(c *Config, _ *App) { c.MessageLimit = 1 << 20 },
		"could arrive":     func(c *Config, _ *App) { c.BodyLimit = 100 },
		"given some time":  func(c *Config, _ *App) { c.CallTimeout = 0 },
	} {
		cfg, app := Default(), good
		change(&cfg, &app)
		cfg.Apps = append(cfg.Apps, app)
		err := cfg.Validate()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if s := (App{ID: 1, Keys: []string{"secret"}}).String(); strings.Contains(s, "secret") {
		t.Errorf("a key shows: %s", s)
	}
}

// Every code that the package can answer with has a row in these tests.
func TestEveryCodeHasARow(t *testing.T) {
	t.Parallel()
	codes, rows := map[string]bool{}, map[string]bool{}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				if name == "codes.go" && strings.HasPrefix(n.Names[0].Name, "code") {
					codes[n.Names[0].Name] = true
				}
			case *ast.Ident:
				if strings.HasSuffix(name, "_test.go") {
					rows[n.Name] = true
				}
			}
			return true
		})
	}
	for c := range codes {
		if !rows[c] {
			t.Errorf("%s stands in no test", c)
		}
	}
	if len(codes) < 40 {
		t.Errorf("only %d codes were found", len(codes))
	}
}
