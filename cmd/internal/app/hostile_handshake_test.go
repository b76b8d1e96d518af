package app_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/carillon-push/carillon/cmd/internal/app/apptest"
	"github.com/carillon-push/carillon/cmd/internal/config"
)

// Who connects and says nothing, or says it a byte at a time, is cut off when a handshake's time is over, however lively it
// is; others log in meanwhile.
func TestSlowHandshakesAreCutOff(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, func(c *config.Config) { c.Sessions.HandshakeTimeout = 500 * time.Millisecond })
	request := upgrade(credentials(t, "u").Encode())
	var slow []*rawClient
	for _, begun := range []string{"", "G", "GET /v1/session HTTP/1.1\r\nHost: x\r\n", request[:len(request)-2]} {
		c := connectTo(t, sessionsAddress(s), 0)
		c.text(begun)
		slow = append(slow, c)
	}
	drip := connectTo(t, sessionsAddress(s), 0)
	dripped := make(chan struct{})
	go func() { // a header without an end, until the service ends it
		defer close(dripped)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		_, err := io.WriteString(drip, "GET /v1/session HTTP/1.1\r\nHost: x\r\nX-Long: ")
		for err == nil {
			<-tick.C
			_, err = io.WriteString(drip, "x")
		}
	}()
	s.Dial("u").Close()
	for _, c := range append(slow, drip) {
		c.cutOff()
	}
	_ = drip.Close()
	<-dripped

	// Who was refused has no more time than that for another try.
	again := connectTo(t, sessionsAddress(s), 0)
	again.text("GET /v1/session HTTP/1.1\r\nHost: x\r\n\r\n")
	res, err := http.ReadResponse(again.r, nil)
	if err != nil || res.StatusCode != http.StatusForbidden {
		t.Fatalf("%+v, %v", res, err)
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Fatal(err)
	}
	again.ended()
	awaitMeasured(t, s, openHandshakes, 0)
}

// While as many handshakes are held as may be, sessions go on and newcomers are turned away; then they are let in again.
func TestHandshakesThatAreHeldHarmNoSession(t *testing.T) {
	t.Parallel()
	const most = 4
	s := apptest.Start(t, func(c *config.Config) {
		c.Sessions.MaxHandshakes, c.Sessions.HandshakeTimeout = most, time.Second
	})
	session := s.Dial("u")
	awaitMeasured(t, s, openHandshakes, 0)
	for range most {
		connectTo(t, sessionsAddress(s), 0)
	}
	for range 3 {
		connectTo(t, sessionsAddress(s), 0).ended()
	}
	if n := measured(t, s, refusedAtOnce); n != 3 {
		t.Errorf("%v connections are counted as refused, want 3", n)
	}
	s.Push(apptest.Text("in between", 0, nil))
	if text, _ := session.Push(); text != "in between" {
		t.Errorf("got %q", text)
	}
	awaitMeasured(t, s, openHandshakes, 0)
	s.Dial("v")
}

// Whatever stands in the URL of a session, nobody is let in who did not sign for himself, and nothing breaks.
func TestHostileURLs(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	const app = "sdkappid=1400000001&"
	sig := func(account string) string { return "usersig=" + apptest.Sig(t, account) }
	for name, c := range map[string]struct {
		query  string
		status int
		code   string
	}{
		"a usersig of 40 KB":                 {app + "identifier=u&usersig=" + strings.Repeat("e", 40_000), 431, ""},
		"a usersig as long as may be":        {app + "identifier=u&usersig=" + strings.Repeat("e", 30_000), 401, "70003"},
		"an identifier of 30 KB":             {app + sig("u") + "&identifier=" + strings.Repeat("u", 30_000), 403, "70402"},
		"a bare NUL":                         {app + sig("u") + "&identifier=u\x00", 400, ""},
		"a NUL in the usersig":               {app + "identifier=u&" + sig("u") + "%00", 401, "70003"},
		"a NUL in the identifier":            {app + "identifier=u%00&" + sig("u"), 401, "70013"},
		"a NUL in the app":                   {"sdkappid=1400000001%00&identifier=u&" + sig("u"), 403, "60012"},
		"a bare line break":                  {app + "identifier=u\n&" + sig("u"), 400, ""},
		"a header in the identifier":         {app + "identifier=u%0d%0aX-Evil:1&" + sig("u"), 401, "70013"},
		"a percent sign for itself":          {app + "identifier=%&" + sig("u"), 400, "60002"},
		"bad hexadecimal":                    {app + "identifier=u&usersig=%zz", 400, "60002"},
		"half an escape":                     {app + "identifier=u&usersig=%4", 400, "60002"},
		"a bad escape in what may be absent": {app + "identifier=u&" + sig("u") + "&platform=%zz", 400, "60002"},
		"not UTF-8":                          {app + "identifier=%ff%fe&" + sig("u"), 401, "70013"},
		"a surrogate":                        {app + "identifier=%ed%a0%80&" + sig("u"), 401, "70013"},
		"bare bytes":                         {app + "identifier=\xff\xfe&" + sig("u"), 401, "70013"},
		"semicolons":                         {"sdkappid=1400000001;identifier=u;" + sig("u"), 400, "60002"},
		"another account before one's":       {app + "identifier=boss&identifier=u&" + sig("u"), 401, "70013"},
		"another signature before one's":     {app + "identifier=u&" + sig("boss") + "&" + sig("u"), 401, "70013"},
		"an app before one's":                {"sdkappid=7&" + app + "identifier=u&" + sig("u"), 403, "60006"},
		"an app beyond 64 bits":              {"sdkappid=99999999999999999999&identifier=u&" + sig("u"), 403, "60012"},
		"a negative app":                     {"sdkappid=-1&identifier=u&" + sig("u"), 403, "60012"},
		"a thousand parameters":              {strings.Repeat("a=b&", 1000) + "identifier=u", 403, "60012"},
		"a platform with a NUL":              {app + "identifier=u&platform=%00&" + sig("u"), 403, "70402"},
	} {
		client := connectTo(t, sessionsAddress(s), 0)
		client.text(upgrade(c.query))
		res, err := http.ReadResponse(client.r, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		body, err := io.ReadAll(res.Body)
		if res.StatusCode != c.status || c.code != "" && !strings.Contains(string(body), `"ErrorCode":`+c.code) || err != nil && c.code != "" {
			t.Errorf("%s: HTTP %d %.200q, %v, want %d and %s", name, res.StatusCode, body, err, c.status, c.code)
		}
		_ = client.Close()
	}
	awaitMeasured(t, s, openHandshakes, 0)
	if n := measured(t, s, openSessions); n != 0 {
		t.Errorf("%v sessions came of it", n)
	}

	// What is only odd is served: the first of a name counts, and an account is any text that a signature can name.
	for account, query := range map[string]string{
		"u":     app + "identifier=u&identifier=boss&" + sig("u"),
		"a\x00": app + "identifier=a%00&" + sig("a\x00"),
		"漢":     app + "identifier=%e6%bc%a2&" + sig("漢"),
	} {
		connectTo(t, sessionsAddress(s), 0).logIn(query)
		if !online(t, s, account) {
			t.Errorf("%q is not online after %q", account, query)
		}
	}
	if online(t, s, "boss") {
		t.Error("boss is online by another's signature")
	}
}

// online says whether an account has a session.
func online(t *testing.T, s *apptest.System, account string) bool {
	t.Helper()
	var answer struct{ QueryResult []struct{ Status string } }
	s.Call("openim/query_online_status", map[string]any{"To_Account": []string{account}}, &answer)
	return len(answer.QueryResult) == 1 && answer.QueryResult[0].Status == "Online"
}
