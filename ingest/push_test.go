package ingest

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// pushBody is an im_push with some members more. Of a member that stands twice the last one counts.
func pushBody(more string) string {
	return `{"MsgRandom":7,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"hi"}}]` + more + `}`
}

// stored reads a push back from the broker by its TaskId.
func (a *api) stored(id string) *push.Push {
	a.t.Helper()
	app, seq, err := push.TaskID(id).Parse()
	if err != nil || app != a.app {
		a.t.Fatalf("TaskId %q: %v", id, err)
	}
	m, err := a.b.Get(a.t.Context(), wire.PushesStream, uint64(seq))
	if err != nil {
		a.t.Fatal(err)
	}
	p, err := wire.DecodePush(m.Data, push.Seq(m.Seq))
	if err != nil {
		a.t.Fatal(err)
	}
	return p
}

// pushes counts the app's pushes on the broker.
func (a *api) pushes(from push.Seq) (n int) {
	a.t.Helper()
	last, err := a.b.LastSeq(a.t.Context(), wire.PushesStream)
	if err != nil {
		a.t.Fatal(err)
	}
	for seq := uint64(from); seq <= last; seq++ {
		m, err := a.b.Get(a.t.Context(), wire.PushesStream, seq)
		if err == nil && strings.HasPrefix(m.Subject, strings.TrimSuffix(wire.PushFilter(a.app), ">")) {
			n++
		}
	}
	return n
}

// Contract §2, im_push: what is refused.
func TestSection2PushRefusals(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t))
	a.ok(all+"im_set_attr_name", `{"AttrNames":{"0":"sex","3":"city"}}`)
	body := func(elements string) string { return `{"MsgRandom":7,"MsgBody":` + elements + `}` }
	condition := func(c string) string { return pushBody(`,"Condition":` + c) }
	for _, c := range []struct {
		name, body string
		want       Code
		info       string
	}{
		{"no random", `{"MsgBody":[]}`, codeRandom, "MsgRandom: missing"},
		{"random null", pushBody(`,"MsgRandom":null`), codeRandom, "missing"},
		{"random negative", pushBody(`,"MsgRandom":-1`), codeRandom, "MsgRandom"},
		{"random too large", pushBody(`,"MsgRandom":4294967296`), codeRandom, ""},
		{"random no integer", pushBody(`,"MsgRandom":1.5`), codeRandom, ""},
		{"random a string", pushBody(`,"MsgRandom":"7"`), codeRandom, ""},
		{"lifetime negative", pushBody(`,"MsgLifeTime":-1`), codeLifetimeRange, "MsgLifeTime"},
		{"lifetime too long", pushBody(`,"MsgLifeTime":604801`), codeLifetimeRange, "604800"},
		{"lifetime huge", pushBody(`,"MsgLifeTime":99999999999999999999`), codeLifetimeRange, ""},
		{"lifetime no integer", pushBody(`,"MsgLifeTime":1.5`), codeLifetimeType, "MsgLifeTime: not an integer"},
		{"lifetime a string", pushBody(`,"MsgLifeTime":"60"`), codeLifetimeType, ""},
		{"no body", `{"MsgRandom":7}`, codeNoMsgBody, "MsgBody: missing"},
		{"body null", body(`null`), codeNoMsgBody, "MsgBody: missing"},
		{"body empty", body(`[]`), codeNoMsgBody, "MsgBody"},
		{"body an object", body(`{}`), codeMsgBodyType, "MsgBody: not an array"},
		{"body a string", body(`"hi"`), codeMsgBodyType, ""},
		{"an unknown element", body(`[{"MsgType":"TIMFoo","MsgContent":{}}]`), codeElement, "MsgBody[0].MsgType"},
		{"too long", body(`[{"MsgType":"TIMTextElem","MsgContent":{"Text":"` + strings.Repeat("x", 12<<10) + `"}}]`), codeTooLong, "MsgBody"},
		{"offline info no object", pushBody(`,"OfflinePushInfo":[]`), codeOfflineInfo, "OfflinePushInfo: not an object"},
		{"sender no account", pushBody(`,"From_Account":"nobody"`), codeSender, `"nobody"`},
		{"half a character", condition(`{"TagsOr":["\ud800"]}`), codeBodyPush, "half of a character"},
		{"sender too long", pushBody(`,"From_Account":"` + long51 + `"`), codeSender, ""},
		{"sender no string", pushBody(`,"From_Account":1`), codeAccountType, "From_Account"},
		{"condition no object", condition(`[]`), codeBodyPush, "Condition"},
		{"condition with a wrong type", condition(`{"TagsOr":"a"}`), codeBodyPush, "Condition.TagsOr"},
		{"an empty list", condition(`{"TagsOr":[]}`), codeBodyPush, "Condition.TagsOr"},
		{"a long tag", condition(`{"TagsOr":["a","` + long51 + `"]}`), codeTagLong, "Condition.TagsOr[1]: longer than 50 bytes"},
		{"an empty tag", condition(`{"TagsAnd":[""]}`), codeTagEmpty, "Condition.TagsAnd[0]"},
		{"a repeated tag", condition(`{"TagsOr":["a"],"TagsAnd":["a"]}`), codeTagRepeated, ""},
		{"eleven tags", condition(`{"TagsOr":` + strs(11, "t%d") + `}`), codeManyTags, ""},
		{"tags and attributes", condition(`{"TagsOr":["a"],"AttrsAnd":{"sex":"f"}}`), codeMixed, ""},
		{"an unknown attribute", condition(`{"AttrsOr":{"Sex":"f"}}`), codeAttrUnknown, ""},
		{"a long value", condition(`{"AttrsOr":{"sex":"` + long51 + `"}}`), codeAttrLength, ""},
		{"an empty value", condition(`{"AttrsOr":{"sex":""}}`), codeAttrLength, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := a.call(imPush, c.body)
			if r.ErrorCode != c.want || !strings.Contains(r.ErrorInfo, c.info) {
				t.Errorf("got %s\nwant %d %q", r.Raw, c.want, c.info)
			}
		})
	}
	if n := a.pushes(1); n != 0 {
		t.Errorf("%d refused pushes are on the broker", n)
	}
}

// Contract §2, im_push: what is accepted, and what then stands on the broker.
func TestSection2PushAccepted(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t))
	a.ok(all+"im_set_attr_name", `{"AttrNames":{"0":"sex","3":"age"}}`)
	a.ok(login+"account_import", `{"UserID":"xiaoming"}`)
	const elements = "[ {\"MsgType\":\"TIMTextElem\",\n \"MsgContent\":{\"Text\":\"<\\u0041&\u00e9>\",\"Own\":[1,2]}} ]"
	before := time.Now().Truncate(time.Millisecond)
	r := a.ok(imPush, `{"MsgRandom":4294967295,"MsgLifeTime":604800,"From_Account":"xiaoming","MsgBody": `+elements+` ,
		"Condition":{"TagsAnd":null,"TagsOr":null,"AttrsAnd":{"age":3},"AttrsOr":{"sex":"f"}},
		"OfflinePushInfo":{"PushFlag":0,"Title":"t","ApnsInfo":{"BadgeMode":1}},"Future":{}}`)
	r.extra(t, fmt.Sprintf(`"TaskId":%q`, r.TaskId))
	p := a.stored(r.TaskId)
	if string(p.Body) != elements {
		t.Errorf("body %q, want it as it was sent", p.Body)
	}
	if p.Sender != "xiaoming" || p.Caller != admin || p.Random != 4294967295 || p.Lifetime != 604800*time.Second {
		t.Errorf("push %+v", p)
	}
	if p.At.Before(before) || p.At.After(time.Now()) {
		t.Errorf("accepted at %v", p.At)
	}
	if p.Condition != `(and (attr 0 "f") (attr 3 "3"))` {
		t.Errorf("condition %s", p.Condition)
	}
	if string(p.OfflineInfo) != `{"PushFlag":0,"Title":"t","ApnsInfo":{"BadgeMode":1}}` {
		t.Errorf("offline info %s", p.OfflineInfo)
	}

	p = a.stored(a.ok(imPush, pushBody(`,"Condition":null,"From_Account":null,"OfflinePushInfo":null,"MsgLifeTime":null`)).TaskId)
	if p.Condition != "all" || p.Sender != admin || p.OfflineInfo != nil || p.Lifetime != 0 {
		t.Errorf("with nothing optional: %+v", p)
	}
	p = a.stored(a.ok(imPush, pushBody(`,"MsgRandom":8,"From_Account":"second","Condition":{"TagsOr":["b","a"],"TagsAnd":["c"]}`)).TaskId)
	if p.Sender != "second" || p.Condition != `(and (or (tag "a") (tag "b")) (tag "c"))` && p.Condition != `(and (tag "c") (or (tag "a") (tag "b")))` {
		t.Errorf("push %+v", p)
	}
}

// Contract §2: a repeat within a second is the same push. The test's own second may pass while it runs: then it proved
// nothing, and is done again.
func TestSection2PushRepeated(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t), func(_ *Config, app *App) { app.PushInterval, app.PushPerDay = time.Second, 1000 })
	for random := 1; ; random += 10 {
		clock := time.Now().Add(time.Duration(random) * time.Hour) // so that quotas do not depend on how slow the test is
		a.Ingest.now = func() time.Time { return clock }
		body := pushBody(fmt.Sprintf(`,"MsgRandom":%d`, random))
		start := time.Now()
		first, second := a.ok(imPush, body), a.call(imPush, body)
		if time.Since(start) >= wire.DuplicateWindow {
			continue
		}
		if second.TaskId != first.TaskId {
			t.Errorf("the repeat has %s, the first %s", second.Raw, first.Raw)
		}
		a.refused(codePushInterval, "", imPush, pushBody(fmt.Sprintf(`,"MsgRandom":%d`, random+1)))
		a.refused(codePushInterval, "", imPush, pushBody(fmt.Sprintf(`,"MsgRandom":%d,"From_Account":"second"`, random)))
		_, seq, _ := push.TaskID(first.TaskId).Parse()
		if n := a.pushes(seq); n != 1 {
			t.Errorf("%d pushes, want 1", n)
		}
		return
	}
}

// Contract §2: quotas. What is refused costs nothing.
func TestSection2PushQuotas(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t), func(_ *Config, app *App) { app.PushInterval, app.PushPerDay = time.Second, 2 })
	clock := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	a.Ingest.now = func() time.Time { return clock }
	sig, err := signAt(a, clock)
	if err != nil {
		t.Fatal(err)
	}
	random := 0
	send := func(more string) Code {
		random++
		path := "/v4/" + imPush + "?" + a.query(map[string]string{"usersig": sig})
		return a.do("POST", path, pushBody(fmt.Sprintf(`,"MsgRandom":%d%s`, random, more))).ErrorCode
	}
	for _, step := range []struct {
		after time.Duration
		more  string
		want  Code
	}{
		{0, `,"From_Account":"nobody"`, codeSender},
		{0, ``, codeOK},
		{999 * time.Millisecond, ``, codePushInterval},
		{time.Millisecond, ``, codeOK},
		{time.Hour, ``, codePushPerDay},
		{11 * time.Hour, ``, codeOK}, // past midnight
	} {
		clock = clock.Add(step.after)
		if got := send(step.more); got != step.want {
			t.Errorf("at %v: code %d, want %d", clock, got, step.want)
		}
	}
}

// A crash at any step of a push, and the client's repeat within the second, give exactly one push. A step during which
// the second passed proved nothing, and is done again.
func TestCrashWhilePushing(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	whole := serveAPI(t, b)
	for step, random := 0, 1; ; random++ {
		before, err := b.LastSeq(t.Context(), wire.PushesStream)
		if err != nil {
			t.Fatal(err)
		}
		view, died := brokertest.Crashing(b, step)
		a := serveApp(t, view, whole.app)
		body := pushBody(fmt.Sprintf(`,"MsgRandom":%d`, random))
		start := time.Now()
		crashed, r := a.call(imPush, body), whole.ok(imPush, body)
		if time.Since(start) >= wire.DuplicateWindow {
			continue
		}
		if died() != (crashed.ErrorCode == codeInternal) || !died() && crashed.TaskId != r.TaskId {
			t.Errorf("step %d: %s", step, crashed.Raw)
		}
		if n := whole.pushes(push.Seq(before + 1)); n != 1 || whole.stored(r.TaskId).Random != uint32(random) {
			t.Errorf("step %d: %d pushes, want 1", step, n)
		}
		if !died() {
			if step < 2 {
				t.Errorf("there were only %d steps", step)
			}
			return
		}
		step++
	}
}

// Concurrent pushes of one app: the interval admits one of them, and the others are told so.
func TestSection2ConcurrentPushes(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t), func(_ *Config, app *App) { app.PushInterval = time.Second })
	clock := time.Now()
	a.Ingest.now = func() time.Time { return clock }
	e := echo.New()
	a.Mount(e)
	url := "/v4/" + imPush + "?" + a.query(nil)
	var accepted, early atomic.Int32
	var wg sync.WaitGroup
	for n := range 16 {
		wg.Go(func() {
			w := httptest.NewRecorder()
			body := pushBody(fmt.Sprintf(`,"MsgRandom":%d`, n))
			e.ServeHTTP(w, httptest.NewRequest(http.MethodPost, url, strings.NewReader(body)))
			switch s := w.Body.String(); {
			case strings.Contains(s, `"ErrorCode":0`):
				accepted.Add(1)
			case strings.Contains(s, `"ErrorCode":90024`):
				early.Add(1)
			default:
				t.Error(s)
			}
		})
	}
	wg.Wait()
	if accepted.Load() != 1 || early.Load() != 15 || a.pushes(1) != 1 {
		t.Errorf("%d accepted, %d too early, %d on the broker", accepted.Load(), early.Load(), a.pushes(1))
	}
}

// A caller that hangs up does not stop what it asked for.
func TestHangingUp(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t))
	ctx, hangUp := context.WithCancel(t.Context())
	hangUp()
	e := echo.New()
	a.Mount(e)
	w := httptest.NewRecorder()
	url := "/v4/" + imPush + "?" + a.query(nil)
	e.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(pushBody(""))))
	if n := a.pushes(1); n != 1 || !strings.Contains(w.Body.String(), `"ErrorCode":0`) {
		t.Errorf("%d pushes, %s", n, w.Body)
	}
}
