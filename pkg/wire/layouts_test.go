package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/pkg/push"
)

// width is that of the shards in these tests.
const width = 1 << 20

// layout is one byte layout with a sample of it. What is tested of every layout is tested over the table.
type layout struct {
	name   string
	sample []byte
	// recode decodes and encodes again.
	recode func([]byte) ([]byte, error)
	// versioned layouts have a version byte first.
	versioned bool
	// rest is where a part begins that runs to the end of the message, so that nobody can tell whether it is whole; zero
	// when there is none.
	rest int
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// recoder makes a recode function.
func recoder[T any](decode func([]byte) (T, error), encode func(T) ([]byte, error)) func([]byte) ([]byte, error) {
	return func(b []byte) ([]byte, error) {
		v, err := decode(b)
		if err != nil {
			return nil, err
		}
		return encode(v)
	}
}

// sure is an encoder that cannot fail.
func sure[T any](encode func(T) []byte) func(T) ([]byte, error) {
	return func(v T) ([]byte, error) { return encode(v), nil }
}

// within is a decoder for shards of the tests' width.
func within[T any](decode func([]byte, uint32) (T, error)) func([]byte) (T, error) {
	return func(b []byte) (T, error) { return decode(b, width) }
}

var (
	recodeRecord = recoder(decodeVersion, sure(func(v Version) []byte { return AppendRecordAfter(nil, &v.Record, &v.Past) }))
	recodePush   = recoder(func(b []byte) (*push.Push, error) { return DecodePush(b, 42) }, EncodePush)

	recodeBitmap  = recoder(within(DecodeBitmap), EncodeBitmap)
	recodePending = recoder(within(DecodePending), EncodePending)
	recodeReceipt = recoder(within(DecodeReceipt), EncodeReceipt)

	recodeMatchReply = recoder(within(DecodeMatchReply), EncodeMatchReply)

	recodeMatchRequest = recoder(DecodeMatchRequest, sure(EncodeMatchRequest))
	recodeQuota        = recoder(DecodeQuota, sure(EncodeQuota))
	recodeTold         = recoder(DecodeTold, sure(EncodeTold))
	recodeTask         = recoder(DecodeTask, sure(EncodeTask))
	recodePosition     = recoder(DecodePosition, sure(EncodePosition))
	recodeInboxRequest = recoder(DecodeInboxRequest, sure(EncodeInboxRequest))
	recodeInbox        = recoder(DecodeInboxes, sure(encodeInboxes))
)

func encodeInboxes(all [][]push.Seq) (b []byte) {
	for _, seqs := range all {
		b = AppendInbox(b, seqs)
	}
	return b
}

var recodeSessionEvents = recoder(DecodeSessionEvents, sure(EncodeSessionEvents))

func sampleSessionEvents() SessionEvents {
	at := time.UnixMilli(1700000000123)
	return SessionEvents{ID: "NUID", Events: []SessionEvent{
		{Change: SessionLogin, Ordinal: 7, At: at, Platform: "Web"},
		{Change: SessionLogout, Ordinal: 1 << 40, At: at.Add(time.Second), Platform: "iOS"},
		{Change: SessionDisconnect, Ordinal: 8, At: at.Add(-time.Second), Reason: "gone"},
	}}
}

func recodeJSON[T any](b []byte) ([]byte, error) {
	return recoder(DecodeJSON[T], sure(func(v T) []byte { return EncodeJSON(v) }))(b)
}

// layouts is every layout that crosses a process.
func layouts() []layout {
	full, bare, gone, sent := sampleRecord(), push.Record{Account: "a"}, push.Record{Account: "gone", Deleted: true}, samplePush()
	whole, at := must(EncodePush(sent)), time.UnixMilli(1700000000123)
	replay := must(EncodePush(sampleReplay()))
	few, mixed := roaring.BitmapOf(0, 7, width-1), sampleBitmap()
	return []layout{
		{name: "record", sample: AppendRecord(nil, &full), recode: recodeRecord, versioned: true},
		{name: "record-bare", sample: AppendRecord(nil, &bare), recode: recodeRecord, versioned: true},
		{name: "record-deleted", sample: AppendRecord(nil, &gone), recode: recodeRecord, versioned: true},
		{name: "record-after", sample: sampleChanges(), recode: recodeRecord, versioned: true},
		{name: "record-gone", sample: AppendRecordAfter(nil, &gone, (&Version{Seq: 300, At: at, Record: full}).Next(&gone, time.Hour)), recode: recodeRecord, versioned: true},
		{name: "devices", sample: AppendDevices(nil, sampleDevices()), recode: recodeDevices, versioned: true},
		{name: "devices-none", sample: AppendDevices(nil, nil), recode: recodeDevices, versioned: true},
		{name: "token-owner", sample: EncodeTokenOwner(1 << 40), recode: recodeTokenOwner, versioned: true},
		{name: "push", sample: whole, recode: recodePush, versioned: true, rest: len(whole) - len(sent.Body)},
		{name: "revocation", sample: must(EncodePush(sampleRevocation())), recode: recodePush, versioned: true},
		{name: "push-replay", sample: replay, recode: recodePush, versioned: true, rest: len(replay) - len(sent.Body)},
		{name: "bitmap-empty", sample: must(EncodeBitmap(roaring.New())), recode: recodeBitmap},
		{name: "bitmap", sample: must(EncodeBitmap(few)), recode: recodeBitmap},
		{name: "bitmap-runs", sample: must(EncodeBitmap(mixed)), recode: recodeBitmap},
		{name: "pending", sample: must(EncodePending(Pending{Expire: 1700000120, Users: few})), recode: recodePending, versioned: true},
		{name: "pending-revocation", sample: must(EncodePending(Pending{Expire: 1700000120, Revokes: 300, Users: few})), recode: recodePending, versioned: true},
		{name: "position", sample: EncodePosition(Position{Audiences: 300, Receipts: 1 << 40}), recode: recodePosition, versioned: true},
		{name: "task", sample: EncodeTask(sampleTask()), recode: recodeTask, versioned: true},
		{name: "task-channels", sample: EncodeTask(sampleNotifiedTask()), recode: recodeTask, versioned: true},
		{name: "task-bare", sample: EncodeTask(&Task{At: time.UnixMilli(1700000000123)}), recode: recodeTask, versioned: true},
		{name: "quota", sample: EncodeQuota(sampleQuota()), recode: recodeQuota, versioned: true},
		{name: "quota-new", sample: EncodeQuota(Quota{}), recode: recodeQuota, versioned: true},
		{name: "receipt", sample: must(EncodeReceipt(Receipt{Received: few, Opened: roaring.BitmapOf(7), Sent: mixed})), recode: recodeReceipt, versioned: true},
		{name: "receipt-empty", sample: must(EncodeReceipt(Receipt{})), recode: recodeReceipt, versioned: true},
		{name: "session-events", sample: EncodeSessionEvents(sampleSessionEvents()), recode: recodeSessionEvents, versioned: true},
		{name: "told", sample: EncodeTold(Told{Events: ToldLog{300, 7}, Receipts: ToldLog{1 << 40, 1 << 20}}), recode: recodeTold, versioned: true},
		{name: "outcome", sample: must(EncodeOutcome(sampleOutcome())), recode: recodeOutcome, versioned: true},
		{name: "outcome-none", sample: must(EncodeOutcome(Outcome{})), recode: recodeOutcome, versioned: true},
		{name: "inbox-request", sample: EncodeInboxRequest(InboxRequest{Locals: []uint32{width - 1, 0, 300}, Audiences: 300, Receipts: 7}), recode: recodeInboxRequest, versioned: true},
		{name: "inbox-request-alone", sample: EncodeInboxRequest(InboxRequest{Locals: []uint32{width - 1}, Audiences: 300, Receipts: 7, Alone: true}), recode: recodeInboxRequest, versioned: true},
		{name: "inbox", sample: encodeInboxes([][]push.Seq{{41, 42, 1 << 40}, nil, {300}}), recode: recodeInbox, versioned: true},
		{name: "inbox-empty", sample: AppendInbox(nil, nil), recode: recodeInbox, versioned: true},
		{name: "status-request", sample: EncodeJSON(StatusRequest{Ordinals: []push.Ordinal{1, 1 << 40}}), recode: recodeJSON[StatusRequest]},
		{name: "status-reply", sample: EncodeJSON(StatusReply{Sessions: []SessionStatus{{Ordinal: 7, Platform: "Web"}}}), recode: recodeJSON[StatusReply]},
		{name: "end-request", sample: EncodeJSON(EndRequest{Ordinal: 7, Code: CloseKicked}), recode: recodeJSON[EndRequest]},
		{name: "match-request", sample: EncodeMatchRequest(MatchRequest{Folded: 300, Predicates: []string{"all", `(tag "vip")`}}), recode: recodeMatchRequest, versioned: true},
		{name: "match-reply", sample: must(EncodeMatchReply(MatchReply{Counts: []uint64{3, width, 0}, Users: few})), recode: recodeMatchReply, versioned: true},
		{name: "connected-request", sample: EncodeJSON(ConnectedRequest{Shard: 3}), recode: recodeJSON[ConnectedRequest]},
		{name: "revoked-request", sample: EncodeJSON(RevokedRequest{Audiences: 300}), recode: recodeJSON[RevokedRequest]},
		{name: "push-request", sample: EncodeJSON(PushRequest{NUID: "NUID", Digest: []byte{1, 0xff}}), recode: recodeJSON[PushRequest]},
		{name: "member-news", sample: EncodeJSON(MemberNews{ID: "NUID", Left: true}), recode: recoder(DecodeMemberNews, sure(func(n MemberNews) []byte { return EncodeJSON(n) }))},
		{name: "end-reply", sample: EncodeJSON(EndReply{Ended: 2}), recode: recodeJSON[EndReply]},
	}
}

func sampleRecord() push.Record {
	r := push.Record{Account: "a.*>\x00\xff😀", Tags: []string{"\x00", "*.>", "vip", "团购"}}
	r.Attrs[0], r.Attrs[3], r.Attrs[push.AttrSlots-1] = "Shenzhen", "深圳", "\xfe"
	return r
}

func sampleQuota() Quota {
	const at = 1700000000123456789
	return Quota{Day: 19675, Used: 42, Last: at, Payments: []Payment{{PaymentKey(PushID(samplePush())), at - 1}, {1<<64 - 1, at}}}
}

func sampleTask() *Task {
	return &Task{
		At: time.UnixMilli(1700000000123), RevokedAt: time.UnixMilli(1700000060123), Lifetime: 120 * time.Second,
		Sender: "xiao\x00ming\xff", Caller: "administrator", Condition: `tag "vip"`,
		Parts: []TaskPart{
			{Shard: 0, Standing: TaskCounted, Audience: width, Reached: 900_000, Received: 400, Opened: 7, Receipts: 1 << 40},
			{Shard: 1, Standing: TaskWaiting}, {Shard: 300, Standing: TaskGone}, {Shard: 301, Standing: TaskCounted},
		},
	}
}

func sampleNotifiedTask() *Task {
	t := sampleTask()
	t.Notices = 1 << 33
	t.Channels = []TaskChannel{
		{Channel: "apns", Users: 3 * width, Results: []TaskResult{
			{ResultGone, "Unregistered", 12}, {ResultRefused, "PayloadTooLarge", 1}, {ResultRefused, "TopicDisallowed", 300}, {ResultSent, "", 2 * width},
		}},
		{Channel: "fcm", Users: 7},
	}
	return t
}

func samplePush() *push.Push {
	return &push.Push{
		App: 1400000001, Seq: 42, Sender: "xiao\x00ming\xff", Caller: "administrator", Random: 1<<32 - 1,
		At: time.UnixMilli(1700000000123), Lifetime: 120 * time.Second, Condition: `tag "vip"`,
		Body:        json.RawMessage(`[ {"MsgType":"TIMTextElem",  "MsgContent":{"Text":"<b>&amp; 你好 \u4f60"}} ]`),
		OfflineInfo: json.RawMessage(`{"Title":"hi"}`),
	}
}

func sampleRevocation() *push.Push {
	return &push.Push{
		App: 1400000001, Seq: 42, Caller: "administrator", At: time.UnixMilli(1700000060123), Lifetime: 60 * time.Second, Revokes: 41,
	}
}

func sampleReplay() *push.Push {
	p := samplePush()
	p.Again = 41
	return p
}

// sampleBitmap has a container of each kind: an array, runs and a bitmap.
func sampleBitmap() *roaring.Bitmap {
	b := roaring.BitmapOf(1, 3, 5)
	b.AddRange(1<<16, 1<<16+10_000)
	b.RunOptimize()
	for i := uint32(2 << 16); i < 2<<16+10_000; i += 2 {
		b.Add(i)
	}
	return b
}

func TestLayoutsRefuseOtherVersions(t *testing.T) {
	t.Parallel()
	for _, l := range layouts() {
		if !l.versioned {
			continue
		}
		for v := range 256 {
			b := append([]byte{byte(v)}, l.sample[1:]...)
			known := byte(v) == l.sample[0] || slices.Contains([]string{"push", "push-replay", "revocation"}, l.name) && v <= replayVersion && v > 0
			known = known || v == recordAlone && strings.HasPrefix(l.name, "record")
			known = known || v == inboxAlone && strings.HasPrefix(l.name, "inbox-request") || v == inboxVersion && l.name == "inbox-request-alone"
			known = known || (v == taskVersion || v == taskChannelsVersion) && strings.HasPrefix(l.name, "task")
			if _, err := l.recode(b); !known && !errors.Is(err, ErrVersion) {
				t.Errorf("%s of version %d: %v, want ErrVersion", l.name, v, err)
			}
		}
	}
}

func TestLayoutsRefuseTruncation(t *testing.T) {
	t.Parallel()
	for _, l := range layouts() {
		end := len(l.sample)
		if l.rest > 0 {
			end = l.rest
		}
		for n := range end {
			if _, err := l.recode(l.sample[:n:n]); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s cut to %d of %d bytes: %v, want ErrCorrupt", l.name, n, len(l.sample), err)
			}
		}
	}
}

func TestLayoutsRefuseTrailingBytes(t *testing.T) {
	t.Parallel()
	for _, l := range layouts() {
		if l.rest > 0 {
			continue
		}
		for _, more := range []string{"\x00", "\x01", "{}", "\xff\xff\xff\xff\xff"} {
			if _, err := l.recode(append(l.sample[:len(l.sample):len(l.sample)], more...)); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s followed by %q: %v, want ErrCorrupt", l.name, more, err)
			}
		}
	}
}

func TestDecodeRecordRefuses(t *testing.T) {
	t.Parallel()
	long := push.Record{Account: "a"}
	for i := range push.MaxTags + 1 {
		long.Tags = append(long.Tags, string([]byte{'t', byte(i)}))
	}
	valued := push.Record{Account: "a"}
	valued.Attrs[0] = string(make([]byte, push.MaxAttrLen+1))
	for name, r := range map[string]push.Record{
		"a long account": {Account: string(make([]byte, push.MaxAccountLen+1))},
		"a long tag":     {Account: "a", Tags: []string{string(make([]byte, push.MaxTagLen+1))}},
		"an empty tag":   {Account: "a", Tags: []string{""}},
		"a repeated tag": {Account: "a", Tags: []string{"x", "x"}},
		"unsorted tags":  {Account: "a", Tags: []string{"y", "x"}},
		"too many tags":  long,
		"a long value":   valued,
	} {
		if got, err := DecodeRecord(AppendRecord(nil, &r)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %+v, %v, want ErrCorrupt", name, got, err)
		}
	}
	for name, b := range map[string][]byte{
		"an unknown flag":   {1, 2, 1, 'a', 0, 0, 0},
		"an unknown slot":   {1, 0, 1, 'a', 0, 0, 1 << (push.AttrSlots - 8), 1, 'v'},
		"an empty value":    {1, 0, 1, 'a', 0, 1, 0, 0},
		"an endless length": {1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"no past":           {2, 0, 1, 'a', 0, 0, 0},
		"a past cut off":    {2, 0, 1, 'a', 0, 0, 0, 2, 7},
	} {
		if got, err := DecodeRecord(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %+v, %v, want ErrCorrupt", name, got, err)
		}
	}
}

func TestDecodePushRefuses(t *testing.T) {
	t.Parallel()
	for name, meta := range map[string]string{
		"no app":              `{"app":0}`,
		"a negative app":      `{"app":-1}`,
		"a negative lifetime": `{"app":1,"life":-1}`,
		"too long a lifetime": `{"app":1,"life":604801}`,
		"no base64":           `{"app":1,"from":"*"}`,
		"no object":           `[]`,
		"no JSON":             `{`,
		"a replay as a push":  `{"app":1,"again":1}`,
	} {
		if got, err := DecodePush(append(appendBytes([]byte{1}, meta), "[]"...), 1); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %+v, %v, want ErrCorrupt", name, got, err)
		}
	}
}

// What is about another push is about an earlier one, in one way.
func TestDecodePushRefusesWhatIsAboutNoPush(t *testing.T) {
	t.Parallel()
	for name, b := range map[string][]byte{
		"a revocation of itself":    appendBytes([]byte{2}, `{"app":1,"rev":9}`),
		"a revocation with a body":  append(appendBytes([]byte{2}, `{"app":1,"rev":8}`), '['),
		"a revocation of nothing":   appendBytes([]byte{2}, `{"app":1}`),
		"a replay of itself":        appendBytes([]byte{3}, `{"app":1,"again":9}`),
		"a replay of nothing":       appendBytes([]byte{3}, `{"app":1}`),
		"a replay that revokes":     appendBytes([]byte{3}, `{"app":1,"again":8,"rev":8}`),
		"a revocation that replays": appendBytes([]byte{2}, `{"app":1,"again":8,"rev":8}`),
	} {
		if got, err := DecodePush(b, 9); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %+v, %v, want ErrCorrupt", name, got, err)
		}
	}
}

func TestDecodeQuotaRefuses(t *testing.T) {
	t.Parallel()
	huge := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}
	for name, b := range map[string][]byte{
		"a day beyond an int64":    append(append([]byte{1}, huge...), 0, 0, 0),
		"more payments than bytes": {1, 0, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8, 0},
		"too many payments":        append([]byte{1, 0, 0, 0, 0x81, 0x20}, make([]byte, 9*(MaxPayments+1))...),
		"a payment cut off":        append([]byte{1, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8}, 0x80),
	} {
		if got, err := DecodeQuota(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %+v, %v, want ErrCorrupt", name, got, err)
		}
	}
}

func TestDecodeTaskRefuses(t *testing.T) {
	t.Parallel()
	task := func(parts ...byte) []byte {
		return append(append([]byte{1, 1, 0, 0, 0, 0, 0}, byte(len(parts)/2)), parts...)
	}
	year10000 := binary.AppendUvarint(nil, maxMillis+1)
	for name, b := range map[string][]byte{
		"a time that JSON has not":        append(append([]byte{1}, year10000...), 0, 0, 0, 0, 0, 0),
		"a revocation at such a time":     append(append([]byte{1, 1}, year10000...), 0, 0, 0, 0, 0),
		"too long a lifetime":             {1, 1, 0, 0x81, 0xf5, 0x24, 0, 0, 0, 0},
		"too long a condition":            append(append([]byte{1, 1, 0, 0, 0, 0, 0x81, 0x20}, make([]byte, MaxTaskCondition+1)...), 0),
		"more parts than bytes":           {1, 1, 0, 0, 0, 0, 0, 2, 0, 0},
		"an unknown standing":             task(0, 3),
		"a shard of 2^32":                 {1, 1, 0, 0, 0, 0, 0, 1, 0x80, 0x80, 0x80, 0x80, 0x10, 0},
		"a shard that wraps around":       {1, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0},
		"more received than reached":      {1, 1, 0, 0, 0, 0, 0, 1, 0, 2, 3, 1, 2, 0, 0},
		"more reached than there were":    {1, 1, 0, 0, 0, 0, 0, 1, 0, 2, 3, 4, 0, 0, 0},
		"more opened than acknowledged":   {1, 1, 0, 0, 0, 0, 0, 1, 0, 2, 3, 2, 1, 2, 0},
		"an audience larger than a shard": {1, 1, 0, 0, 0, 0, 0, 1, 0, 2, 0x81, 0x80, 0x80, 0x80, 0x10, 0, 0, 0, 0},
	} {
		if got, err := DecodeTask(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %+v, %v, want ErrCorrupt", name, got, err)
		}
	}
	notified := func(channels ...byte) []byte { return append([]byte{2, 1, 0, 0, 0, 0, 0, 0, 5}, channels...) }
	for name, b := range map[string][]byte{
		"no channels":                     notified(0),
		"more channels than bytes":        notified(3, 1, 'a', 0, 0),
		"a channel of another character":  notified(1, 1, 'A', 0, 0),
		"channels that do not ascend":     notified(2, 1, 'a', 0, 0, 1, 'a', 0, 0),
		"more results than bytes":         notified(1, 1, 'a', 9, 5, 0, 0, 1),
		"results that do not ascend":      notified(1, 1, 'a', 9, 2, 1, 'b', 0, 1, 1, 'a', 0, 1),
		"results of more than there were": notified(1, 1, 'a', 2, 2, 1, 'a', 0, 1, 1, 'b', 0, 2),
		"too many results":                append(notified(1, 1, 'a', 0, 0x81, 4), make([]byte, 3*(MaxTaskResults+1))...),
	} {
		if got, err := DecodeTask(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %+v, %v, want ErrCorrupt", name, got, err)
		}
	}
	long := EncodeTask(&Task{Condition: string(make([]byte, MaxTaskCondition+1)), At: time.UnixMilli(1)})
	if got, err := DecodeTask(long); err != nil || got.Condition != "" {
		t.Errorf("a condition that is too long: %+v, %v, want none", got, err)
	}
}

func TestDecodeMatchRefuses(t *testing.T) {
	t.Parallel()
	for name, b := range map[string][]byte{
		"more predicates than bytes": {1, 0, 9, 1, 'a'},
		"too many predicates":        append([]byte{1, 0, 0x81, 0x08}, make([]byte, MaxPredicates+1)...),
		"a predicate cut off":        {1, 0, 1, 3, 'a'},
	} {
		if got, err := DecodeMatchRequest(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %+v, %v, want ErrCorrupt", name, got, err)
		}
	}
	empty := must(EncodeBitmap(roaring.New()))
	for name, b := range map[string][]byte{
		"a count beyond the shard": appendBytes([]byte{1, 1, 0x81, 0x80, 0x40}, empty),
		"no bitmap":                {1, 1, 0, 0},
		"more counts than bytes":   {1, 9, 1},
	} {
		if got, err := DecodeMatchReply(b, width); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %+v, %v, want ErrCorrupt", name, got, err)
		}
	}
}

func TestDecodeInboxRefuses(t *testing.T) {
	t.Parallel()
	for name, b := range map[string][]byte{
		"a sequence of zero":           {2, 1, 0, 1, 0},
		"a repeated sequence":          {2, 1, 0, 2, 5, 0},
		"a sequence that wraps around": {2, 1, 0, 2, 5, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
		"a number without sequences":   {2, 1, 0, 0xff, 0xff, 0x3f},
		"no user":                      {2, 0, 0},
		"too many users":               appendBytes([]byte{2, 1, 1}, make([]byte, 257)),
		"the second user cut off":      {2, 2, 0, 1, 5, 2, 7},
		"a number beyond 2^64":         {2, 1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
	} {
		if got, err := DecodeInboxes(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v, %v, want ErrCorrupt", name, got, err)
		}
	}
	if got, want := EncodeInboxAlone([]push.Seq{41, 42, 1 << 40}), []byte{1, 3, 41, 1, 0xd6, 0xff, 0xff, 0xff, 0xff, 0x1f}; !bytes.Equal(got, want) {
		t.Errorf("an answer of version 1 is %x, want %x", got, want)
	}
	for name, b := range map[string][]byte{
		"a place of 2^32 alone": {1, 0x80, 0x80, 0x80, 0x80, 0x10, 0, 0},
		"a place of 2^32":       {2, 0, 0, 1, 0x80, 0x80, 0x80, 0x80, 0x10},
		"no users":              {2, 0, 0, 0},
		"more users than come":  {2, 0, 0, 2, 7},
		"too many users":        appendBytes([]byte{2, 0, 0, 0x81, 2}, make([]byte, MaxInboxUsers+1)),
	} {
		if got, err := DecodeInboxRequest(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %+v, %v, want ErrCorrupt", name, got, err)
		}
	}
}
