package ingest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

func (a *api) publish(subject string, data []byte, err error) {
	a.t.Helper()
	if err == nil {
		_, _, err = a.b.Publish(a.t.Context(), broker.Message{Subject: subject, Data: data})
	}
	if err != nil {
		a.t.Fatal(err)
	}
}

// The statistics of a push are the same before and after the logs have forgotten it.
func TestStatisticsBeyondTheLogs(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t))
	for i := range 4 {
		a.ok(login+"account_import", fmt.Sprintf(`{"UserID":"u%d"}`, i))
	}
	id := push.TaskID(a.ok(imPush, `{"MsgRandom":1,"MsgLifeTime":3600,"From_Account":"u0","MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"x"}}]}`).TaskId)
	_, seq, err := id.Parse()
	if err != nil {
		t.Fatal(err)
	}
	data, err := wire.EncodeBitmap(roaring.BitmapOf(1, 2, 3, 4))
	a.publish(wire.AudienceSubject(a.app, 0, seq), data, err)
	data, err = wire.EncodeReceipt(wire.Receipt{Sent: roaring.BitmapOf(1), Received: roaring.BitmapOf(2), Opened: roaring.BitmapOf(3)})
	a.publish(wire.ReceiptSubject(a.app, 0, seq), data, err)
	for channel, parts := range map[string][]wire.OutcomePart{
		"fcm": {{Result: wire.ResultSent, Users: roaring.BitmapOf(1)}, {Result: wire.ResultRefused, Reason: "INVALID_ARGUMENT", Users: roaring.BitmapOf(3, 4)}},
		"apns": {
			{Result: wire.ResultGone, Reason: "Unregistered", Users: roaring.BitmapOf(1)},
			{Result: wire.ResultReceived, Users: roaring.BitmapOf(2)}, {Result: wire.ResultNoDevice, Users: roaring.BitmapOf(3)},
		},
	} {
		place := wire.NoticePlace{App: a.app, Seq: seq, Channel: channel}
		data, err = wire.EncodeBitmap(roaring.BitmapOf(1, 2, 3, 4))
		a.publish(wire.NoticeSubject(place), data, err)
		data, err = wire.EncodeOutcome(wire.Outcome{Parts: parts})
		a.publish(wire.OutcomeSubject(place), data, err)
	}
	now := time.Now().Unix()
	span := fmt.Sprintf(`{"StartTime":%d,"EndTime":%d,"TaskID":["%s"]}`, now-60, now+60, id)
	var before []string
	for _, command := range []string{"statistics", "loss"} {
		r := a.ok("timpush/all_member_push_"+command, span)
		before = append(before, r.Raw)
		if want := map[string]string{
			"statistics": `"TotalCount":4,"SentCount":3,"DeliveredCount":2,"ClickCount":1,"PlatformStatistics":[` +
				`{"Platform":"Session","TotalCount":4,"SentCount":3,"DeliveredCount":2,"ClickCount":1},` +
				`{"Platform":"apns","TotalCount":4,"SentCount":0,"DeliveredCount":0,"ClickCount":0},` +
				`{"Platform":"fcm","TotalCount":4,"SentCount":1,"DeliveredCount":0,"ClickCount":0}]`,
			"loss": `"TotalCount":4,"LossCount":2,"Reasons":[{"Reason":"Pending","Count":1},{"Reason":"Unacknowledged","Count":1},` +
				`{"Reason":"Expired","Count":0},{"Reason":"Offline","Count":0},{"Reason":"Revoked","Count":0}],"PlatformLoss":[` +
				`{"Platform":"apns","TotalCount":4,"LossCount":3,"Reasons":[{"Reason":"Waiting","Count":1},{"Reason":"NoDevice","Count":1},` +
				`{"Reason":"TokenGone","Count":1},{"Reason":"Expired","Count":0},{"Reason":"Revoked","Count":0}]},` +
				`{"Platform":"fcm","TotalCount":4,"LossCount":3,"Reasons":[{"Reason":"Waiting","Count":1},{"Reason":"NoDevice","Count":0},` +
				`{"Reason":"TokenGone","Count":0},{"Reason":"Expired","Count":0},{"Reason":"Revoked","Count":0},` +
				`{"Reason":"Refused","Detail":"INVALID_ARGUMENT","Count":2}]}]`,
		}[command]; !strings.Contains(r.Raw, want) {
			t.Errorf("%s: %s", command, r.Raw)
		}
	}
	trace := a.ok("timpush/all_member_push_trace", fmt.Sprintf(`{"TaskID":"%s","UserID":"u3"}`, id)) // the fourth account
	for _, want := range []string{`"Outcome":"pending"`, `"Event":"phones","Detail":"left for phones by apns: waiting"`, `"Event":"refused","Detail":"refused by fcm: INVALID_ARGUMENT"`} {
		if !strings.Contains(trace.Raw, want) {
			t.Errorf("a trace: %s\nhas no %s", trace.Raw, want)
		}
	}
	task, err := a.history.Count(t.Context(), a.app, seq, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.b.Delete(t.Context(), wire.PushesStream, uint64(seq)); err != nil {
		t.Fatal(err)
	}
	if r := a.ok("timpush/all_member_push_statistics", span); !strings.Contains(r.Raw, `"ErrorList"`) {
		t.Errorf("of a push that is nowhere: %s", r.Raw)
	}
	a.publish(wire.TaskSubject(a.app, seq), wire.EncodeTask(task), nil)
	for i, command := range []string{"statistics", "loss"} {
		if r := a.ok("timpush/all_member_push_"+command, span); r.Raw != before[i] {
			t.Errorf("%s: %s\nthe logs said %s", command, r.Raw, before[i])
		}
	}
	late := fmt.Sprintf(`{"StartTime":%d,"EndTime":%d,"TaskID":["%s"]}`, now+60, now+120, id)
	if r := a.ok("timpush/all_member_push_statistics", late); !strings.Contains(r.Raw, "not accepted between") {
		t.Errorf("outside of its time: %s", r.Raw)
	}
	if r := a.call("timpush/all_member_push_trace", fmt.Sprintf(`{"TaskID":"%s","UserID":"u1"}`, id)); r.ErrorCode != codeBodyPush {
		t.Errorf("a trace: %s", r.Raw)
	}
}
