package wire

import (
	"errors"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"
	"pgregory.net/rapid"

	"github.com/carillon-push/carillon/pkg/push"
)

var recodeOutcome = recoder(within(DecodeOutcome), EncodeOutcome)

func sampleOutcome() Outcome {
	return Outcome{Done: true, Parts: []OutcomePart{
		{Result: "sent", ID: "sdm123", Users: roaring.BitmapOf(0, 7, width-1)},
		{Result: "refused", Reason: "PayloadTooLarge", Users: sampleBitmap()},
	}}
}

func FuzzDecodeOutcome(f *testing.F) { fuzzLayout(f, "outcome", recodeOutcome) }

func TestNoticePlacesRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := NoticePlace{
			App: push.AppID(rapid.Uint32Min(1).Draw(t, "app")), Seq: push.Seq(rapid.Uint64().Draw(t, "seq")),
			Channel: rapid.StringMatching(`[a-z0-9_-]{1,32}`).Draw(t, "channel"),
			Shard:   push.Shard(rapid.Uint32().Draw(t, "shard")), Task: rapid.IntRange(0, 1<<31-1).Draw(t, "task"),
		}
		if got, err := ParseOutcomeSubject(OutcomeSubject(want)); err != nil || got != want {
			t.Fatalf("%+v, %v, want %+v", got, err, want)
		}
		if got, err := ParseNotifySubject(NotifySubject(want)); err != nil || got != want {
			t.Fatalf("%+v, %v, want %+v", got, err, want)
		}
		want.Task = 0
		if got, err := ParseNoticeSubject(NoticeSubject(want)); err != nil || got != want {
			t.Fatalf("%+v, %v, want %+v", got, err, want)
		}
	})
}

func TestNoticeParsersRefuseOtherSubjects(t *testing.T) {
	t.Parallel()
	outcome := func(s string) error { _, err := ParseOutcomeSubject(s); return err }
	notice := func(s string) error { _, err := ParseNoticeSubject(s); return err }
	task := func(s string) error { _, err := ParseNotifySubject(s); return err }
	device := func(s string) error { _, err := ParseDeviceSubject(s); return err }
	for _, c := range []struct {
		parse   func(string) error
		subject string
	}{
		{outcome, ""}, {outcome, "outcome.1.2.fcm.3"}, {outcome, "outcome.0.2.fcm.3.4"}, {outcome, "outcome.1.2.FCM.3.4"},
		{outcome, "outcome.1.2.fcm.3.-4"}, {outcome, "notify.1.fcm.2.3.4"}, {outcome, "outcome.1.2.fcm.4294967296.4"},
		{notice, ""}, {notice, "notice.1.2.fcm"}, {notice, "notice.1.2.fcm.3.4"}, {notice, "outcome.1.2.fcm.3"}, {notice, "notice.1.x.fcm.3"},
		{task, ""}, {task, "notify.1.2.fcm.3.4"}, {task, "notify.1.fcm.2.3"}, {task, "outcome.1.2.fcm.3.4"},
		{device, ""}, {device, "device.1.2"}, {device, "device.1.2.x"}, {device, "user.1.2.3"},
	} {
		if err := c.parse(c.subject); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%q: %v, want ErrCorrupt", c.subject, err)
		}
	}
}
