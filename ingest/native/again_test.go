package native

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/history"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// pushed reads a push from the log.
func (a *api) pushed(seq push.Seq) *push.Push {
	a.Helper()
	m, err := a.b.Get(a.Context(), wire.PushesStream, uint64(seq))
	if err != nil {
		a.Fatal(err)
	}
	p, err := wire.DecodePush(m.Data, seq)
	if err != nil {
		a.Fatal(err)
	}
	return p
}

// The replay is the push with another number, for those who missed it as the gateways say when they are asked; and there
// is one.
func TestSendingAgain(t *testing.T) {
	t.Parallel()
	a := serve(t, brokertest.Start(t))
	matcherOf(a)
	for i := range 5 {
		ok[account](a, 201, "PUT", fmt.Sprint("/v1/accounts/u", i+1), "")
	}
	p := ok[accepted](a, 202, "POST", "/v1/pushes", `{"from":"u1","condition":{"not":{"tag":"x"}},"offline":{"PushFlag":0},"body":`+hello+`}`)
	path := "/v1/pushes/" + string(p.ID) + "/replay"
	a.usersOf(0, p.Seq, 1, 2, 3, 4, 5)
	a.receiptOf(p.Seq, wire.Receipt{Received: roaring.BitmapOf(1, 9), Sent: roaring.BitmapOf(5)})
	a.receiptOf(p.Seq, wire.Receipt{Opened: roaring.BitmapOf(2)})
	a.do("DELETE", "/v1/accounts/u4", "")
	if got := ok[history.Missed](a, 200, "POST", path, `{"only":"missed","dryRun":true}`); got != (history.Missed{Audience: 5, Received: 2, Deleted: 1, Missed: 2}) {
		t.Errorf("before: %+v", got)
	}
	leave, err := a.b.Join(wire.RoleDeliver)
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	a.refused(503, codeUnavailable, "-", "POST", path, `{"dryRun":true}`) // a gateway that does not answer
	background(a, func(ctx context.Context, ready func()) error {
		return a.b.Serve(ctx, wire.SessionRevokedFilter(), "", ready, func(r *broker.Request) {
			a.receiptOf(p.Seq, wire.Receipt{Received: roaring.BitmapOf(5)})
			if err := r.Respond([]byte("{}")); err != nil {
				t.Error(err)
			}
		})
	})
	if got := ok[history.Missed](a, 200, "POST", path, `{"dryRun":true}`); got != (history.Missed{Audience: 5, Received: 3, Deleted: 1, Missed: 1}) {
		t.Errorf("with what the gateway had not told: %+v", got)
	}
	if n := a.pushesOf(); n != 1 {
		t.Fatalf("%d pushes after dry runs", n)
	}

	caller := a.as(keyOf(a.app, Push))
	again := ok[accepted](caller, 202, "POST", path, `{"lifetime":60}`, "Idempotency-Key", "k")
	if repeat := caller.do("POST", path, `{"lifetime":60}`, "Idempotency-Key", "k"); repeat.StatusCode != 202 || repeat.Header.Get("Idempotency-Replayed") != "true" || !bytes.Contains(repeat.raw, []byte(again.ID)) {
		t.Errorf("repeated: %d %s", repeat.StatusCode, repeat.raw)
	}
	a.refused(422, codeKeyReused, "-", "POST", path, `{}`, "Idempotency-Key", "k")
	a.refused(422, codeKeyReused, "-", "POST", "/v1/pushes/"+string(again.ID)+"/replay", `{"lifetime":60}`, "Idempotency-Key", "k")
	a.refused(409, codeReplayed, "-", "POST", path, "")
	a.refused(409, codeReplayed, "-", "POST", path, `{"lifetime":60}`, "Idempotency-Key", "other")
	if n := a.pushesOf(); n != 2 {
		t.Errorf("%d pushes, want the push and its replay", n)
	}
	first, second := a.pushed(p.Seq), a.pushed(again.Seq)
	if second.Again != p.Seq || second.Lifetime != time.Minute || second.Caller != "key push" || second.Sender != "u1" || second.Condition != first.Condition ||
		!bytes.Equal(second.Body, first.Body) || !bytes.Equal(second.OfflineInfo, first.OfflineInfo) || second.Expire() != second.At.Unix()+60 {
		t.Errorf("sent again: %+v, first %+v", second, first)
	}
	if shown := ok[pushView](a, 200, "GET", "/v1/pushes/"+string(p.ID), ""); shown.Replay != again.ID || shown.Again != "" {
		t.Errorf("the push is shown as %s", js(shown))
	}
	if shown := ok[pushView](a, 200, "GET", "/v1/pushes/"+string(again.ID), ""); shown.Again != p.ID || shown.Replay != "" {
		t.Errorf("the replay is shown as %s", js(shown))
	}
	list := ok[pushList](a, 200, "GET", "/v1/pushes", "")
	if len(list.Pushes) != 2 || list.Pushes[0].Again != p.ID || list.Pushes[1].Replay != again.ID {
		t.Errorf("listed: %s", js(list))
	}
}

func TestSendingAgainIsRefused(t *testing.T) {
	t.Parallel()
	a := serve(t, brokertest.Start(t), func(c *Config) { c.RevokeWait = time.Millisecond })
	matcherOf(a)
	ok[account](a, 201, "PUT", "/v1/accounts/u", "")
	pushes := map[string]accepted{}
	for _, name := range []string{"alive", "revoked", "had", "gone", "good"} {
		lifetime := map[string]string{"alive": "60"}[name] + "0"
		pushes[name] = ok[accepted](a, 202, "POST", "/v1/pushes", `{"lifetime":`+lifetime+`,"body":`+hello+`}`)
	}
	path := func(name string) string { return "/v1/pushes/" + string(pushes[name].ID) + "/replay" }
	a.do("DELETE", "/v1/pushes/"+string(pushes["revoked"].ID), "")
	awaitCopy(a, pushes["good"].Seq)
	a.refused(409, codeNotOver, "-", "POST", path("good"), "")         // nobody has evaluated it
	for _, name := range []string{"alive", "revoked", "had", "good"} { // in the order in which matchers come to them
		a.usersOf(0, pushes[name].Seq, 1)
	}
	a.receiptOf(pushes["had"].Seq, wire.Receipt{Received: roaring.BitmapOf(1)})
	for name, code := range map[string]string{"alive": codeNotOver, "revoked": codeRevoked, "had": codeNobody, "gone": codeForgotten} {
		a.refused(409, code, "-", "POST", path(name), "")
	}
	a.refused(404, codePush, "-", "POST", "/v1/pushes/"+string(push.NewTaskID(a.app, 99))+"/replay", "")
	for body, at := range map[string]string{
		`{"only":"all"}`: "/only", `{"only":1}`: "/only", `{"lifetime":-1}`: "/lifetime", `{"lifetime":604801}`: "/lifetime", `{"dryRun":1}`: "/dryRun",
	} {
		a.refused(400, codeField, at, "POST", path("good"), body)
	}
	a.refused(400, codeUnknownField, "/body", "POST", path("good"), `{"body":[]}`)
	a.now = func() time.Time { return time.Now().Add(601 * time.Second) }
	ok[accepted](a, 202, "POST", path("alive"), "") // its time is over
	a.now = time.Now
	apps := configOf(a.app).Apps
	apps[0].PushDisabled = true
	if err := a.SetApps(apps); err != nil {
		t.Fatal(err)
	}
	a.refused(403, codePushDisabled, "-", "POST", path("good"), "")
	if n := a.pushesOf(); n != len(pushes)+1 {
		t.Errorf("%d pushes, want %d", n, len(pushes)+1)
	}
}

// awaitCopy returns when the first shard's log has a push.
func awaitCopy(a *api, seq push.Seq) {
	a.Helper()
	m, err := a.b.Get(a.Context(), wire.PushesStream, uint64(seq))
	if err != nil {
		a.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(a.Context(), 10*time.Second)
	defer cancel()
	err = a.b.Fold(ctx, broker.FoldConfig{
		Stream: wire.UsersStream(a.app, 0), Filter: m.Subject, Handle: func(*broker.Message) error { return errBehind },
	})
	if err != errBehind {
		a.Fatal(err)
	}
}
