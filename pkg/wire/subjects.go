package wire

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"github.com/carillon-push/carillon/pkg/push"
)

// Subjects. Account names travel as unpadded URL-safe base64, so that any bytes are one subject token; everything else
// that varies is a decimal number, or a NUID.

// AccountSubject is where an account of the app is registered: `account.<app>.<enc>`.
func AccountSubject(app push.AppID, account string) string {
	return "account." + app.String() + "." + base64.RawURLEncoding.EncodeToString([]byte(account))
}

// ParseAccountSubject gives back the account's name.
func ParseAccountSubject(subject string) (string, error) {
	f := strings.Split(subject, ".")
	if len(f) != 3 || f[0] != "account" {
		return "", fmt.Errorf("%w: %q is no account subject", ErrCorrupt, subject)
	}
	name, err := base64.RawURLEncoding.DecodeString(f[2])
	if err != nil {
		return "", fmt.Errorf("%w: %q is no account subject", ErrCorrupt, subject)
	}
	return string(name), nil
}

// UserSubject is where a user's record stands: `user.<app>.<shard>.<ordinal>`, the last message being the record.
func UserSubject(app push.AppID, shard push.Shard, ordinal push.Ordinal) string {
	return fmt.Sprintf("user.%d.%d.%d", app, shard, ordinal)
}

// UserFilter matches the user records of all the app's shards.
func UserFilter(app push.AppID) string { return "user." + app.String() + ".>" }

// UserShardFilter matches the user records of one shard.
func UserShardFilter(app push.AppID, shard push.Shard) string {
	return fmt.Sprintf("user.%d.%d.*", app, shard)
}

// ParseUserSubject gives back the ordinal.
func ParseUserSubject(subject string) (push.Ordinal, error) {
	f := strings.Split(subject, ".")
	if len(f) != 4 || f[0] != "user" {
		return 0, fmt.Errorf("%w: %q is no user subject", ErrCorrupt, subject)
	}
	n, err := strconv.ParseUint(f[3], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %q is no user subject", ErrCorrupt, subject)
	}
	return push.Ordinal(n), nil
}

// DeviceSubject is where a user's devices stand: `device.<app>.<shard>.<ordinal>`, the last message being all of them.
func DeviceSubject(app push.AppID, shard push.Shard, ordinal push.Ordinal) string {
	return fmt.Sprintf("device.%d.%d.%d", app, shard, ordinal)
}

// TokenSubject is where it stands who has a token: `token.<app>.<hash>`, the hash being TokenHash.
func TokenSubject(app push.AppID, hash string) string { return "token." + app.String() + "." + hash }

// IsPushSubject tells a push from a user record in a shard's log.
func IsPushSubject(subject string) bool { return strings.HasPrefix(subject, "push.") }

// PushSubject is where a push is accepted: `push.<app>.<nuid>`.
func PushSubject(app push.AppID, nuid string) string { return "push." + app.String() + "." + nuid }

// RevocationSubject is where the revocation of a push is accepted, once: `push.<app>.revoke-<seq>`.
func RevocationSubject(app push.AppID, revokes push.Seq) string {
	return fmt.Sprintf("push.%d.revoke-%d", app, revokes)
}

// ReplayName is the name of a push's replay, of which there is one at most: its subject is PushSubject of it.
func ReplayName(again push.Seq) string { return fmt.Sprintf("again-%d", again) }

// PushFilter matches the app's pushes.
func PushFilter(app push.AppID) string { return "push." + app.String() + ".>" }

// SourceSubject is where a stream that copies pushes hears its source: `source.<stream>`.
func SourceSubject(stream string) string { return "source." + stream }

// AudienceSubject is where a shard's part of a push's audience stands: `audience.<app>.<shard>.<seq>`.
func AudienceSubject(app push.AppID, shard push.Shard, seq push.Seq) string {
	return fmt.Sprintf("audience.%d.%d.%d", app, shard, seq)
}

// AudienceFilter matches the audiences of one shard.
func AudienceFilter(app push.AppID, shard push.Shard) string {
	return fmt.Sprintf("audience.%d.%d.*", app, shard)
}

// AudiencesFilter matches the audiences of all the app's shards: of one push, or with zero of all.
func AudiencesFilter(app push.AppID, seq push.Seq) string { return allShards("audience", app, seq) }

// ReceiptsFilter matches the receipts from all the app's shards: of one push, or with zero of all.
func ReceiptsFilter(app push.AppID, seq push.Seq) string { return allShards("receipt", app, seq) }

func allShards(kind string, app push.AppID, seq push.Seq) string {
	if seq == 0 {
		return fmt.Sprintf("%s.%d.*.*", kind, app)
	}
	return fmt.Sprintf("%s.%d.*.%d", kind, app, seq)
}

// ReceiptSubject is where receipts of a push from one shard are gathered: `receipt.<app>.<shard>.<seq>`.
func ReceiptSubject(app push.AppID, shard push.Shard, seq push.Seq) string {
	return fmt.Sprintf("receipt.%d.%d.%d", app, shard, seq)
}

// ReceiptFilter matches the receipts of one shard.
func ReceiptFilter(app push.AppID, shard push.Shard) string {
	return fmt.Sprintf("receipt.%d.%d.*", app, shard)
}

const pendingPrefix = "$KV." + PendingBucket + "."

// PendingSubject is the subject of the key `<app>.<shard>.<seq>` in the PENDING bucket.
func PendingSubject(app push.AppID, shard push.Shard, seq push.Seq) string {
	return fmt.Sprintf(pendingPrefix+"%d.%d.%d", app, shard, seq)
}

// PendingFilter matches a shard's keys in the PENDING bucket, its position among them.
func PendingFilter(app push.AppID, shard push.Shard) string {
	return fmt.Sprintf(pendingPrefix+"%d.%d.*", app, shard)
}

// PositionSubject is the subject of the key `<app>.<shard>.position` in the PENDING bucket: how far the shard's entries
// have folded the logs.
func PositionSubject(app push.AppID, shard push.Shard) string {
	return fmt.Sprintf(pendingPrefix+"%d.%d.position", app, shard)
}

const taskPrefix = "$KV." + TasksBucket + "."

// TaskSubject is the subject of the key `<app>.<seq>` in the TASKS bucket.
func TaskSubject(app push.AppID, seq push.Seq) string {
	return fmt.Sprintf(taskPrefix+"%d.%d", app, seq)
}

// TaskFilter matches the app's keys in the TASKS bucket.
func TaskFilter(app push.AppID) string { return taskPrefix + app.String() + ".*" }

// ParseTaskSubject gives back what TaskSubject was called with.
func ParseTaskSubject(subject string) (app push.AppID, seq push.Seq, err error) {
	if n, err := fmt.Sscanf(subject, taskPrefix+"%d.%d", &app, &seq); n != 2 || err != nil || TaskSubject(app, seq) != subject {
		return 0, 0, fmt.Errorf("%w: %q names no task", ErrCorrupt, subject)
	}
	return app, seq, nil
}

// AttrNamesSubject is the subject of the key `<app>.attrs` in the SETTINGS bucket: the app's attribute names by slot.
func AttrNamesSubject(app push.AppID) string {
	return "$KV." + SettingsBucket + "." + app.String() + ".attrs"
}

// SessionEventSubject is where gateways tell of changes of the app's sessions: `event.<app>.session`.
func SessionEventSubject(app push.AppID) string { return "event." + app.String() + ".session" }

// ToldSubject is the subject of the key `<app>.told` in the SETTINGS bucket: how far the app's callback has been told the
// logs.
func ToldSubject(app push.AppID) string {
	return "$KV." + SettingsBucket + "." + app.String() + ".told"
}

// QuotaSubject is the subject of the key `<app>.push` in the QUOTAS bucket: what the app's pushes have used up.
func QuotaSubject(app push.AppID) string {
	return "$KV." + QuotasBucket + "." + app.String() + ".push"
}

// RateSubject counts the calls of a command of the app in one second: `rate.<app>.<command>.<unix second>`.
func RateSubject(app push.AppID, command string, second int64) string {
	return fmt.Sprintf("rate.%d.%s.%d", app, command, second)
}

// PushPlace is what the last tokens of an audience, receipt or pending subject say.
type PushPlace struct {
	App   push.AppID
	Shard push.Shard
	Seq   push.Seq
}

// ParsePushPlace reads the three last tokens of an audience, receipt or pending subject.
func ParsePushPlace(subject string) (PushPlace, error) {
	f := strings.Split(subject, ".")
	if len(f) < 4 {
		return PushPlace{}, fmt.Errorf("%w: %q names no push and shard", ErrCorrupt, subject)
	}
	f = f[len(f)-3:]
	app, err1 := push.ParseAppID(f[0])
	shard, err2 := strconv.ParseUint(f[1], 10, 32)
	seq, err3 := strconv.ParseUint(f[2], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil {
		return PushPlace{}, fmt.Errorf("%w: %q names no push and shard", ErrCorrupt, subject)
	}
	return PushPlace{app, push.Shard(shard), push.Seq(seq)}, nil
}

// InboxSubject is where a session's process asks what waits for an ordinal of the shard (request and reply).
func InboxSubject(app push.AppID, shard push.Shard) string {
	return fmt.Sprintf("inbox.%d.%d", app, shard)
}

// InboxOfAllSubject is where the same is asked of every offline worker of the shard, when the one that was given the request
// does not answer; the first answer is as good as any.
func InboxOfAllSubject(app push.AppID, shard push.Shard) string {
	return InboxSubject(app, shard) + ".all"
}

// MatchSubject is where a matcher of the shard is asked whom predicates hold for (request and reply).
func MatchSubject(app push.AppID, shard push.Shard) string {
	return fmt.Sprintf("match.%d.%d", app, shard)
}

// ShardSubject announces that the app has a new shard, so that workers need not wait for their next look at the streams.
func ShardSubject(app push.AppID) string { return "shard." + app.String() }

// SessionStatusSubject asks every gateway which of some ordinals have sessions (scatter and gather).
func SessionStatusSubject(app push.AppID) string { return "session." + app.String() + ".status" }

// SessionEndSubject tells every gateway to end an ordinal's sessions (scatter and gather).
func SessionEndSubject(app push.AppID) string { return "session." + app.String() + ".end" }

// SessionStatusFilter matches SessionStatusSubject of every app.
func SessionStatusFilter() string { return "session.*.status" }

// SessionEndFilter matches SessionEndSubject of every app.
func SessionEndFilter() string { return "session.*.end" }

// SessionConnectedSubject asks every gateway which users of a shard have sessions there (scatter and gather).
func SessionConnectedSubject(app push.AppID) string { return "session." + app.String() + ".connected" }

// SessionConnectedFilter matches SessionConnectedSubject of every app.
func SessionConnectedFilter() string { return "session.*.connected" }

// SessionRevokedSubject asks every gateway to say when it has dispatched a revocation, and to publish what it knows of the
// push (scatter and gather).
func SessionRevokedSubject(app push.AppID) string { return "session." + app.String() + ".revoked" }

// SessionRevokedFilter matches SessionRevokedSubject of every app.
func SessionRevokedFilter() string { return "session.*.revoked" }

// ParseSessionSubject gives back the app of one of the session subjects.
func ParseSessionSubject(subject string) (push.AppID, error) {
	f := strings.Split(subject, ".")
	if len(f) != 3 || f[0] != "session" {
		return 0, fmt.Errorf("%w: %q is no session subject", ErrCorrupt, subject)
	}
	app, err := push.ParseAppID(f[1])
	if err != nil {
		return 0, fmt.Errorf("%w: %q is no session subject", ErrCorrupt, subject)
	}
	return app, nil
}

// WritableSubject is the subject of the key `writable` in the SETTINGS bucket: written to find out whether the broker has
// room again.
func WritableSubject() string { return "$KV." + SettingsBucket + ".writable" }
