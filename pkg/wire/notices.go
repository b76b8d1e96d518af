package wire

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/pkg/push"
)

// Notices are pushes that go to phones through their vendors. NOTICES says whom a push is for on each channel, and what
// became of it; NOTIFY is the queue of what is to be done, each task a part of one such set.
const (
	NoticesStream = "NOTICES"
	NotifyStream  = "NOTIFY"
)

// NotifySize is how many users one task has at most.
const NotifySize = 1000

// NotifyAge is how long a task waits for a worker: no push lives longer.
const NotifyAge = push.MaxLifetime*time.Second + 24*time.Hour

// NoticePlace names what stands in NOTICES and NOTIFY: a push, and those of a shard's users whom a channel reaches.
type NoticePlace struct {
	App     push.AppID
	Seq     push.Seq
	Channel string
	Shard   push.Shard
	// Task is the number of a part of them, in NotifySize users, and 0 for all.
	Task int
}

func (p NoticePlace) tokens() string {
	return fmt.Sprintf("%d.%d.%s.%d", p.App, p.Seq, p.Channel, p.Shard)
}

// NoticeSubject is where it stands whom a push is for on a channel, once: `notice.<app>.<seq>.<channel>.<shard>`.
func NoticeSubject(p NoticePlace) string { return "notice." + p.tokens() }

// OutcomeSubject is where it stands what became of a task: `outcome.<app>.<seq>.<channel>.<shard>.<task>`.
func OutcomeSubject(p NoticePlace) string { return fmt.Sprintf("outcome.%s.%d", p.tokens(), p.Task) }

// OutcomeFilter matches the outcomes of a push's tasks, on all channels and in all shards.
func OutcomeFilter(app push.AppID, seq push.Seq) string {
	return fmt.Sprintf("outcome.%d.%d.>", app, seq)
}

// OutcomeShardFilter matches the outcomes of a push's tasks in one shard.
func OutcomeShardFilter(app push.AppID, seq push.Seq, shard push.Shard) string {
	return fmt.Sprintf("outcome.%d.%d.*.%d.*", app, seq, shard)
}

// NotifySubject is where a task waits: `notify.<app>.<channel>.<seq>.<shard>.<task>`. The message is empty.
func NotifySubject(p NoticePlace) string {
	return fmt.Sprintf("notify.%d.%s.%d.%d.%d", p.App, p.Channel, p.Seq, p.Shard, p.Task)
}

// NotifyFilter matches the tasks of an app on a channel.
func NotifyFilter(app push.AppID, channel string) string {
	return fmt.Sprintf("notify.%d.%s.>", app, channel)
}

// NotifyConsumer is the durable consumer by which workers share those.
func NotifyConsumer(app push.AppID, channel string) string { return fmt.Sprintf("%d_%s", app, channel) }

// NoticesFilter matches all that stands in NOTICES of a push: for whom it is, and the outcomes of its tasks, on all channels
// and in all shards.
func NoticesFilter(app push.AppID, seq push.Seq) string { return fmt.Sprintf("*.%d.%d.>", app, seq) }

// NoticeShardFilter matches whom a push is for in one shard, on all channels.
func NoticeShardFilter(app push.AppID, seq push.Seq, shard push.Shard) string {
	return fmt.Sprintf("notice.%d.%d.*.%d", app, seq, shard)
}

// ParseNoticeSubject reads what NoticeSubject wrote.
func ParseNoticeSubject(subject string) (NoticePlace, error) {
	f := strings.Split(subject, ".")
	if len(f) != 5 || f[0] != "notice" {
		return NoticePlace{}, fmt.Errorf("%w: %q is no notice subject", ErrCorrupt, subject)
	}
	return noticePlace(subject, f[1], f[2], f[3], f[4], "0")
}

// ParseOutcomeSubject reads what OutcomeSubject wrote.
func ParseOutcomeSubject(subject string) (NoticePlace, error) {
	f := strings.Split(subject, ".")
	if len(f) != 6 || f[0] != "outcome" {
		return NoticePlace{}, fmt.Errorf("%w: %q is no outcome subject", ErrCorrupt, subject)
	}
	return noticePlace(subject, f[1], f[2], f[3], f[4], f[5])
}

// ParseNotifySubject reads what NotifySubject wrote.
func ParseNotifySubject(subject string) (NoticePlace, error) {
	f := strings.Split(subject, ".")
	if len(f) != 6 || f[0] != "notify" {
		return NoticePlace{}, fmt.Errorf("%w: %q is no task subject", ErrCorrupt, subject)
	}
	return noticePlace(subject, f[1], f[3], f[2], f[4], f[5])
}

func noticePlace(subject, app, seq, channel, shard, task string) (NoticePlace, error) {
	a, err1 := push.ParseAppID(app)
	s, err2 := strconv.ParseUint(seq, 10, 64)
	h, err3 := strconv.ParseUint(shard, 10, 32)
	t, err4 := strconv.ParseUint(task, 10, 31)
	p := NoticePlace{App: a, Seq: push.Seq(s), Channel: channel, Shard: push.Shard(h), Task: int(t)}
	if err1 != nil || err2 != nil || err3 != nil || err4 != nil || ValidChannel(channel) != nil {
		return NoticePlace{}, fmt.Errorf("%w: %q names no push, channel, shard and task", ErrCorrupt, subject)
	}
	return p, nil
}

// CutSubject is where it stands how far a shard's pushes have been cut into tasks: `cut.<app>.<shard>`, a Position.
func CutSubject(app push.AppID, shard push.Shard) string { return fmt.Sprintf("cut.%d.%d", app, shard) }

// DeviceFilter matches the lists of devices of one shard's users.
func DeviceFilter(app push.AppID, shard push.Shard) string {
	return fmt.Sprintf("device.%d.%d.*", app, shard)
}

// ParseDeviceSubject gives back the ordinal.
func ParseDeviceSubject(subject string) (push.Ordinal, error) {
	f := strings.Split(subject, ".")
	if len(f) != 4 || f[0] != "device" {
		return 0, fmt.Errorf("%w: %q is no device subject", ErrCorrupt, subject)
	}
	n, err := strconv.ParseUint(f[3], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %q is no device subject", ErrCorrupt, subject)
	}
	return push.Ordinal(n), nil
}

const outcomeVersion = 1

// Bounds of an outcome. Lengths are in bytes.
const (
	maxOutcomeParts  = 4 * NotifySize
	maxOutcomeReason = 64
	maxOutcomeID     = 256
)

// Outcome is what became of a task: which of its users were notified, or could not be, and why. Users who are in no part
// are still to be notified.
type Outcome struct {
	Parts []OutcomePart
	// Done says that nothing more comes.
	Done bool
}

// Results of an OutcomePart: what the vendor made of it, and why it was not asked.
const (
	ResultSent     = "sent"      // it was taken
	ResultGone     = "gone"      // the tokens name no device any more
	ResultRefused  = "refused"   // with the vendor's reason
	ResultExpired  = "expired"   // the push's lifetime ended first
	ResultReceived = "received"  // the user acknowledged the push first, or it no longer waited for another reason
	ResultNoDevice = "no_device" // the device was forgotten meanwhile, or is another's
	ResultRevoked  = "revoked"   // the push was, first
)

// OutcomePart are users of whom the same is to be said. A user with several devices may be in several.
type OutcomePart struct {
	// Result is what the vendor made of it: sent, gone, refused, later, denied, or why it was not asked.
	Result string
	// Reason is the vendor's own name for that; may be empty.
	Reason string
	// ID is the vendor's name for the notification, where it can take it back by that; may be empty.
	ID string
	// Users are places within the shard.
	Users *roaring.Bitmap
}

// EncodeOutcome lays an outcome out:
//
//	version 1 | flags (1: done) | number | each part: result | reason | ID | bitmap (length, bytes each)
func EncodeOutcome(o Outcome) ([]byte, error) {
	var flags byte
	if o.Done {
		flags = 1
	}
	b := binary.AppendUvarint([]byte{outcomeVersion, flags}, uint64(len(o.Parts)))
	for _, p := range o.Parts {
		users, err := EncodeBitmap(p.Users)
		if err != nil {
			return nil, err
		}
		b = appendBytes(b, p.Result)
		b = appendBytes(b, p.Reason)
		b = appendBytes(b, p.ID)
		b = appendBytes(b, users)
	}
	return b, nil
}

// DecodeOutcome reads what EncodeOutcome wrote, for a shard of the given width.
func DecodeOutcome(b []byte, width uint32) (Outcome, error) {
	r := reader{b: b}
	r.version(outcomeVersion)
	flags := r.byte("flags")
	if flags > 1 {
		r.fail("flags")
	}
	o := Outcome{Done: flags == 1}
	n := r.uvarint("number")
	if n > maxOutcomeParts || n > uint64(len(r.b)) {
		r.fail("number")
		n = 0
	}
	for range n {
		p := OutcomePart{
			Result: string(r.bytes("result", maxOutcomeReason)), Reason: string(r.bytes("reason", maxOutcomeReason)),
			ID: string(r.bytes("ID", maxOutcomeID)),
		}
		raw := r.bytes("users", maxBitmap(uint64(width)))
		if r.err != nil {
			break
		}
		var err error
		if p.Users, err = DecodeBitmap(raw, width); err != nil {
			return Outcome{}, fmt.Errorf("outcome: %w", err)
		}
		o.Parts = append(o.Parts, p)
	}
	if err := r.end(); err != nil {
		return Outcome{}, fmt.Errorf("outcome: %w", err)
	}
	return o, nil
}
