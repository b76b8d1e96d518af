package wire

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/carillon-push/carillon/pkg/push"
)

func TestSubjectsRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		app := push.AppID(rapid.Uint32Min(1).Draw(t, "app"))
		shard := push.Shard(rapid.Uint32().Draw(t, "shard"))
		seq := push.Seq(rapid.Uint64().Draw(t, "seq"))
		account := anyBytes(1, push.MaxAccountLen).Draw(t, "account")

		subject := AccountSubject(app, account)
		if strings.Count(subject, ".") != 2 || strings.ContainsAny(subject, "*> \t\r\n\x00") {
			t.Fatalf("account %q makes the subject %q", account, subject)
		}
		if got, err := ParseAccountSubject(subject); err != nil || got != account {
			t.Fatalf("%s: %q, %v, want %q", subject, got, err, account)
		}
		if got, err := ParseUserSubject(UserSubject(app, shard, push.Ordinal(seq))); err != nil || got != push.Ordinal(seq) {
			t.Fatalf("ordinal %d, %v, want %d", got, err, seq)
		}
		for _, subject := range []string{AudienceSubject(app, shard, seq), ReceiptSubject(app, shard, seq), PendingSubject(app, shard, seq)} {
			if got, err := ParsePushPlace(subject); err != nil || got != (PushPlace{app, shard, seq}) {
				t.Fatalf("%s: %+v, %v", subject, got, err)
			}
		}
		if a, s, err := ParseTaskSubject(TaskSubject(app, seq)); err != nil || a != app || s != seq {
			t.Fatalf("task %d of %d: %d, %d, %v", seq, app, s, a, err)
		}
		for _, subject := range []string{SessionStatusSubject(app), SessionEndSubject(app), SessionConnectedSubject(app)} {
			if got, err := ParseSessionSubject(subject); err != nil || got != app {
				t.Fatalf("%s: %d, %v, want %d", subject, got, err, app)
			}
		}
		if a, s, ok := ParseUsersStream(UsersStream(app, shard)); !ok || a != app || s != shard {
			t.Fatalf("users stream of %d and %d: %d, %d, %t", app, shard, a, s, ok)
		}
	})
}

func TestSubjectsAreWithinTheirFilters(t *testing.T) {
	t.Parallel()
	const app, shard = 1400000001, 3
	notice := NoticePlace{App: app, Seq: 42, Channel: "fcm", Shard: shard, Task: 7}
	for _, c := range []struct{ filter, subject string }{
		{UserFilter(app), UserSubject(app, shard, 7)},
		{UserShardFilter(app, shard), UserSubject(app, shard, 7)},
		{PushFilter(app), PushSubject(app, "nuid")},
		{AudiencesFilter(app, 0), AudienceSubject(app, shard, 42)},
		{AudiencesFilter(app, 42), AudienceSubject(app, shard, 42)},
		{ReceiptsFilter(app, 0), ReceiptSubject(app, shard, 42)},
		{ReceiptsFilter(app, 42), ReceiptSubject(app, shard, 42)},
		{AudienceFilter(app, shard), AudienceSubject(app, shard, 42)},
		{ReceiptFilter(app, shard), ReceiptSubject(app, shard, 42)},
		{PendingFilter(app, shard), PendingSubject(app, shard, 42)},
		{PendingFilter(app, shard), PositionSubject(app, shard)},
		{TaskFilter(app), TaskSubject(app, 42)},
		{Accounts(app).Subjects[0], AccountSubject(app, "a.b")},
		{Users(app, shard).Subjects[0], UserSubject(app, shard, 7)},
		{Devices(app).Subjects[0], DeviceSubject(app, shard, 7)},
		{Devices(app).Subjects[1], TokenSubject(app, TokenHash("fcm", "a.*>"))},
		{Fixed(0)[0].Subjects[0], PushSubject(app, "nuid")},
		{Fixed(0)[1].Subjects[0], AudienceSubject(app, shard, 42)},
		{Fixed(0)[2].Subjects[0], ReceiptSubject(app, shard, 42)},
		{Fixed(0)[3].Subjects[0], NoticeSubject(notice)},
		{Fixed(0)[3].Subjects[1], OutcomeSubject(notice)},
		{Fixed(0)[3].Subjects[2], CutSubject(app, shard)},
		{Fixed(0)[4].Subjects[0], NotifySubject(notice)},
		{Fixed(0)[5].Subjects[0], RateSubject(app, "im_push", 1700000000)},
		{Fixed(0)[6].Subjects[0], SessionEventSubject(app)},
		{OutcomeFilter(app, 42), OutcomeSubject(notice)},
		{OutcomeShardFilter(app, 42, shard), OutcomeSubject(notice)},
		{NoticesFilter(app, 42), NoticeSubject(notice)},
		{NoticesFilter(app, 42), OutcomeSubject(notice)},
		{NoticeShardFilter(app, 42, shard), NoticeSubject(notice)},
		{NotifyFilter(app, "fcm"), NotifySubject(notice)},
		{DeviceFilter(app, shard), DeviceSubject(app, shard, 7)},
	} {
		if !matches(c.filter, c.subject) {
			t.Errorf("%s does not match %s", c.filter, c.subject)
		}
	}
	if matches(AudiencesFilter(app, 42), AudienceSubject(app, shard, 43)) || matches(AudienceFilter(app, shard), AudienceSubject(app, shard+10, 42)) || matches(PushFilter(app), PushSubject(app*2, "n")) {
		t.Error("a filter matches another shard or app")
	}
	if matches(NoticesFilter(app, 42), CutSubject(app, 42)) || matches(NoticeShardFilter(app, 42, shard+1), NoticeSubject(notice)) {
		t.Error("a filter of notices matches what is none, or another shard's")
	}
}

// matches is the broker's rule of filters.
func matches(filter, subject string) bool {
	want, got := strings.Split(filter, "."), strings.Split(subject, ".")
	for i, w := range want {
		if w == ">" {
			return len(got) > i
		}
		if i >= len(got) || w != "*" && w != got[i] {
			return false
		}
	}
	return len(got) == len(want)
}

func TestIsPushSubject(t *testing.T) {
	t.Parallel()
	if !IsPushSubject(PushSubject(1, "n")) || IsPushSubject(UserSubject(1, 0, 1)) {
		t.Error("a push and a user record are taken for each other")
	}
}

func TestParsersRefuseOtherSubjects(t *testing.T) {
	t.Parallel()
	place := func(s string) error { _, err := ParsePushPlace(s); return err }
	account := func(s string) error { _, err := ParseAccountSubject(s); return err }
	user := func(s string) error { _, err := ParseUserSubject(s); return err }
	session := func(s string) error { _, err := ParseSessionSubject(s); return err }
	source := func(s string) error { _, err := ParseSource(s); return err }
	for _, c := range []struct {
		parse   func(string) error
		subject string
	}{
		{place, ""}, {place, "audience.1.2"}, {place, "audience.0.2.3"}, {place, "audience.1.-2.3"}, {place, "audience.1.2.position"},
		{place, "audience.1.4294967296.3"}, {place, "audience.1.2.18446744073709551616"}, {place, "..."},
		{account, ""}, {account, "account.1"}, {account, "user.1.YQ"}, {account, "account.1.YQ=="}, {account, "account.1.*"},
		{user, ""}, {user, "user.1.2"}, {user, "push.1.2.3"}, {user, "user.1.2.x"}, {user, "user.1.2.-3"},
		{session, ""}, {session, "session.1"}, {session, "session.0.end"}, {session, "shard.1.end"},
		{source, ""}, {source, "PUSHES"}, {source, "PUSHES 0"}, {source, "PUSHES x"}, {source, "PUSHES -1 >"},
	} {
		if err := c.parse(c.subject); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%q: %v, want ErrCorrupt", c.subject, err)
		}
	}
	if seq, err := ParseSource("PUSHES 42 push.1.> > push.1.n"); err != nil || seq != 42 {
		t.Errorf("source header: %d, %v, want 42", seq, err)
	}
	for _, name := range []string{"", "USERS_1", "USERS_0_1", "USERS_1_x", "ACCOUNTS_1_2", "USERS_1_2_3", "KV_PENDING"} {
		if _, _, ok := ParseUsersStream(name); ok {
			t.Errorf("%q is taken for a users stream", name)
		}
	}
}

func FuzzParseSubjects(f *testing.F) {
	f.Add(AccountSubject(1, "a"))
	f.Add(UserSubject(1, 2, 3))
	f.Add(AudienceSubject(1, 2, 3))
	f.Add(SessionEndSubject(1))
	f.Add(UsersStream(1, 2))
	f.Add("PUSHES 42 >")
	f.Fuzz(func(t *testing.T, s string) {
		_, err1 := ParseAccountSubject(s)
		_, err2 := ParseUserSubject(s)
		_, err3 := ParsePushPlace(s)
		_, err4 := ParseSessionSubject(s)
		_, err5 := ParseSource(s)
		for _, err := range []error{err1, err2, err3, err4, err5} {
			if err != nil {
				checkRefusal(t, err)
			}
		}
		if app, shard, ok := ParseUsersStream(s); ok {
			if a, n, ok := ParseUsersStream(UsersStream(app, shard)); !ok || a != app || n != shard {
				t.Fatalf("%q is the log of %d and %d, and then of %d and %d", s, app, shard, a, n)
			}
		}
	})
}
