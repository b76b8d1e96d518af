package wire

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"pgregory.net/rapid"

	"github.com/carillon-push/carillon/pkg/push"
)

// anyBytes draws up to limit bytes of any kind, among them those that mean something to subjects, JSON or UTF-8.
func anyBytes(low, limit int) *rapid.Generator[string] {
	hostile := []string{"\x00", ".", "*", ">", " ", "\r\n", "a.b.>", "$KV", "\"", "\\u0000", "😀", "é", "\xff", "\xf0\x9f", "=", "-_", "/+"}
	return rapid.Custom(func(t *rapid.T) string {
		if rapid.Bool().Draw(t, "hostile") {
			s := strings.Join(rapid.SliceOfN(rapid.SampledFrom(hostile), low, -1).Draw(t, "parts"), "")
			return s[:min(len(s), limit)]
		}
		return string(rapid.SliceOfN(rapid.Byte(), low, limit).Draw(t, "bytes"))
	})
}

func anyRecord() *rapid.Generator[push.Record] {
	return rapid.Custom(func(t *rapid.T) push.Record {
		r := push.Record{Account: anyBytes(1, push.MaxAccountLen).Draw(t, "account"), Deleted: rapid.Bool().Draw(t, "deleted")}
		r.Tags = rapid.SliceOfNDistinct(anyBytes(1, push.MaxTagLen), 0, push.MaxTags, rapid.ID).Draw(t, "tags")
		slices.Sort(r.Tags)
		for i := range r.Attrs {
			r.Attrs[i] = anyBytes(0, push.MaxAttrLen).Draw(t, "value")
		}
		return r
	})
}

// anyBitmap draws a set within the tests' width, some of it scattered and some in runs.
func anyBitmap() *rapid.Generator[*roaring.Bitmap] {
	return rapid.Custom(func(t *rapid.T) *roaring.Bitmap {
		b := roaring.BitmapOf(rapid.SliceOf(rapid.Uint32Range(0, width-1)).Draw(t, "places")...)
		for range rapid.IntRange(0, 3).Draw(t, "runs") {
			from := rapid.Uint64Range(0, width-1).Draw(t, "from")
			b.AddRange(from, min(width, from+rapid.Uint64Range(1, 100_000).Draw(t, "length")))
		}
		if rapid.Bool().Draw(t, "optimize") {
			b.RunOptimize()
		}
		return b
	})
}

func TestRecordRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := anyRecord().Draw(t, "record")
		head := anyBytes(0, 8).Draw(t, "what stands before")
		b := AppendRecord([]byte(head), &want)
		if string(b[:len(head)]) != head {
			t.Fatalf("what stood before %q became %q", head, b[:len(head)])
		}
		got, err := DecodeRecord(b[len(head):])
		if err != nil || !got.Equal(&want) {
			t.Fatalf("%+v, %v, want %+v", got, err, want)
		}
	})
}

func TestPushRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := push.Push{
			App:       push.AppID(rapid.Uint32Min(1).Draw(t, "app")),
			Seq:       push.Seq(rapid.Uint64().Draw(t, "seq")),
			Sender:    anyBytes(1, push.MaxAccountLen).Draw(t, "sender"),
			Caller:    anyBytes(1, push.MaxAccountLen).Draw(t, "caller"),
			Random:    rapid.Uint32().Draw(t, "random"),
			At:        time.UnixMilli(rapid.Int64Range(0, 1<<42).Draw(t, "at")),
			Lifetime:  time.Duration(rapid.IntRange(0, push.MaxLifetime).Draw(t, "lifetime")) * time.Second,
			Condition: rapid.String().Draw(t, "condition"),
			Body:      json.RawMessage(anyBytes(1, 200).Draw(t, "body")),
		}
		if rapid.Bool().Draw(t, "has offline info") {
			want.OfflineInfo = json.RawMessage(`{"Title":"hi"}`)
		}
		if want.Seq > 1 && rapid.Bool().Draw(t, "is a replay") {
			want.Again = push.Seq(rapid.Uint64Range(1, uint64(want.Seq)-1).Draw(t, "again"))
		}
		b, err := EncodePush(&want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodePush(b, want.Seq)
		if err != nil {
			t.Fatal(err)
		}
		if !got.At.Equal(want.At) || !bytes.Equal(got.Body, want.Body) || !bytes.Equal(got.OfflineInfo, want.OfflineInfo) ||
			got.App != want.App || got.Seq != want.Seq || got.Sender != want.Sender || got.Caller != want.Caller ||
			got.Random != want.Random || got.Lifetime != want.Lifetime || got.Condition != want.Condition || got.Again != want.Again {
			t.Fatalf("%+v, want %+v", got, want)
		}
	})
}

func TestTaskRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		at := rapid.Custom(func(t *rapid.T) time.Time { return time.UnixMilli(rapid.Int64Range(1, maxMillis).Draw(t, "ms")) })
		want := Task{
			At: at.Draw(t, "at"), Lifetime: time.Duration(rapid.IntRange(0, push.MaxLifetime).Draw(t, "lifetime")) * time.Second,
			Sender: anyBytes(1, push.MaxAccountLen).Draw(t, "sender"), Caller: anyBytes(1, push.MaxAccountLen).Draw(t, "caller"),
			Condition: anyBytes(0, 100).Draw(t, "condition"), Parts: []TaskPart{},
		}
		if rapid.Bool().Draw(t, "revoked") {
			want.RevokedAt = at.Draw(t, "revoked at")
		}
		shards := rapid.SliceOfNDistinct(rapid.Uint32(), 0, 20, rapid.ID).Draw(t, "shards")
		slices.Sort(shards)
		for _, shard := range shards {
			p := TaskPart{Shard: push.Shard(shard), Standing: TaskStanding(rapid.IntRange(0, int(TaskCounted)).Draw(t, "standing"))}
			if p.Standing == TaskCounted {
				p.Audience = rapid.Uint64Range(0, maxShard).Draw(t, "audience")
				p.Reached = rapid.Uint64Range(0, p.Audience).Draw(t, "reached")
				p.Received = rapid.Uint64Range(0, p.Reached).Draw(t, "received")
				p.Opened = rapid.Uint64Range(0, p.Received).Draw(t, "opened")
				p.Receipts = rapid.Uint64().Draw(t, "receipts")
			}
			want.Parts = append(want.Parts, p)
		}
		for i, name := range rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z0-9_-]{1,32}`), 0, 4, rapid.ID).Draw(t, "channels") {
			if i == 0 {
				want.Notices = rapid.Uint64().Draw(t, "notices")
			}
			c := TaskChannel{Channel: name}
			for _, reason := range rapid.SliceOfNDistinct(rapid.StringN(0, 16, maxOutcomeReason), 0, 5, rapid.ID).Draw(t, "reasons") {
				n := uint64(rapid.Uint32().Draw(t, "of the reason"))
				c.Results, c.Users = append(c.Results, TaskResult{ResultRefused, reason, n}), c.Users+n
			}
			slices.SortFunc(c.Results, TaskResult.Compare)
			c.Users += uint64(rapid.Uint32().Draw(t, "open"))
			want.Channels = append(want.Channels, c)
		}
		slices.SortFunc(want.Channels, func(a, b TaskChannel) int { return strings.Compare(a.Channel, b.Channel) })
		got, err := DecodeTask(EncodeTask(&want))
		if err != nil || !reflect.DeepEqual(got, &want) {
			t.Fatalf("%+v, %v, want %+v", got, err, want)
		}
	})
}

func TestBitmapRoundTrips(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		received, opened, sent := anyBitmap().Draw(t, "received"), anyBitmap().Draw(t, "opened"), anyBitmap().Draw(t, "sent")
		b, err := EncodeBitmap(received)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := DecodeBitmap(b, width); err != nil || !got.Equals(received) {
			t.Fatalf("bitmap: %v, %v, want %v", got, err, received)
		}
		if b, err = EncodeReceipt(Receipt{received, opened, sent}); err != nil {
			t.Fatal(err)
		}
		if got, err := DecodeReceipt(b, width); err != nil || !got.Received.Equals(received) || !got.Opened.Equals(opened) || !got.Sent.Equals(sent) {
			t.Fatalf("receipt: %+v, %v, want %v, %v and %v", got, err, received, opened, sent)
		}
		p := Pending{rapid.Int64().Draw(t, "expire"), push.Seq(rapid.Uint64().Draw(t, "revokes")), received}
		if b, err = EncodePending(p); err != nil {
			t.Fatal(err)
		}
		if got, err := DecodePending(b, width); err != nil || !got.Users.Equals(received) || got.Expire != p.Expire || got.Revokes != p.Revokes {
			t.Fatalf("pending: %+v, %v, want %+v", got, err, p)
		}
	})
}

func TestQuotaRoundTrips(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		natural := rapid.Int64Min(0)
		q := Quota{natural.Draw(t, "day"), rapid.IntMin(0).Draw(t, "used"), natural.Draw(t, "last"), nil}
		for range rapid.IntRange(0, 5).Draw(t, "payments") {
			q.Payments = append(q.Payments, Payment{rapid.Uint64().Draw(t, "push"), natural.Draw(t, "at")})
		}
		got, err := DecodeQuota(EncodeQuota(q))
		if err != nil || got.Day != q.Day || got.Used != q.Used || got.Last != q.Last || !slices.Equal(got.Payments, q.Payments) {
			t.Fatalf("quota: %+v, %v, want %+v", got, err, q)
		}
	})
}

func TestInboxRoundTrips(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		q := InboxRequest{rapid.SliceOfN(rapid.Uint32(), 1, MaxInboxUsers).Draw(t, "locals"), rapid.Uint64().Draw(t, "audiences"), rapid.Uint64().Draw(t, "receipts"), false}
		if q.Alone = len(q.Locals) == 1; q.Alone {
			q.Alone = rapid.Bool().Draw(t, "alone")
		}
		if got, err := DecodeInboxRequest(EncodeInboxRequest(q)); err != nil || !reflect.DeepEqual(got, q) {
			t.Fatalf("request: %+v, %v, want %+v", got, err, q)
		}
		p := Position{q.Audiences, q.Receipts}
		if got, err := DecodePosition(EncodePosition(p)); err != nil || got != p {
			t.Fatalf("position: %+v, %v, want %+v", got, err, p)
		}
		want := make([][]push.Seq, rapid.IntRange(1, 4).Draw(t, "users"))
		for i := range want {
			for _, s := range rapid.SliceOfDistinct(rapid.Uint64Min(1), rapid.ID).Draw(t, "seqs") {
				want[i] = append(want[i], push.Seq(s))
			}
			slices.Sort(want[i])
		}
		if got, err := DecodeInboxes(encodeInboxes(want)); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("inbox: %v, %v, want %v", got, err, want)
		}
	})
}

// FuzzDecodeRecord and those below: no bytes make a decoder panic, a refusal is one of the package's errors, and what
// decodes has one form only: it is the same after one round as after two.
func FuzzDecodeRecord(f *testing.F) { fuzzLayout(f, "record", recodeRecord) }

func FuzzDecodePush(f *testing.F) { fuzzLayout(f, "push", recodePush) }

func FuzzDecodeReceipt(f *testing.F) { fuzzLayout(f, "receipt", recodeReceipt) }

func FuzzDecodePending(f *testing.F) { fuzzLayout(f, "p", recodePending, recodePosition) }

func FuzzDecodeSessionEvents(f *testing.F) { fuzzLayout(f, "session-events", recodeSessionEvents) }

func FuzzDecodeTold(f *testing.F) { fuzzLayout(f, "told", recodeTold) }

func FuzzDecodeTask(f *testing.F) { fuzzLayout(f, "task", recodeTask) }

func FuzzDecodeQuota(f *testing.F) { fuzzLayout(f, "quota", recodeQuota) }

func FuzzInbox(f *testing.F) { fuzzLayout(f, "inbox", recodeInbox, recodeInboxRequest) }

func FuzzMatch(f *testing.F) { fuzzLayout(f, "match", recodeMatchRequest, recodeMatchReply) }

func FuzzDecodeBitmap(f *testing.F) { fuzzLayout(f, "bitmap", recodeBitmap) }

// fuzzLayout fuzzes decoders, with the samples whose name has the prefix as seeds.
func fuzzLayout(f *testing.F, prefix string, recodes ...func([]byte) ([]byte, error)) {
	for _, l := range layouts() {
		if strings.HasPrefix(l.name, prefix) {
			f.Add(l.sample)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, recode := range recodes {
			kept := bytes.Clone(b)
			once, err := recode(b)
			if !bytes.Equal(b, kept) {
				t.Fatalf("decoding changed the input to %x", b)
			}
			if err != nil {
				checkRefusal(t, err)
				continue
			}
			if twice, err := recode(once); err != nil || !bytes.Equal(once, twice) {
				t.Fatalf("%x after one round, %x after two; %v", once, twice, err)
			}
		}
	})
}
