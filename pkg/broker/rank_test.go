package broker

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/carillon-push/carillon/pkg/push"
)

func holders(app push.AppID, s push.Shard, members []string, standby int) (ids []string) {
	for _, m := range members {
		if Rank(app, s, m, members) <= standby {
			ids = append(ids, m)
		}
	}
	return ids
}

// Ranks are a permutation, in whatever order the members are named, and somebody who comes or goes changes who holds a
// shard only where it is, or would be, one of the holders.
func TestRankMovesOnlyAShare(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		app := push.AppID(rapid.Uint32Range(1, 9).Draw(t, "app"))
		members := rapid.SliceOfNDistinct(rapid.StringMatching(`[A-Za-z0-9]{22}`), 2, 12, rapid.ID[string]).Draw(t, "members")
		standby := rapid.IntRange(0, 2).Draw(t, "standby")
		gone, rest := members[0], members[1:]
		for s := range push.Shard(50) {
			ranks := map[int]bool{}
			for _, m := range members {
				r := Rank(app, s, m, members)
				if r < 0 || r >= len(members) || ranks[r] {
					t.Fatalf("shard %d: rank %d twice, or not one of %d", s, r, len(members))
				}
				ranks[r] = true
				if other := Rank(app, s, m, reversed(members)); other != r {
					t.Fatalf("shard %d: rank %d, and %d when the members are named in another order", s, r, other)
				}
			}
			before, after := holders(app, s, members, standby), holders(app, s, rest, standby)
			had := slices.Contains(before, gone)
			if !had && !slices.Equal(before, after) {
				t.Fatalf("shard %d: %v held it, and %v after %s, who did not, has gone", s, before, after, gone)
			}
			for _, m := range before {
				if m != gone && !slices.Contains(after, m) {
					t.Fatalf("shard %d: %s lost it because %s has gone", s, m, gone)
				}
			}
		}
	})
}

// Every member has its share of many shards, give or take.
func TestRankSpreadsShards(t *testing.T) {
	t.Parallel()
	const shards = 3000
	for _, n := range []int{2, 3, 7} {
		var members []string
		for i := range n {
			members = append(members, fmt.Sprint("pAvmGZUU475jqf7wMurA", i)) // as ids of one second are
		}
		for _, m := range members {
			first := 0
			for s := range push.Shard(shards) {
				if Rank(7, s, m, members) == 0 {
					first++
				}
			}
			if even := shards / n; first < even*8/10 || first > even*12/10 {
				t.Errorf("%s of %d is first of %d shards of %d", m, n, first, shards)
			}
		}
	}
}

func TestRankIsTheSameInEveryBuild(t *testing.T) {
	t.Parallel()
	var got []int
	members := []string{"a", "b", "c"}
	for s := range push.Shard(12) {
		got = append(got, Rank(1400000001, s, "a", members))
	}
	if want := "[0 2 2 1 2 0 0 2 1 0 1 2]"; fmt.Sprint(got) != want {
		t.Errorf("ranks %v, want %v: processes of two builds would divide the shards in two ways", got, want)
	}
}

func reversed(s []string) []string {
	s = slices.Clone(s)
	slices.Reverse(s)
	return s
}
