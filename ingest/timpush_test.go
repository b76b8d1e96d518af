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
	now := time.Now().Unix()
	span := fmt.Sprintf(`{"StartTime":%d,"EndTime":%d,"TaskID":["%s"]}`, now-60, now+60, id)
	var before []string
	for _, command := range []string{"statistics", "loss"} {
		r := a.ok("timpush/all_member_push_"+command, span)
		before = append(before, r.Raw)
		if want := map[string]string{
			"statistics": `"TotalCount":4,"SentCount":3,"DeliveredCount":2,"ClickCount":1`,
			"loss":       `"TotalCount":4,"LossCount":2,"Reasons":[{"Reason":"Pending","Count":1},{"Reason":"Unacknowledged","Count":1}`,
		}[command]; !strings.Contains(r.Raw, want) {
			t.Errorf("%s: %s", command, r.Raw)
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
