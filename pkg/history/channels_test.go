package history

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// put publishes one message of NOTICES.
func (w *world) put(subject string, data []byte, err error) {
	w.Helper()
	w.must(err)
	_, _, err = w.b.Publish(w.Context(), broker.Message{Subject: subject, Data: data})
	w.must(err)
}

// phones plays the worker that cuts a push: some ordinals are to be notified.
func (w *world) phones(s *sent, channel string, ordinals ...push.Ordinal) {
	w.Helper()
	shards := map[push.Shard]*roaring.Bitmap{}
	s.phones[channel] = map[push.Ordinal][]wire.OutcomePart{}
	for _, o := range ordinals {
		s.phones[channel][o] = nil
		if shards[w.shard(o)] == nil {
			shards[w.shard(o)] = roaring.New()
		}
		shards[w.shard(o)].Add(w.b.Sharding().Local(o))
	}
	for shard, users := range shards {
		data, err := wire.EncodeBitmap(users)
		w.put(wire.NoticeSubject(wire.NoticePlace{App: app, Seq: s.Seq, Channel: channel, Shard: shard}), data, err)
	}
}

// task says, by counting, in which task of a push an ordinal is.
func (w *world) task(s *sent, channel string, o push.Ordinal) wire.NoticePlace {
	before := 0
	for other := range s.phones[channel] {
		if w.shard(other) == w.shard(o) && other < o {
			before++
		}
	}
	return wire.NoticePlace{App: app, Seq: s.Seq, Channel: channel, Shard: w.shard(o), Task: before / wire.NotifySize}
}

// settle plays the worker that has a task: it says one more thing of one user.
func (w *world) settle(s *sent, channel string, o push.Ordinal, result, reason string) {
	w.Helper()
	place := w.task(s, channel, o)
	part := wire.OutcomePart{Result: result, Reason: reason, Users: roaring.BitmapOf(w.b.Sharding().Local(o))}
	outcome := s.outcomes[place]
	outcome.Parts = append(outcome.Parts, part)
	s.outcomes[place] = outcome
	s.phones[channel][o] = append(s.phones[channel][o], part)
	data, err := wire.EncodeOutcome(outcome)
	w.put(wire.OutcomeSubject(place), data, err)
}

// notified says whether a channel took a notification for a user.
func (s *sent) notified(o push.Ordinal) bool {
	for _, users := range s.phones {
		for _, p := range users[o] {
			if p.Result == wire.ResultSent {
				return true
			}
		}
	}
	return false
}

// stepPhones does one thing at random with a push's phones.
func (w *world) stepPhones() {
	w.Helper()
	if len(w.pushes) == 0 {
		return
	}
	s := w.pushes[w.rand.IntN(len(w.pushes))]
	members := s.members(w.b.Sharding())
	if s.Lifetime == 0 || len(members) == 0 {
		return
	}
	channel := []string{"apns", "fcm"}[w.rand.IntN(2)]
	if s.phones[channel] == nil {
		some := slices.DeleteFunc(members, func(push.Ordinal) bool { return w.rand.IntN(3) == 0 })
		w.phones(s, channel, some...)
		return
	}
	var users []push.Ordinal
	for _, o := range members {
		if _, has := s.phones[channel][o]; has {
			users = append(users, o)
		}
	}
	results := []string{
		wire.ResultSent, wire.ResultSent, wire.ResultSent, wire.ResultGone, wire.ResultRefused, wire.ResultRefused, wire.ResultExpired, wire.ResultReceived,
		wire.ResultNoDevice, wire.ResultRevoked,
	}
	for range 3 {
		if len(users) > 0 {
			result := results[w.rand.IntN(len(results))]
			reason := ""
			if result == wire.ResultRefused {
				reason = []string{"", "PayloadTooLarge", "TopicDisallowed"}[w.rand.IntN(3)]
			}
			w.settle(s, channel, users[w.rand.IntN(len(users))], result, reason)
		}
	}
}

// channelsOf counts a push user by user. twice says how many have several results.
func (s *sent) channelsOf() (all map[string]Channel, twice int) {
	all = map[string]Channel{}
	for channel, users := range s.phones {
		if len(users) == 0 {
			continue
		}
		c := Channel{Refused: map[string]uint64{}}
		for _, parts := range users {
			c.Users++
			has := func(result string) bool {
				return slices.ContainsFunc(parts, func(p wire.OutcomePart) bool { return p.Result == result })
			}
			if len(parts) > 1 {
				twice++
			}
			switch {
			case has(wire.ResultSent):
				c.Sent++
			case has(wire.ResultRefused):
				for _, p := range parts { // the first that was said
					if p.Result == wire.ResultRefused {
						c.Refused[map[bool]string{true: "other", false: p.Reason}[p.Reason == ""]]++
						break
					}
				}
			case has(wire.ResultGone):
				c.Gone++
			case has(wire.ResultNoDevice):
				c.NoDevice++
			case has(wire.ResultReceived):
				c.Received++
			case has(wire.ResultRevoked):
				c.Revoked++
			case has(wire.ResultExpired):
				c.Expired++
			default:
				c.Open++
			}
		}
		all[channel] = c
	}
	return all, twice
}

// Whatever vendors said, and whenever pushes were counted between, the counts are those of a naive memory, in the logs and
// beyond them; and so is each user's trace.
func TestChannelsAreTheTruth(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, seed)
			for i := range 40 { // three shards
				w.register(fmt.Sprint("u", i))
			}
			for range 240 {
				if w.rand.IntN(3) == 0 {
					w.step()
				} else {
					w.stepPhones()
				}
				if n := len(w.pushes); n > 0 && w.rand.IntN(4) == 0 {
					w.keep(w.pushes[w.rand.IntN(n)])
				}
			}
			counted, several, notified := 0, 0, 0
			check := func(s *sent, where string) {
				t.Helper()
				got, err := w.h.Channels(t.Context(), s.Push)
				w.must(err)
				want, twice := s.channelsOf()
				if counted, several = counted+len(want), several+twice; !reflect.DeepEqual(got, want) {
					t.Errorf("push %d, %s: %+v, want %+v", s.Seq, where, got, want)
				}
			}
			for _, s := range w.pushes {
				kept := w.keep(s)
				fresh, err := w.h.Count(t.Context(), app, s.Seq, nil)
				if w.must(err); !reflect.DeepEqual(kept, fresh) {
					t.Errorf("push %d: counted bit by bit %+v, at once %+v", s.Seq, kept, fresh)
				}
				check(s, "from the logs")
				w.checkTally(s)
				for _, i := range w.rand.Perm(40)[:10] {
					name := fmt.Sprint("u", i)
					got := w.trace(s, name)
					if want, _, _, _ := w.truth(s, name); got.Outcome != want {
						t.Errorf("push %d, %s: %s (%s), want %s", s.Seq, name, got.Outcome, got.Why, want)
					}
					if got.Outcome == Notified {
						notified++
					}
					left, told := 0, 0
					for _, users := range s.phones {
						if parts, has := users[got.Ordinal]; has && got.Ordinal != 0 {
							left++
							told += min(1, len(parts))
						}
					}
					kinds := kindsOf(got)
					if n := strings.Count(kinds, string(EventPhones)); n != left {
						t.Errorf("push %d, %s: left for phones %d times, want %d", s.Seq, name, n, left)
					}
					n := 0
					for _, kind := range []Kind{EventNotified, EventRefused, EventGone, EventSpared} {
						n += strings.Count(kinds, string(kind))
					}
					if n != told {
						t.Errorf("push %d, %s: %d results in %s, want %d", s.Seq, name, n, kinds, told)
					}
				}
			}
			for _, s := range w.pushes {
				w.forget(s)
			}
			for _, s := range w.pushes {
				check(s, "beyond the logs")
			}
			if counted == 0 || several == 0 || notified == 0 {
				t.Errorf("the history of seed %d has %d channels, %d users with several results and %d who were notified", seed, counted, several, notified)
			}
		})
	}
}

// A user is looked for in the task that it is in, and what each says is told with its time.
func TestTraceOfPhones(t *testing.T) {
	t.Parallel()
	const users = 2*wire.NotifySize + 10
	w := newWorld(t, 1, func(c *broker.Config) { c.Sharding = 12 })
	names := make([]string, users)
	for i := range names {
		names[i] = fmt.Sprint("u", i)
	}
	ordinals := map[string]push.Ordinal{}
	for some := range slices.Chunk(names, 1000) {
		got, err := w.dir.Register(t.Context(), app, some...)
		w.must(err)
		maps.Copy(ordinals, got)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(ordinals[a], ordinals[b]) })
	s := w.push(predicateAll, time.Hour)
	all := make([]push.Ordinal, users)
	set := roaring.New()
	for i, name := range names {
		all[i] = ordinals[name]
		set.Add(w.b.Sharding().Local(all[i]))
	}
	w.audience(s, 0, set)
	w.phones(s, "apns", all...)
	w.phones(s, "fcm", all[5], all[users-1])
	w.settle(s, "apns", all[users-1], wire.ResultRefused, "PayloadTooLarge")
	w.settle(s, "fcm", all[users-1], wire.ResultGone, "UNREGISTERED")
	w.settle(s, "apns", all[users-2], wire.ResultSent, "")
	w.settle(s, "apns", all[5], wire.ResultSent, "")
	w.settle(s, "fcm", all[5], wire.ResultSent, "")
	w.settle(s, "apns", all[1], wire.ResultNoDevice, "")
	if place := w.task(s, "apns", all[users-1]); place.Task != 2 {
		t.Fatalf("the last one is in %+v", place)
	}
	for _, c := range []struct {
		user    int
		outcome Outcome
		kinds   string
		events  string
		why     string
	}{
		{users - 1, Pending, "phones phones refused gone", "left for phones by apns|left for phones by fcm|refused by apns: PayloadTooLarge|token gone, says fcm: UNREGISTERED",
			"; refused by apns: PayloadTooLarge; token gone, says fcm: UNREGISTERED"},
		{users - 2, Notified, "phones notified", "left for phones by apns|notified by apns", "apns took a notification for the user's phone, and the push itself was not sent; it is sent at the next login until "},
		{5, Notified, "phones phones notified notified", "notified by apns|notified by fcm", "apns and fcm took a notification"},
		{1, Pending, "phones spared", "not notified by apns: the user had no device of it any more", "; not notified by apns: "},
		{2, Pending, "phones", "left for phones by apns: waiting", "; left for phones by apns: waiting"},
	} {
		trace := w.trace(s, names[c.user])
		var kinds, texts []string
		for _, e := range trace.Events {
			if slices.Contains([]Kind{EventPhones, EventNotified, EventRefused, EventGone, EventSpared}, e.Kind) {
				kinds, texts = append(kinds, string(e.Kind)), append(texts, e.Text)
			}
		}
		slices.Sort(texts)
		for _, want := range strings.Split(c.events, "|") {
			if !slices.Contains(texts, want) {
				t.Errorf("user %d: no %q in %q", c.user, want, texts)
			}
		}
		slices.Sort(kinds)
		want := strings.Fields(c.kinds)
		slices.Sort(want)
		if trace.Outcome != c.outcome || !slices.Equal(kinds, want) || !strings.Contains(trace.Why, c.why) {
			t.Errorf("user %d: %s because %s, %v, want %s because %s, %v", c.user, trace.Outcome, trace.Why, kinds, c.outcome, c.why, want)
		}
	}
	w.deliver(s, Sent, all[5])
	if trace := w.trace(s, names[5]); trace.Outcome != Sent {
		t.Errorf("with a session too: %s", trace.Outcome)
	}
	w.revoke(s)
	r, err := w.h.Revocation(t.Context(), s.Push)
	w.must(err)
	place := w.task(s, "apns", all[users-2])
	place.Seq = r.Seq
	data, err := wire.EncodeOutcome(wire.Outcome{Parts: []wire.OutcomePart{{Result: wire.ResultSent, Users: roaring.BitmapOf(w.b.Sharding().Local(all[users-2]))}}})
	w.put(wire.OutcomeSubject(place), data, err)
	if trace := w.trace(s, names[users-2]); trace.Outcome != Notified || !strings.HasSuffix(kindsOf(trace), "revoked taken_back") {
		t.Errorf("taken back: %s, %s", trace.Outcome, kindsOf(trace))
	}
}

// What cannot be read is left out, and nothing that an outcome says makes more users than there are, or an entry that
// cannot be read back.
func TestChannelsOfHostileNotices(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	o := w.register("u")
	s := w.push(predicateAll, time.Hour)
	w.match(s)
	w.phones(s, "apns", o)
	place := w.task(s, "apns", o)
	w.put(wire.OutcomeSubject(place), []byte{99}, nil)
	other := place
	other.Channel = "fcm"
	w.put(wire.NoticeSubject(other), []byte("no bitmap"), nil)
	want := map[string]Channel{"apns": {Users: 1, Open: 1, Refused: map[string]uint64{}}}
	if got, err := w.h.Channels(t.Context(), s.Push); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if trace := w.trace(s, "u"); trace.Outcome != Pending {
		t.Errorf("%+v", trace)
	}
	var parts []wire.OutcomePart
	for i := range 3 * reasonsAtMost {
		parts = append(parts, wire.OutcomePart{Result: wire.ResultRefused, Reason: fmt.Sprint("reason ", i), Users: roaring.BitmapOf(uint32(i % 16))})
	}
	data, err := wire.EncodeOutcome(wire.Outcome{Parts: parts})
	w.put(wire.OutcomeSubject(place), data, err)
	kept := w.keep(s)
	if again, err := wire.DecodeTask(wire.EncodeTask(kept)); err != nil || !reflect.DeepEqual(again.Channels, kept.Channels) || kept.Channels[0].Results[0].Users != 1 {
		t.Errorf("%+v, %v", kept.Channels, err)
	}
}

// Whoever reads while an outcome is replaced sees both, and counts the later one.
func TestAnOutcomeReplacesTheOneBefore(t *testing.T) {
	t.Parallel()
	c := channels{users: map[wire.NoticePlace]uint64{}, tasks: map[wire.NoticePlace][]wire.TaskResult{}}
	place := wire.NoticePlace{App: app, Seq: 7, Channel: "apns"}
	take := func(subject string, data []byte, err error) {
		t.Helper()
		if err == nil {
			err = c.take(&broker.Message{Subject: subject, Data: data}, 16)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	data, err := wire.EncodeBitmap(roaring.BitmapOf(1, 2, 3))
	take(wire.NoticeSubject(place), data, err)
	for _, sent := range [][]uint32{{1}, {1, 2}} {
		data, err = wire.EncodeOutcome(wire.Outcome{Parts: []wire.OutcomePart{{Result: wire.ResultSent, Users: roaring.BitmapOf(sent...)}}})
		take(wire.OutcomeSubject(place), data, err)
	}
	want := []wire.TaskChannel{{Channel: "apns", Users: 3, Results: []wire.TaskResult{{Result: wire.ResultSent, Users: 2}}}}
	if got := c.sum(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestFewReasons(t *testing.T) {
	t.Parallel()
	var counts []wire.TaskResult
	for i := range uint64(reasonsAtMost + 10) {
		counts = append(counts, wire.TaskResult{Result: wire.ResultRefused, Reason: fmt.Sprint("r", i), Users: i + 1})
	}
	counts = append(counts, wire.TaskResult{Result: wire.ResultRefused, Reason: reasonOther, Users: 1000}, wire.TaskResult{Result: wire.ResultSent, Users: 1})
	got := bounded(slices.Clone(counts), 1<<40)
	i := slices.IndexFunc(got, func(r wire.TaskResult) bool { return r.Reason == reasonOther })
	if len(got) != reasonsAtMost+2 || i < 0 || got[i].Users != 1000+55 || !slices.IsSortedFunc(got, wire.TaskResult.Compare) {
		t.Errorf("%+v", got)
	}
	if got := bounded(counts, 1003); len(got) != 2 || got[0].Users != 1000 || got[1].Users != 3 {
		t.Errorf("of fewer users: %+v", got)
	}
}

// A push to a million phones, a tenth of which a vendor did not take.
func BenchmarkChannels(b *testing.B) {
	const users = 1 << 20
	w := newWorld(b, 1, func(c *broker.Config) { c.Sharding = 20 })
	w.register("u")
	s := w.push(predicateAll, time.Hour)
	place := wire.NoticePlace{App: app, Seq: s.Seq, Channel: "apns"}
	all := roaring.New()
	all.AddRange(0, users)
	data, err := wire.EncodeBitmap(all)
	w.put(wire.NoticeSubject(place), data, err)
	for from := uint64(0); from < users; from += wire.NotifySize {
		sent, gone := roaring.New(), roaring.New()
		for i := from; i < min(users, from+wire.NotifySize); i++ {
			if i%10 == 0 {
				gone.Add(uint32(i))
			} else {
				sent.Add(uint32(i))
			}
		}
		data, err := wire.EncodeOutcome(wire.Outcome{Done: true, Parts: []wire.OutcomePart{
			{Result: wire.ResultSent, Users: sent}, {Result: wire.ResultGone, Reason: "Unregistered", Users: gone},
		}})
		w.put(wire.OutcomeSubject(place), data, err)
		place.Task++
	}
	known := w.keep(s)
	b.Run("anew", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if got, err := w.h.Channels(b.Context(), s.Push); err != nil || got["apns"].Open != 0 || got["apns"].Users != users {
				b.Fatal(got, err)
			}
		}
	})
	b.Run("again", func(b *testing.B) {
		for b.Loop() {
			if got, err := w.h.Count(b.Context(), app, s.Seq, known); err != nil || got.Notices != known.Notices {
				b.Fatal(got, err)
			}
		}
	})
}
