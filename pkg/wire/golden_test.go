package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/carillon-push/carillon/pkg/push"
)

var update = flag.Bool("update", false, "write the golden files anew: data on brokers then no longer decodes as it did")

// golden compares with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatalf("write the golden file: %v", err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("read the golden file: %v", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is\n%s\nwant\n%s", name, got, want)
	}
}

func TestGoldenLayouts(t *testing.T) {
	t.Parallel()
	for _, l := range layouts() {
		if json.Valid(l.sample) {
			golden(t, l.name+".json", append(l.sample[:len(l.sample):len(l.sample)], '\n'))
		} else {
			golden(t, l.name+".hex", []byte(lines(hex.EncodeToString(l.sample), 64)))
		}
		if again, err := l.recode(l.sample); err != nil || !bytes.Equal(again, l.sample) {
			t.Errorf("%s is %x after a round, want %x; %v", l.name, again, l.sample, err)
		}
	}
}

// lines breaks a text into lines of n bytes, of which those like the line before are counted rather than repeated.
func lines(s string, n int) string {
	var b strings.Builder
	var last string
	repeats := 0
	flush := func() {
		if repeats > 0 {
			fmt.Fprintf(&b, "... the same %d times\n", repeats)
		}
		repeats = 0
	}
	for len(s) > 0 {
		line := s[:min(n, len(s))]
		s = s[len(line):]
		if line == last {
			repeats++
			continue
		}
		flush()
		b.WriteString(line + "\n")
		last = line
	}
	flush()
	return b.String()
}

func TestGoldenFrames(t *testing.T) {
	t.Parallel()
	online := samplePush()
	online.Lifetime = 0
	var b []byte
	for _, frame := range [][]byte{
		AppendHello(nil, Hello{Session: "s\"1", Heartbeat: 60, Pending: 2}),
		AppendPush(nil, samplePush()),
		AppendPush(nil, online),
	} {
		b = append(append(b, frame...), '\n')
	}
	golden(t, "frames.txt", b)
}

func TestGoldenSubjects(t *testing.T) {
	t.Parallel()
	const app, shard, seq = push.AppID(1400000001), push.Shard(3), push.Seq(42)
	notice := NoticePlace{App: app, Seq: seq, Channel: "fcm", Shard: shard, Task: 7}
	var b bytes.Buffer
	for _, s := range []struct{ name, subject string }{
		{"AccountSubject", AccountSubject(app, "xiaoming")},
		{"AccountSubject of hostile bytes", AccountSubject(app, "a.*>\x00\xff😀")},
		{"UserSubject", UserSubject(app, shard, 3<<20|7)},
		{"UserFilter", UserFilter(app)},
		{"UserShardFilter", UserShardFilter(app, shard)},
		{"DeviceSubject", DeviceSubject(app, shard, 3<<20|7)},
		{"TokenSubject", TokenSubject(app, TokenHash("fcm", "token"))},
		{"PushSubject", PushSubject(app, "NUID")},
		{"ReplayName", PushSubject(app, ReplayName(seq))},
		{"PushFilter", PushFilter(app)},
		{"SourceSubject", SourceSubject(UsersStream(app, shard))},
		{"AudienceSubject", AudienceSubject(app, shard, seq)},
		{"AudienceFilter", AudienceFilter(app, shard)},
		{"AudiencesFilter", AudiencesFilter(app, 0)},
		{"AudiencesFilter of a push", AudiencesFilter(app, seq)},
		{"ReceiptsFilter", ReceiptsFilter(app, 0)},
		{"ReceiptsFilter of a push", ReceiptsFilter(app, seq)},
		{"ReceiptSubject", ReceiptSubject(app, shard, seq)},
		{"ReceiptFilter", ReceiptFilter(app, shard)},
		{"PendingSubject", PendingSubject(app, shard, seq)},
		{"PendingFilter", PendingFilter(app, shard)},
		{"PositionSubject", PositionSubject(app, shard)},
		{"TaskSubject", TaskSubject(app, seq)},
		{"TaskFilter", TaskFilter(app)},
		{"NoticeSubject", NoticeSubject(notice)},
		{"NoticeShardFilter", NoticeShardFilter(app, seq, shard)},
		{"NoticesFilter", NoticesFilter(app, seq)},
		{"OutcomeSubject", OutcomeSubject(notice)},
		{"AttrNamesSubject", AttrNamesSubject(app)},
		{"SessionEventSubject", SessionEventSubject(app)},
		{"ToldSubject", ToldSubject(app)},
		{"QuotaSubject", QuotaSubject(app)},
		{"RateSubject", RateSubject(app, "im_push", 1700000000)},
		{"InboxSubject", InboxSubject(app, shard)},
		{"InboxOfAllSubject", InboxOfAllSubject(app, shard)},
		{"MatchSubject", MatchSubject(app, shard)},
		{"PushRequestSubject", PushRequestSubject(app, "HASH")},
		{"SessionConnectedSubject", SessionConnectedSubject(app)},
		{"ShardSubject", ShardSubject(app)},
		{"MemberSubject", MemberSubject(RoleMatcher)},
		{"HolderSubject", HolderSubject(RoleOffline, app, shard)},
		{"IndexObject", IndexObject(app, shard)},
		{"SessionStatusSubject", SessionStatusSubject(app)},
		{"SessionEndSubject", SessionEndSubject(app)},
		{"AccountsStream", AccountsStream(app)},
		{"DevicesStream", DevicesStream(app)},
		{"UsersStream", UsersStream(app, shard)},
		{"UnusedStream", UnusedStream(app)},
		{"PushID", PushID(samplePush())},
		{"MatcherConsumer", MatcherConsumer},
		{"UnusedConsumer", UnusedConsumer},
		{"HeaderBefore", HeaderBefore},
		{"HeaderCardinality", HeaderCardinality},
		{"HeaderEvaluated", HeaderEvaluated},
		{"HeaderExpire", HeaderExpire},
		{"HeaderSource", HeaderSource},
	} {
		fmt.Fprintf(&b, "%s: %s\n", s.name, s.subject)
	}
	golden(t, "subjects.txt", b.Bytes())
}

func TestGoldenStreams(t *testing.T) {
	t.Parallel()
	settings := struct {
		Fixed   []Stream
		App     []Stream
		Buckets []Bucket
	}{Fixed(192 * time.Hour), []Stream{Accounts(1400000001), Devices(1400000001), Users(1400000001, 3)}, Buckets(720 * time.Hour)}
	b, err := json.MarshalIndent(settings, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "streams.json", append(b, '\n'))
}
