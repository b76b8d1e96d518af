package deliver

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"
	"pgregory.net/rapid"
)

// oracle is a shard as a list: of each place its sessions, the newest first.
type oracle map[uint32][]*session

func (o oracle) join(se *session, limit int) (surplus []*session) {
	all := append([]*session{se}, o[se.local]...)
	o[se.local] = all[:min(limit, len(all))]
	return slices.Clone(all[len(o[se.local]):])
}

func (o oracle) leave(se *session) {
	o[se.local] = slices.DeleteFunc(slices.Clone(o[se.local]), func(other *session) bool { return other == se })
}

func (o oracle) audience(users *roaring.Bitmap) (all []*session) {
	for _, local := range users.ToArray() {
		all = append(all, o[local]...)
	}
	return all
}

func TestShardAgainstAnOracle(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s, o := newShard(nil, testApp, 0), oracle{}
		place := rapid.Uint32Range(0, 5)
		limit := rapid.IntRange(1, 3).Draw(t, "limit")
		var all []*session // that ever joined
		dispatched := uint64(0)
		t.Repeat(map[string]func(*rapid.T){
			"join": func(t *rapid.T) {
				se := &session{shard: s, local: place.Draw(t, "place")}
				all = append(all, se)
				last, surplus := s.join(se, limit)
				if last != dispatched {
					t.Fatalf("joined behind audience %d, want %d", last, dispatched)
				}
				if want := o.join(se, limit); !slices.Equal(surplus, want) {
					t.Fatalf("surplus %v, want %v", surplus, want)
				}
			},
			"leave": func(t *rapid.T) { // also again, and when it was surplus
				if len(all) > 0 {
					se := rapid.SampledFrom(all).Draw(t, "session")
					s.leave(se)
					o.leave(se)
				}
			},
			"audience": func(t *rapid.T) {
				users := roaring.BitmapOf(rapid.SliceOf(place).Draw(t, "users")...)
				want := o.audience(users)
				dispatched++
				if got := s.audience(users, dispatched, nil); !slices.Equal(got, want) {
					t.Fatalf("an audience reaches %v, want %v", got, want)
				}
			},
			"": func(t *rapid.T) {
				for local := range uint32(6) {
					if got := s.of(local); !slices.Equal(got, o[local]) {
						t.Fatalf("place %d has %v, want %v", local, got, o[local])
					}
					if s.connected.Contains(local) != (len(o[local]) > 0) {
						t.Fatalf("place %d with %d sessions counts as connected: %v", local, len(o[local]), s.connected.Contains(local))
					}
				}
			},
		})
	})
}

// Whoever joins, leaves and dispatches at once, in the end nobody is left.
func TestShardAtOnce(t *testing.T) {
	t.Parallel()
	d := &Deliver{}
	d.hub = newHub(d)
	s := newShard(d, testApp, 0)
	d.hub.shards[shardKey{testApp, 0}] = s
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range uint32(300) {
				se := &session{shard: s, local: n % 7, login: &login{}}
				_, surplus := s.join(se, 1+i%3)
				for _, o := range surplus {
					o.close(4005)
				}
				if i%2 == 0 {
					s.audience(roaring.BitmapOf(1, 2, 3), uint64(n), nil)
					d.hub.all()
				}
				s.leave(se)
			}
		})
	}
	wg.Wait()
	if len(s.sessions) != 0 || !s.connected.IsEmpty() {
		t.Errorf("left: %v, %v", s.sessions, s.connected)
	}
}

// String makes failures of comparisons readable.
func (s *session) String() string { return fmt.Sprintf("%d@%p", s.local, s) }
