package wire

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/carillon-push/carillon/pkg/push"
)

// Stream names that are the same in every installation.
const (
	PushesStream    = "PUSHES"
	AudiencesStream = "AUDIENCES"
	ReceiptsStream  = "RECEIPTS"
	RatesStream     = "RATES"
	PendingBucket   = "PENDING"
	TasksBucket     = "TASKS"
	SettingsBucket  = "SETTINGS"
	QuotasBucket    = "QUOTAS"
	RequestsBucket  = "REQUESTS"
	PendingStream   = "KV_" + PendingBucket
	TasksStream     = "KV_" + TasksBucket
	SettingsStream  = "KV_" + SettingsBucket
	QuotasStream    = "KV_" + QuotasBucket
	RequestsStream  = "KV_" + RequestsBucket
)

// AccountsStream holds the app's accounts; a message's sequence is the account's ordinal.
func AccountsStream(app push.AppID) string { return "ACCOUNTS_" + app.String() }

// IsAccountsStream says whether a stream is some app's accounts.
func IsAccountsStream(name string) bool { return strings.HasPrefix(name, "ACCOUNTS_") }

// DevicesStream holds where vendors take pushes for the app's users.
func DevicesStream(app push.AppID) string { return "DEVICES_" + app.String() }

// UsersStream is a shard's log: its user records, and the app's pushes among them.
func UsersStream(app push.AppID, shard push.Shard) string {
	return fmt.Sprintf("USERS_%d_%d", app, shard)
}

// ParseUsersStream says whose log a stream is; ok is false for any other stream.
func ParseUsersStream(name string) (app push.AppID, shard push.Shard, ok bool) {
	f := strings.Split(name, "_")
	if len(f) != 3 || f[0] != "USERS" {
		return 0, 0, false
	}
	a, err := push.ParseAppID(f[1])
	s, err2 := strconv.ParseUint(f[2], 10, 32)
	return a, push.Shard(s), err == nil && err2 == nil
}

// Stream is what a stream on the broker must be like. Durations of zero are for ever.
type Stream struct {
	Name     string
	Subjects []string
	// MaxAge is how long a message is kept.
	MaxAge time.Duration
	// LastOnly keeps one message a subject.
	LastOnly bool
	// PerMessageTTL lets a message carry a lifetime of its own.
	PerMessageTTL bool
	// Batches lets writes go as atomic batches, which share one fsync.
	Batches bool
	// Duplicates is the window in which a message id is recognised.
	Duplicates time.Duration
	// Memory keeps the stream in the broker's memory: nothing waits for a disk, and a restart of the broker empties it.
	Memory bool
	// Counters makes each subject a number that is added to.
	Counters bool
	// Source, when set, is copied into this stream by a durable consumer.
	Source *Source
	// Queue lets a message go once a worker has done what it asks for.
	Queue bool `json:",omitempty"`
	// Consumers is how many consumers the stream may have, zero for as many as the broker lets one have that says nothing,
	// which are 1,000.
	Consumers int `json:",omitempty"`
}

// ShardConsumers is for streams of which each shard has consumers: its feed of pushes, its folds of audiences, receipts and
// devices.
const ShardConsumers = 100_000

// Source is a part of another stream that a stream copies in.
type Source struct {
	Stream string
	Filter string
}

// DuplicateWindow is the contract's second in which a repeated push is the same push.
const DuplicateWindow = time.Second

// RateWindow is how long the count of a second's calls is kept: longer than the clocks of processes differ.
const RateWindow = 10 * time.Second

// Accounts is the stream of the app's accounts: written once a subject, kept for ever.
func Accounts(app push.AppID) Stream {
	return Stream{Name: AccountsStream(app), Subjects: []string{"account." + app.String() + ".*"}, Batches: true}
}

// Devices is the stream of the app's devices and of who has their tokens, in one, so that both change in one atomic batch.
// What says that somebody has none, or a token nobody, goes by its TTL.
func Devices(app push.AppID) Stream {
	a := app.String()
	return Stream{
		Name: DevicesStream(app), Subjects: []string{"device." + a + ".*.*", "token." + a + ".*"},
		LastOnly: true, PerMessageTTL: true, Batches: true, Consumers: ShardConsumers,
	}
}

// Users is the log of one shard. The copies of pushes in it go when their own TTL has passed.
func Users(app push.AppID, shard push.Shard) Stream {
	return Stream{
		Name: UsersStream(app, shard), Subjects: []string{UserShardFilter(app, shard)},
		LastOnly: true, PerMessageTTL: true, Batches: true,
		Source: &Source{Stream: PushesStream, Filter: PushFilter(app)},
	}
}

// Fixed are the streams that every installation has. The retention is how long pushes, audiences and receipts are kept:
// the longest lifetime and a day.
func Fixed(retention time.Duration) []Stream {
	return []Stream{
		{Name: PushesStream, Subjects: []string{"push.>"}, PerMessageTTL: true, MaxAge: retention, Duplicates: DuplicateWindow, Consumers: ShardConsumers},
		{Name: AudiencesStream, Subjects: []string{"audience.>"}, MaxAge: retention, Consumers: ShardConsumers},
		{Name: ReceiptsStream, Subjects: []string{"receipt.>"}, MaxAge: retention, Batches: true, Consumers: ShardConsumers},
		{Name: NoticesStream, Subjects: []string{"notice.>", "outcome.>", "cut.>"}, MaxAge: retention, LastOnly: true, Consumers: ShardConsumers},
		{Name: NotifyStream, Subjects: []string{"notify.>"}, MaxAge: NotifyAge, Queue: true, Batches: true},
		{Name: RatesStream, Subjects: []string{"rate.>"}, MaxAge: RateWindow, LastOnly: true, Memory: true, Counters: true},
		{Name: EventsStream, Subjects: []string{"event.>"}, MaxAge: EventsAge, Consumers: ShardConsumers},
	}
}

// Bucket is a key-value bucket; its stream is `KV_<name>`.
type Bucket struct {
	Name          string
	MaxAge        time.Duration
	PerMessageTTL bool
	// Consumers is a Stream's.
	Consumers int `json:",omitempty"`
}

// RequestWindow is how long an idempotency key is recognised.
const RequestWindow = 24 * time.Hour

// Buckets are the buckets that every installation has. An entry of PENDING has what is left of its push's lifetime as
// its own TTL, and one of TASKS what is left of tasks, counted from the push's acceptance.
func Buckets(tasks time.Duration) []Bucket {
	return []Bucket{
		{Name: PendingBucket, MaxAge: push.MaxLifetime * time.Second, PerMessageTTL: true, Consumers: ShardConsumers},
		{Name: TasksBucket, MaxAge: tasks, PerMessageTTL: true},
		{Name: SettingsBucket},
		{Name: QuotasBucket},
		{Name: RequestsBucket, MaxAge: RequestWindow},
	}
}

// MatcherConsumer is the durable consumer that gives a shard's pushes to one matcher at a time.
const MatcherConsumer = "matcher"

// UnusedStream is what earlier versions made for an app: a copy of all versions of its records. Nothing uses it any more.
func UnusedStream(app push.AppID) string { return "HISTORY_" + app.String() }

// UnusedConsumer is the durable consumer of each shard's log that fed UnusedStream.
const UnusedConsumer = "history"

// Headers of messages on the broker.
const (
	// HeaderCardinality of an audience: how many it holds, decimal.
	HeaderCardinality = "Carillon-Cardinality"
	// HeaderEvaluated of an audience: the sequence in the shard's log up to which its index was folded, decimal.
	HeaderEvaluated = "Carillon-Evaluated"
	// HeaderRevokes of a revocation's audience: the sequence of the push that it cancels, decimal; absent for others.
	HeaderRevokes = "Carillon-Revokes"
	// HeaderExpire of an audience or receipt: the push's end in unix seconds, decimal; 0 for online users only.
	HeaderExpire = "Carillon-Expire"
	// HeaderTraceparent and HeaderTracestate of a push, an audience or a receipt: the span that it was published in, as W3C
	// Trace Context writes it. They are there only when the push's trace is recorded.
	HeaderTraceparent = "traceparent"
	HeaderTracestate  = "tracestate"
	// HeaderBefore of a user record in a shard's log: the sequence of the record that it took the place of, decimal, 0 for
	// the first: what its writer expected, which the broker keeps.
	HeaderBefore = "Nats-Expected-Last-Subject-Sequence"
)
