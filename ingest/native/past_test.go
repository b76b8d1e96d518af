package native

import (
	"fmt"
	"slices"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/history"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// outcome is detail with the counts.
type outcome struct {
	detail
	Outcome  history.Tally              `json:"outcome"`
	Channels map[string]history.Channel `json:"channels"`
}

// keep plays the worker that keeps a push's counts.
func (a *api) keep(seq push.Seq) {
	a.Helper()
	t, err := a.history.Count(a.Context(), a.app, seq, nil)
	if err == nil {
		_, _, err = a.b.Publish(a.Context(), broker.Message{Subject: wire.TaskSubject(a.app, seq), Data: wire.EncodeTask(t)})
	}
	if err != nil {
		a.Fatal(err)
	}
}

// A push that the logs have forgotten is shown as before, but for its body; it can be neither revoked nor traced.
func TestPushOfThePast(t *testing.T) {
	t.Parallel()
	a := serve(t, brokertest.Start(t))
	a.attributes("city")
	for _, name := range []string{"u", "v"} {
		ok[account](a, 201, "PUT", "/v1/accounts/"+name, "")
	}
	var made []push.Seq
	for i := range 6 {
		p := ok[accepted](a, 202, "POST", "/v1/pushes", `{"body":`+hello+`,"lifetime":3600,"offline":{"Title":"hi"},"condition":{"attribute":"city","is":"X"}}`)
		made = append([]push.Seq{p.Seq}, made...)
		data, err := wire.EncodeBitmap(roaring.BitmapOf(1, 2))
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = a.b.Publish(t.Context(), broker.Message{
			Subject: wire.AudienceSubject(a.app, 0, p.Seq), Data: data, Header: map[string]string{wire.HeaderCardinality: "2"},
		})
		if err != nil {
			t.Fatal(err)
		}
		place := wire.NoticePlace{App: a.app, Seq: p.Seq, Channel: "apns"}
		notified, err := wire.EncodeOutcome(wire.Outcome{Parts: []wire.OutcomePart{
			{Result: wire.ResultSent, Users: roaring.BitmapOf(1)}, {Result: wire.ResultRefused, Reason: "BadTopic", Users: roaring.BitmapOf(2)},
		}})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range []broker.Message{
			{Subject: wire.NoticeSubject(place), Data: data}, {Subject: wire.OutcomeSubject(place), Data: notified},
		} {
			if _, _, err := a.b.Publish(t.Context(), m); err != nil {
				t.Fatal(err)
			}
		}
		if i < 4 {
			a.keep(p.Seq)
		}
	}
	oldest := "/v1/pushes/" + string(push.NewTaskID(a.app, made[5]))
	before := ok[outcome](a, 200, "GET", oldest, "")
	if before.Past || before.Outcome != (history.Tally{Audience: 2, Pending: 2}) || !before.Evaluated || before.Matched != 2 {
		t.Errorf("%s", js(before))
	}
	if of := before.Channels["apns"]; len(before.Channels) != 1 || of.Users != 2 || of.Sent != 1 || of.Refused["BadTopic"] != 1 || of.Open != 0 {
		t.Errorf("channels: %s", js(before.Channels))
	}
	isNotified := func(e history.Event) bool { return e.Kind == history.EventNotified } // the shard's log may hear of the push later
	if trace := ok[history.Trace](a, 200, "GET", oldest+"/users/u", ""); trace.Outcome != history.Notified || !slices.ContainsFunc(trace.Events, isNotified) {
		t.Errorf("a trace of one who was notified: %s", js(trace))
	}
	for _, seq := range made[3:] { // one that is kept too the logs still have
		if err := a.b.Delete(t.Context(), wire.PushesStream, uint64(seq)); err != nil {
			t.Fatal(err)
		}
	}
	got := ok[outcome](a, 200, "GET", oldest, "")
	before.Past, before.Body, before.Offline = true, nil, nil
	if js(got) != js(before) {
		t.Errorf("%s\nwant %s", js(got), js(before))
	}
	for _, limit := range []int{1, 2, 3, 4, 6, 7} {
		var list []push.Seq
		for next := fmt.Sprintf("/v1/pushes?limit=%d", limit); next != ""; {
			page := ok[pushList](a, 200, "GET", next, "")
			if next = ""; page.Next != nil {
				next = fmt.Sprintf("/v1/pushes?limit=%d&before=%d", limit, *page.Next)
			}
			for _, p := range page.Pushes {
				list = append(list, p.Seq)
				if past := p.Seq <= made[3]; p.Past != past || (p.Body == nil) != past {
					t.Errorf("%s", js(p))
				}
			}
			if len(list) > len(made) || len(page.Pushes) > limit {
				t.Fatalf("pages of %d: %v", limit, list)
			}
		}
		if js(list) != js(made) {
			t.Errorf("pages of %d: %v, want %v", limit, list, made)
		}
	}
	a.refused(404, codePush, "-", "DELETE", oldest, "")
	a.refused(404, codePush, "-", "GET", oldest+"/users/u", "")
	a.refused(404, codePush, "-", "GET", "/v1/pushes/"+string(push.NewTaskID(a.app, 99)), "")
}
