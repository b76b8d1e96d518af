package deliver

import (
	"cmp"
	"slices"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"
	"pgregory.net/rapid"

	"github.com/carillon-push/carillon/pkg/push"
)

// A list that is taken for another audience's is what merging in that audience's own sessions would have made, also while
// sessions come and go, and users are taken out of the audiences that were not sent to.
func TestAudienceOfTheSamePeople(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := newShard(nil, 1, 0)
		var all []*session
		come := func() {
			se := &session{shard: s, local: rapid.Uint32Range(0, 30).Draw(t, "local")}
			s.join(se, "", 3)
			all = append(all, se)
		}
		for range rapid.IntRange(1, 30).Draw(t, "sessions") {
			come()
		}
		some := rapid.SliceOfN(rapid.Uint32Range(0, 30), 1, 30)
		users, other := some.Draw(t, "users"), some.Draw(t, "others")
		place := uint64(0)
		audiences := func(max int) (batch []live) {
			for range rapid.IntRange(1, max).Draw(t, "audiences") {
				place++
				to := users
				if rapid.IntRange(0, 5).Draw(t, "differs") == 0 {
					to = other
				}
				batch = append(batch, live{place: place, seq: push.Seq(place), users: roaring.BitmapOf(to...)})
			}
			return batch
		}
		of := addressees{}
		batch := audiences(3)
		list, _ := s.audiencesLike(&of, nil, batch, nil)
		for range rapid.IntRange(1, 6).Draw(t, "rounds") {
			at := rapid.IntRange(0, len(list)).Draw(t, "written")
			for at > 0 && at < len(list) && list[at].se.local == list[at-1].se.local {
				at++ // a user's sessions are written to together
			}
			switch rapid.IntRange(0, 4).Draw(t, "event") {
			case 0:
				come()
			case 1:
				s.leave(all[rapid.IntRange(0, len(all)-1).Draw(t, "leaver")])
			case 2:
				batch[0].users.Remove(users[0])
			}
			had, more := len(batch), audiences(2)
			var naive []live
			for _, l := range more {
				naive = append(naive, live{place: l.place, seq: l.seq, users: l.users.Clone()})
			}
			want := merge(nil, list[at:], s.audiences(naive, nil), had)
			fresh, same := s.audiencesLike(&of, batch, more, nil)
			batch = append(batch, more...)
			got := merge(nil, list[at:], fresh, had)
			if same {
				got = round(nil, list, at, 1<<len(batch)-1<<had)
			}
			for i, l := range more {
				if !l.users.Equals(naive[i].users) {
					t.Fatalf("audience %d is left with %v, want %v", l.place, l.users, naive[i].users)
				}
			}
			list = got
			if at == len(want) || len(list) > 0 && len(want) > 0 && list[0] != want[0] { // it may go round from elsewhere
				want, got = slices.SortedFunc(slices.Values(want), byPlace), slices.SortedFunc(slices.Values(got), byPlace)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("taken for the same %v: %v, want %v", same, got, want)
			}
		}
	})
}

// byPlace orders targets by user, and those of one user by what they get; among equals the order is the list's.
func byPlace(a, b target) int {
	return cmp.Or(cmp.Compare(a.se.local, b.se.local), cmp.Compare(a.mask, b.mask))
}

// BenchmarkBurst has audiences of the same 5,000 users come behind each other, before anything is written.
func BenchmarkBurst(b *testing.B) {
	s := newShard(nil, 1, 0)
	users := roaring.New()
	for i := range uint32(5000) {
		s.join(&session{shard: s, local: i}, "", 1)
		users.Add(i)
	}
	for _, c := range []struct {
		name  string
		known bool
	}{{"same", true}, {"merged", false}} {
		b.Run(c.name, func(b *testing.B) {
			of := addressees{}
			batch := []live{{place: 1, seq: 1, users: users.Clone()}}
			list, _ := s.audiencesLike(&of, nil, batch, nil)
			more := []live{{place: 2, seq: 2, users: users.Clone()}}
			var fresh, into []target
			b.ReportAllocs()
			for b.Loop() {
				if !c.known {
					of = addressees{}
				}
				var same bool
				if fresh, same = s.audiencesLike(&of, batch, more, fresh[:0]); same {
					into = round(into[:0], list, 2500, 2)
				} else {
					into = merge(into[:0], list[2500:], fresh, 1)
				}
				if same != c.known || len(into) != len(list) {
					b.Fatalf("taken for the same: %v; %d sessions", same, len(into))
				}
			}
		})
	}
}
