package ingest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/directory"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// Contract §3, accounts.
func TestSection3Accounts(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t))
	a.ok(login+"account_import", `{"UserID":"u1","Nick":"n","FaceUrl":"http://x"}`).extra(t, "")
	a.ok(login+"account_import", `{"UserID":"u1","Nick":null}`).extra(t, "")
	a.ok(login+"account_import", `{"Identifier":"u2"}`).extra(t, "")
	a.ok(login+"multiaccount_import", `{"Accounts":["u3","u1","u3"]}`).extra(t, `"FailAccounts":[]`)
	long33 := strings.Repeat("y", 33)
	a.ok(login+"multiaccount_import", `{"Accounts":["u4","","`+long33+`"]}`).extra(t, `"FailAccounts":["","`+long33+`"]`)
	a.ok(login+"multiaccount_import", `{"Accounts":[""]}`).extra(t, `"FailAccounts":[""]`)

	item := func(name, status string) string {
		return fmt.Sprintf(`{"UserID":%q,"ResultCode":0,"ResultInfo":"","AccountStatus":%q}`, name, status)
	}
	a.ok(login+"account_check", `{"CheckItem":[{"UserID":"u4"},{"UserID":"u5"},{"UserID":""},{"UserID":"u2"}]}`).extra(t, `"ResultItem":[`+
		item("u4", "Imported")+","+item("u5", "NotImported")+","+item("", "NotImported")+","+item("u2", "Imported")+`]`)

	a.ok(login+"account_delete", `{"DeleteItem":[{"UserID":"u1"},{"UserID":"u5"},{"UserID":"u2"},{"UserID":""}]}`).extra(t, `"ResultItem":[`+
		`{"ResultCode":0,"ResultInfo":"","UserID":"u1"},{"ResultCode":70107,"ResultInfo":"account \"u5\" does not exist","UserID":"u5"},`+
		`{"ResultCode":0,"ResultInfo":"","UserID":"u2"},{"ResultCode":70107,"ResultInfo":"account \"\" does not exist","UserID":""}]`)
	a.ok(login+"account_check", `{"CheckItem":[{"UserID":"u1"}]}`).extra(t, `"ResultItem":[`+item("u1", "NotImported")+`]`)
	a.refused(codeNotImported, `"u1"`, addTag, `{"UserTags":[{"To_Account":"u1","Tags":["a"]}]}`)
	a.ok(login+"account_import", `{"UserID":"u1"}`)
	a.ok(login+"kick", `{"UserID":"u1"}`).extra(t, "")
	a.ok(login+"kick", `{"Identifier":"u1"}`).extra(t, "")
}

// Contract §3, accounts: what is refused.
func TestSection3AccountRefusals(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t))
	for _, command := range []string{"account_import", "kick"} {
		a.refused(codeParameter, "UserID: missing", login+command, `{}`)
		a.refused(codeParameter, "UserID: missing", login+command, `{"UserID":null}`)
		a.refused(codeParameter, "UserID: an account must not be empty", login+command, `{"UserID":""}`)
		a.refused(codeParameter, "at most 32 bytes", login+command, `{"UserID":"`+long51+`"}`)
		a.refused(codeAccountType, "UserID: not a string", login+command, `{"UserID":["u"]}`)
	}
	a.refused(codeNoSuchAccount, `"u"`, login+"kick", `{"UserID":"u"}`)
	a.refused(codeParameter, "Accounts: missing", login+"multiaccount_import", `{}`)
	a.refused(codeParameter, "Accounts: not an array", login+"multiaccount_import", `{"Accounts":"u"}`)
	a.refused(codeParameter, "Accounts: 101", login+"multiaccount_import", `{"Accounts":`+strs(101, "u%d")+`}`)
	a.refused(codeAccountType, "Accounts[1]", login+"multiaccount_import", `{"Accounts":["u",1]}`)
	a.refused(codeAccountType, "Accounts[1]: not a string", login+"multiaccount_import", `{"Accounts":["u",null]}`)
	for command, list := range map[string]string{"account_delete": "DeleteItem", "account_check": "CheckItem"} {
		a.refused(codeParameter, list+": missing", login+command, `{}`)
		a.refused(codeParameter, list+": an empty array", login+command, `{"`+list+`":[]}`)
		a.refused(codeParameter, list+"[0]: not an object", login+command, `{"`+list+`":["u"]}`)
		a.refused(codeParameter, list+"[0].UserID: missing", login+command, `{"`+list+`":[{}]}`)
		a.refused(codeAccountType, list+"[0].UserID", login+command, `{"`+list+`":[{"UserID":1}]}`)
		a.refused(codeParameter, list+": 101", login+command, `{"`+list+`":`+elems(101, `{"UserID":"u%d"}`)+`}`)
	}
	users, err := directory.New(a.b).Users(t.Context(), a.app, "u", "u1")
	if err != nil || len(users) != 0 {
		t.Errorf("refused, and yet there are %v, %v", users, err)
	}
}

// gateway answers for some sessions, as deliver does, and gives what it was told to end.
func gateway(t *testing.T, a *api, sessions ...wire.SessionStatus) (ended func() []wire.EndRequest) {
	t.Helper()
	leave, err := a.b.Join(wire.RoleDeliver)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var mu sync.Mutex
	var ends []wire.EndRequest
	var wg sync.WaitGroup
	serve := func(subject string, handle func(*broker.Request)) {
		wg.Go(func() {
			if err := a.b.Serve(ctx, subject, "", nil, handle); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
	serve(wire.SessionStatusSubject(a.app), func(r *broker.Request) {
		if err := r.Respond(wire.EncodeJSON(wire.StatusReply{Sessions: sessions})); err != nil {
			t.Error(err)
		}
	})
	serve(wire.SessionEndSubject(a.app), func(r *broker.Request) {
		end, err := wire.DecodeJSON[wire.EndRequest](r.Data)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		ends = append(ends, end)
		mu.Unlock()
		if err := r.Respond(wire.EncodeJSON(wire.EndReply{})); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait(); leave() })
	for _, subject := range []string{wire.SessionStatusSubject(a.app), wire.SessionEndSubject(a.app)} {
		for { // until it is heard; nobody hears it while it is not served
			if _, err := a.b.Request(t.Context(), subject, wire.EncodeJSON(wire.EndRequest{})); err == nil {
				break
			} else if !errors.Is(err, broker.ErrUnavailable) {
				t.Fatal(err)
			}
		}
	}
	for { // until the gateway is known as a member, which the broker then remembers for a while
		replies, err := a.b.Gather(t.Context(), wire.RoleDeliver, wire.SessionStatusSubject(a.app), nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(replies) > 0 {
			break
		}
	}
	return func() []wire.EndRequest {
		mu.Lock()
		defer mu.Unlock()
		return append([]wire.EndRequest{}, ends[1:]...) // behind the one above
	}
}

// Contract §3: query_online_status, and the sessions that kick and account_delete end.
func TestSection3Sessions(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t))
	ordinals, err := directory.New(a.b).Register(t.Context(), a.app, "u1", "u2")
	if err != nil {
		t.Fatal(err)
	}
	const offline = `"QueryResult":[{"To_Account":"u1","Status":"Offline","State":"Offline"}],"ErrorList":[]`
	a.ok(online, `{"To_Account":["u1"],"IsNeedDetail":1}`).extra(t, offline) // no gateway at all

	ended := gateway(t, a, wire.SessionStatus{Ordinal: ordinals["u2"], Platform: "Web"},
		wire.SessionStatus{Ordinal: ordinals["u2"], Platform: "Android"}, wire.SessionStatus{Ordinal: ordinals["u2"], Platform: "Web"})
	on := func(detail string) string {
		return `"QueryResult":[{"To_Account":"u2","Status":"Online","State":"Online"` + detail + `},{"To_Account":"u1","Status":"Offline","State":"Offline"}],` +
			`"ErrorList":[{"To_Account":"u9","ErrorCode":70107},{"To_Account":"","ErrorCode":70107}]`
	}
	a.ok(online, `{"To_Account":["u2","u9","u1",""]}`).extra(t, on(""))
	a.ok(online, `{"To_Account":["u2","u9","u1",""],"IsNeedDetail":0}`).extra(t, on(""))
	a.ok(online, `{"To_Account":["u2","u9","u1",""],"IsNeedDetail":1}`).extra(t,
		on(`,"Detail":[{"Platform":"Android","Status":"Online"},{"Platform":"Web","Status":"Online"}]`))

	dir, now := directory.New(a.b), time.Now()
	for _, d := range []struct {
		user string
		dev  wire.Device
	}{
		{"u1", wire.Device{Channel: "apns", Token: "1", Platform: "iOS", Seen: now.Unix()}},
		{"u1", wire.Device{Channel: "fcm", Token: "2", Platform: "Android", Seen: now.Add(-8 * 24 * time.Hour).Unix()}},
		{"u2", wire.Device{Channel: "apns", Token: "3", Platform: "iOS", Seen: now.Unix()}},
		{"u2", wire.Device{Channel: "webpush", Token: "4", Platform: "Web", Seen: now.Unix()}},
	} {
		if err := dir.RegisterDevice(t.Context(), a.app, ordinals[d.user], d.dev); err != nil {
			t.Fatal(err)
		}
	}
	a.ok(online, `{"To_Account":["u1","u2"]}`).extra(t, `"QueryResult":[{"To_Account":"u1","Status":"PushOnline","State":"PushOnline"},`+
		`{"To_Account":"u2","Status":"Online","State":"Online"}],"ErrorList":[]`)
	a.ok(online, `{"To_Account":["u1","u2"],"IsNeedDetail":1}`).extra(t, `"QueryResult":[{"To_Account":"u1","Status":"PushOnline","State":"PushOnline",`+
		`"Detail":[{"Platform":"iOS","Status":"PushOnline"}]},{"To_Account":"u2","Status":"Online","State":"Online","Detail":[`+
		`{"Platform":"Android","Status":"Online"},{"Platform":"Web","Status":"Online"},{"Platform":"iOS","Status":"PushOnline"}]}],"ErrorList":[]`)
	for u, o := range ordinals { // a device that is not in use makes nobody PushOnline
		if err := dir.DeleteDevices(t.Context(), a.app, o); err != nil {
			t.Fatal(u, err)
		}
	}
	if err := dir.RegisterDevice(t.Context(), a.app, ordinals["u1"], wire.Device{Channel: "apns", Token: "1", Seen: now.Add(-8 * 24 * time.Hour).Unix()}); err != nil {
		t.Fatal(err)
	}
	a.ok(online, `{"To_Account":["u1"]}`).extra(t, offline)

	a.refused(codeManyOnline, "To_Account", online, `{"To_Account":`+strs(501, "u%d")+`}`)
	a.refused(codeParameter, "To_Account: missing", online, `{}`)
	a.refused(codeParameter, "IsNeedDetail", online, `{"To_Account":["u1"],"IsNeedDetail":true}`)
	a.refused(codeAccountType, "To_Account[0]", online, `{"To_Account":[1]}`)
	a.refused(codeAccountType, "To_Account[1]: not a string", online, `{"To_Account":["u",null]}`)

	a.ok(login+"kick", `{"UserID":"u2"}`)
	a.ok(login+"account_delete", `{"DeleteItem":[{"UserID":"u1"}]}`)
	want := []wire.EndRequest{{Ordinal: ordinals["u2"], Code: wire.CloseKicked}, {Ordinal: ordinals["u1"], Code: wire.CloseDeleted}}
	if got := ended(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("ended %v, want %v", got, want)
	}
}

// A crash at any step of an import, and the client's repeat, give one whole account that pushes and changes find.
func TestCrashWhileImporting(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, func(c *broker.Config) { c.Sharding = 4 })
	whole := serveAPI(t, b)
	var last push.Ordinal
	brokertest.EachCrash(t, b, func(view *broker.Broker, step int) {
		r := serveApp(t, view, whole.app).call(login+"account_import", fmt.Sprintf(`{"UserID":"u%d"}`, step))
		if r.ErrorCode != codeOK && r.ErrorCode != codeInternal70 {
			t.Errorf("step %d: %s", step, r.Raw)
		}
	}, func(step int) {
		name := fmt.Sprint("u", step)
		whole.ok(login+"account_import", fmt.Sprintf(`{"UserID":%q}`, name))
		whole.ok(addTag, fmt.Sprintf(`{"UserTags":[{"To_Account":%q,"Tags":["a"]}]}`, name))
		users, err := directory.New(b).Users(t.Context(), whole.app, name)
		u := users[name]
		if err != nil || u.Ordinal != last+1 || !u.Record.HasTag("a") {
			t.Errorf("step %d: %v, %v: want ordinal %d", step, u, err, last+1)
		}
		last = u.Ordinal
	})
}
