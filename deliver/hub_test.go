package deliver

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"
	"pgregory.net/rapid"

	"github.com/carillon-push/carillon/pkg/push"
)

// oracle is a shard as a list: of each place its sessions, the newest first.
type oracle map[uint32][]*session

func (o oracle) join(se *session, devices map[*session]string, limit int) (surplus []*session) {
	all := append([]*session{se}, o[se.local]...)
	for i := 1; i < len(all) && len(all) > limit && devices[se] != ""; i++ {
		if devices[all[i]] == devices[se] {
			surplus = append(surplus, all[i])
			all = slices.Delete(all, i, i+1)
			i--
		}
	}
	o[se.local] = all[:min(limit, len(all))]
	return append(surplus, all[len(o[se.local]):]...)
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
		devices := map[*session]string{}
		t.Repeat(map[string]func(*rapid.T){
			"join": func(t *rapid.T) {
				se := &session{shard: s, local: place.Draw(t, "place")}
				all = append(all, se)
				device := rapid.SampledFrom([]string{"", "phone", "tablet"}).Draw(t, "device")
				if device != "" {
					devices[se] = device
				}
				last, surplus := s.join(se, device, limit)
				if last != dispatched {
					t.Fatalf("joined behind audience %d, want %d", last, dispatched)
				}
				if want := o.join(se, devices, limit); !slices.Equal(surplus, want) {
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
				if got := reached(s.audiences(batchOf(dispatched, users), nil), 1); !slices.Equal(got, want) {
					t.Fatalf("an audience reaches %v, want %v", got, want)
				}
			},
			"batch": func(t *rapid.T) {
				var batch []live
				var want [maxBatch][]*session
				for i := range rapid.IntRange(2, 5).Draw(t, "audiences") {
					users := roaring.BitmapOf(rapid.SliceOf(place).Draw(t, "users")...)
					dispatched++
					batch = append(batch, batchOf(dispatched, users)...)
					want[i] = o.audience(users)
				}
				targets := s.audiences(batch, nil)
				for i := range batch {
					if got := reached(targets, 1<<i); !slices.Equal(got, want[i]) {
						t.Fatalf("audience %d of a batch reaches %v, want %v", i, got, want[i])
					}
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

// batchOf is one audience, of the push with its place's number.
func batchOf(place uint64, users *roaring.Bitmap) []live {
	return []live{{place: place, seq: push.Seq(place), push: knownOf(push.Seq(place)), users: users}}
}

// reached are the sessions that a push of a batch reaches.
func reached(targets []target, mask uint64) (all []*session) {
	for _, t := range targets {
		if t.mask&mask != 0 {
			all = append(all, t.se)
		}
	}
	return all
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
				se := &session{shard: s, local: n % 7}
				_, surplus := s.join(se, "", 1+i%3)
				for _, o := range surplus {
					o.close(4005)
				}
				if i%2 == 0 {
					s.audiences(batchOf(uint64(n), roaring.BitmapOf(1, 2, 3)), nil)
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
