package native

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// detail is what getPush answers.
type detail struct {
	pushView
	audience
}

func TestPush(t *testing.T) {
	t.Parallel()
	a := serve(t, brokertest.Start(t))
	a.attributes("city")
	ok[account](a, 201, "PUT", "/v1/accounts/news", "")
	body := `[ {"MsgType":"TIMTextElem",  "MsgContent":{"Text":"<b>&amp; 你好 \u4f60"}} ]`
	start := time.Now()
	made := ok[accepted](a, 202, "POST", "/v1/pushes", `{"from":"news","body":`+body+`,"lifetime":3600,"offline":{"Title":"hi"},
		"condition":{"or":[{"tag":"b"},{"and":[{"tag":{"in":["a","a"]}},{"not":{"attribute":"city","exists":false}}]}]}}`)
	if made.ID != push.NewTaskID(a.app, made.Seq) {
		t.Errorf("%+v", made)
	}
	if at, err := time.Parse(time.RFC3339, made.AcceptedAt); err != nil || at.Before(start.Truncate(time.Millisecond)) || at.After(time.Now()) {
		t.Errorf("accepted at %s, %v", made.AcceptedAt, err)
	}
	m, err := a.b.Get(t.Context(), wire.PushesStream, uint64(made.Seq))
	if err != nil {
		t.Fatal(err)
	}
	p, err := wire.DecodePush(m.Data, made.Seq)
	if err != nil {
		t.Fatal(err)
	}
	if string(p.Body) != body || p.Sender != "news" || p.Caller != "key admin" || p.Lifetime != time.Hour || string(p.OfflineInfo) != `{"Title":"hi"}` ||
		p.Condition != `(or (tag "b") (and (tag "a") (has 0)))` {
		t.Errorf("on the broker: %+v", p)
	}
	got := ok[detail](a, 200, "GET", "/v1/pushes/"+string(made.ID), "")
	if got.pushView.accepted != made || got.From != "news" || got.By != "key admin" || got.Lifetime != 3600 || got.Evaluated || got.Matched != 0 ||
		js(got.Condition) != `{"or":[{"tag":"b"},{"and":[{"tag":"a"},{"attribute":"city","exists":true}]}]}` {
		t.Errorf("%s", js(got))
	}
	ok[attributeNames](a, 200, "PUT", "/v1/attributes", `{"attributes":{}}`)
	if got := ok[detail](a, 200, "GET", "/v1/pushes/"+string(made.ID), ""); !strings.Contains(js(got.Condition), `{"exists":true,"slot":0}`) {
		t.Errorf("a slot without a name: %s", js(got.Condition))
	}
}

func TestSenders(t *testing.T) {
	t.Parallel()
	a := serve(t, brokertest.Start(t))
	sender := func(query, from string, by *api) string {
		t.Helper()
		made := ok[accepted](by, 202, "POST", "/v1/pushes"+query, `{"body":`+hello+from+`}`)
		got := ok[detail](a, 200, "GET", "/v1/pushes/"+string(made.ID), "")
		return got.From + " by " + got.By
	}
	key := a.as(keyOf(a.app, Push))
	for want, got := range map[string]string{
		admin + " by key push": sender("", "", key), "second by key push": sender("", `,"from":"second"`, key),
		"second by second": sender(a.signed("second"), "", a.as("")), admin + " by second": sender(a.signed("second"), `,"from":"administrator"`, a.as("")),
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	a.refused(422, codeSender, "/from", "POST", "/v1/pushes", `{"from":"nobody","body":`+hello+`}`)
}

func TestPushesThatAreRefused(t *testing.T) {
	t.Parallel()
	a := serve(t, brokertest.Start(t))
	with := func(field string) string { return `{"body":` + hello + `,` + field + `}` }
	for _, c := range []struct {
		body     string
		status   int
		code, at string
	}{
		{`{}`, 400, codeMissing, "/body"},
		{`{"body":null}`, 400, codeField, "/body"},
		{`{"body":{}}`, 400, codeField, "/body"},
		{`{"body":[]}`, 400, codeField, "/body"},
		{`{"body":[{"MsgType":"TIMTextElem","MsgContent":{}}]}`, 400, codeField, "/body/0/MsgContent/Text"},
		{`{"body":[{"MsgType":"x","MsgContent":{}}]}`, 400, codeField, "/body/0/MsgType"},
		{`{"Body":` + hello + `}`, 400, codeUnknownField, "/Body"},
		{`{"body":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"` + strings.Repeat("x", 12<<10) + `"}}]}`, 413, codeTooLong, "/body"},
		{`{"body":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"x","more":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}}]}`, 400, codeField, "/body"},
		{with(`"lifetime":-1`), 400, codeField, "/lifetime"},
		{with(`"lifetime":604801`), 400, codeField, "/lifetime"},
		{with(`"lifetime":1.5`), 400, codeField, "/lifetime"},
		{with(`"lifetime":"1"`), 400, codeField, "/lifetime"},
		{with(`"from":""`), 400, codeField, "/from"},
		{with(`"from":7`), 400, codeField, "/from"},
		{with(`"offline":[]`), 400, codeField, "/offline"},
		{with(`"offline":{"PushFlag":2}`), 400, codeField, "/offline/PushFlag"},
		{with(`"dryRun":"yes"`), 400, codeField, "/dryRun"},
		{with(`"condition":null`), 400, codeField, "/condition"},
		{with(`"condition":{}`), 400, codeField, "/condition"},
		{with(`"condition":{"and":[]}`), 400, codeField, "/condition/and"},
	} {
		a.refused(c.status, c.code, c.at, "POST", "/v1/pushes", c.body)
	}
	for _, key := range []string{"", strings.Repeat("k", 256)} {
		a.refused(400, codeParameter, "-", "POST", "/v1/pushes", with(`"lifetime":1`), "Idempotency-Key", key)
	}
	if n := a.pushesOf(); n != 0 {
		t.Errorf("%d pushes were made", n)
	}
	for _, id := range []string{"x", "1-1", a.app.String() + "-1", a.app.String() + "-18446744073709551615", a.app.String() + "-01"} {
		a.refused(404, codePush, "-", "GET", "/v1/pushes/"+id, "")
	}
}

// audienceOf plays a shard's matcher for one push.
func (a *api) audienceOf(shard push.Shard, seq push.Seq, matched int) {
	a.Helper()
	_, _, err := a.b.Publish(a.Context(), broker.Message{
		Subject: wire.AudienceSubject(a.app, shard, seq), Data: noBits, Header: map[string]string{wire.HeaderCardinality: fmt.Sprint(matched)},
	}.Once())
	if err != nil {
		a.Fatal(err)
	}
}

// A push is evaluated when every shard that was there has its part; one that was made later has none.
func TestAudienceOfAPush(t *testing.T) {
	t.Parallel()
	a := serve(t, brokertest.Start(t, func(c *broker.Config) { c.Sharding = 4 }))
	next := 0
	account16 := func() { // a shard more
		for range 16 {
			next++
			ok[account](a, 201, "PUT", fmt.Sprintf("/v1/accounts/u%d", next), "")
		}
	}
	made := func() accepted { return ok[accepted](a, 202, "POST", "/v1/pushes", `{"body":`+hello+`}`) }
	check := func(p accepted, evaluated bool, matched uint64, shards string) {
		t.Helper()
		got := ok[detail](a, 200, "GET", "/v1/pushes/"+string(p.ID), "")
		if got.Evaluated != evaluated || got.Matched != matched || js(got.Shards) != shards {
			t.Errorf("push %d: %t, %d, %s; want %t, %d, %s", p.Seq, got.Evaluated, got.Matched, js(got.Shards), evaluated, matched, shards)
		}
	}
	nobody := made() // before there is any shard
	check(nobody, true, 0, `[]`)
	account16() // shards 0 and 1
	check(nobody, true, 0, `[]`)
	first := made()
	check(first, false, 0, `[]`)
	a.audienceOf(0, first.Seq, 3)
	check(first, false, 3, `[{"shard":0,"matched":3}]`)
	account16() // shard 2
	a.audienceOf(1, first.Seq, 1)
	check(first, true, 4, `[{"shard":0,"matched":3},{"shard":1,"matched":1}]`)
	second := made()
	a.audienceOf(0, second.Seq, 1)
	a.audienceOf(2, second.Seq, 2)
	check(second, false, 3, `[{"shard":0,"matched":1},{"shard":2,"matched":2}]`)
	check(first, true, 4, `[{"shard":0,"matched":3},{"shard":1,"matched":1}]`)
}

func TestListPushes(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	a, other := serve(t, b), serve(t, b)
	if got := ok[pushList](a, 200, "GET", "/v1/pushes", ""); len(got.Pushes) != 0 || got.Next != nil {
		t.Errorf("without pushes: %+v", got)
	}
	var want []push.Seq
	for i := range 40 {
		by := other
		if i < 3 || i > 30 { // far apart among another's
			by = a
		}
		made := ok[accepted](by, 202, "POST", "/v1/pushes", `{"body":`+hello+`}`)
		if by == a {
			want = append([]push.Seq{made.Seq}, want...)
		}
	}
	for _, limit := range []int{1, 2, 5, 12, 100} {
		var got []push.Seq
		url := fmt.Sprintf("/v1/pushes?limit=%d", limit)
		for next := url; ; {
			page := ok[pushList](a, 200, "GET", next, "")
			for _, p := range page.Pushes {
				got = append(got, p.Seq)
			}
			if len(page.Pushes) > limit || len(got) > len(want) {
				t.Fatalf("limit %d: a page of %d, %v", limit, len(page.Pushes), got)
			}
			if page.Next == nil {
				break
			}
			next = fmt.Sprintf("%s&before=%d", url, *page.Next)
		}
		if js(got) != js(want) {
			t.Errorf("limit %d: %v, want %v", limit, got, want)
		}
	}
	for _, q := range []string{"limit=0", "limit=101", "before=0", "before=x"} {
		a.refused(400, codeParameter, "-", "GET", "/v1/pushes?"+q, "")
	}
	ok[pushList](a, 200, "GET", "/v1/pushes?before=9000000000", "")
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	a, other := serve(t, b), serve(t, b)
	ok[account](a, 201, "PUT", "/v1/accounts/u", "")
	body := `{"from":"u","body":` + hello + `}`
	first := ok[accepted](a, 202, "POST", "/v1/pushes", body, "Idempotency-Key", "k")
	// Another process of the same app, and an app that has changed since.
	again := serveApp(t, b, a.app)
	ok[any](a, 204, "DELETE", "/v1/accounts/u", "")
	for _, by := range []*api{a, again} {
		res := by.do("POST", "/v1/pushes", body, "Idempotency-Key", "k")
		if res.StatusCode != 202 || strings.TrimSpace(string(res.raw)) != js(first) || res.Header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("a repeat: %d %s %v, want %s", res.StatusCode, res.raw, res.Header, js(first))
		}
		by.refused(422, codeKeyReused, "-", "POST", "/v1/pushes", body+" ", "Idempotency-Key", "k")
	}
	if n := a.pushesOf(); n != 1 {
		t.Errorf("%d pushes", n)
	}
	plain := `{"body":` + hello + `}`
	for _, p := range []accepted{
		ok[accepted](a, 202, "POST", "/v1/pushes", plain, "Idempotency-Key", "K"), ok[accepted](other, 202, "POST", "/v1/pushes", plain, "Idempotency-Key", "k"),
		ok[accepted](a, 202, "POST", "/v1/pushes", plain), ok[accepted](a, 202, "POST", "/v1/pushes", plain),
	} {
		if p.Seq == first.Seq {
			t.Error("another key, app or none is the same push")
		}
	}
	a.refused(400, codeParameter, "-", "POST", "/v1/pushes", plain, "Idempotency-Key", "a", "Idempotency-Key", "b")
}

// Many at once, over two processes, make one push and get one answer.
func TestIdempotencyKeyAtOnce(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	a := serve(t, b)
	all := []*api{a, serveApp(t, b, a.app)}
	answers := make(chan string)
	for i := range 20 {
		go func() {
			res := all[i%2].do("POST", "/v1/pushes", `{"body":`+hello+`}`, "Idempotency-Key", "k")
			if res.StatusCode != 202 {
				t.Errorf("%d %s", res.StatusCode, res.raw)
			}
			answers <- string(res.raw)
		}()
	}
	first := <-answers
	for range 19 {
		if p := <-answers; p != first {
			t.Errorf("%s and %s", p, first)
		}
	}
	if n := a.pushesOf(); n != 1 {
		t.Errorf("%d pushes", n)
	}
}

// Whatever step a process dies at, the repeat of its request makes the push when there is none, and finds it when there is.
func TestIdempotencyKeyThroughCrashes(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	sound := serve(t, b)
	key, body := "", `{"body":`+hello+`}`
	var died answer
	pushes := 0
	brokertest.EachCrash(t, b, func(view *broker.Broker, step int) {
		key = fmt.Sprintf("key %d", step)
		died = serveApp(t, view, sound.app).do("POST", "/v1/pushes", body, "Idempotency-Key", key)
	}, func(step int) {
		if n := sound.pushesOf(); n != pushes && n != pushes+1 {
			t.Errorf("step %d: %d pushes behind the crash, %d before", step, n, pushes)
		}
		first := ok[accepted](sound, 202, "POST", "/v1/pushes", body, "Idempotency-Key", key)
		if died.StatusCode == http.StatusAccepted && strings.TrimSpace(string(died.raw)) != js(first) {
			t.Errorf("step %d: it answered %s, the repeat %s", step, died.raw, js(first))
		}
		if second := ok[accepted](sound, 202, "POST", "/v1/pushes", body, "Idempotency-Key", key); second != first {
			t.Errorf("step %d: %+v and %+v", step, first, second)
		}
		if n := sound.pushesOf(); n != pushes+1 {
			t.Errorf("step %d: %d pushes, want %d", step, n, pushes+1)
		}
		pushes++
	})
}

func TestBrokerAway(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	id := serve(t, b).app
	late := serveApp(t, b.Faulty(func(string) error { return context.DeadlineExceeded }), id)
	late.refused(503, codeUnavailable, "-", "POST", "/v1/pushes", `{"body":`+hello+`}`)
	broken := serveApp(t, b.Faulty(func(string) error { return fmt.Errorf("a secret detail") }), id)
	res := broken.do("POST", "/v1/pushes", `{"body":`+hello+`}`)
	if res.StatusCode != 500 || strings.Contains(string(res.raw), "secret") {
		t.Errorf("%d %s", res.StatusCode, res.raw)
	}
}
