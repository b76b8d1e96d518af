package notify

import (
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"pgregory.net/rapid"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// The fold against two plain logs: a push is due once its grace time is over, for whoever matched and has sent no receipt
// that was read by then, and is due again after a restart from the position as long as it was not cut.
func TestWaitingAgainstLogs(t *testing.T) {
	t.Parallel()
	type message struct {
		receipt bool
		seq     push.Seq
		users   []uint32
		due     time.Time
	}
	rapid.Check(t, func(t *rapid.T) {
		var audiences, receipts []message
		start := time.Unix(1e9, 0)
		now, newest := start, push.Seq(0)
		var w *waiting
		cut := map[push.Seq]bool{}
		read := [2]int{} // how many of each log w has read
		restart := func(at wire.Position) {
			w, read = newWaiting(at), [2]int{int(at.Audiences), int(at.Receipts)}
		}
		restart(wire.Position{})
		some := rapid.SliceOfN(rapid.Uint32Range(0, 9), 1, 5)
		t.Repeat(map[string]func(*rapid.T){
			"a push": func(t *rapid.T) {
				newest++
				// Its receipts may be in their log first, as the two are read one beside the other.
				if rapid.Bool().Draw(t, "acknowledged first") {
					receipts = append(receipts, message{receipt: true, seq: newest, users: some.Draw(t, "who")})
				}
				audiences = append(audiences, message{seq: newest, users: some.Draw(t, "users"), due: now.Add(3 * time.Second)})
			},
			"a receipt": func(t *rapid.T) {
				if newest > 0 {
					seq := push.Seq(rapid.Uint64Range(1, uint64(newest)).Draw(t, "seq"))
					receipts = append(receipts, message{receipt: true, seq: seq, users: some.Draw(t, "who")})
				}
			},
			"read an audience": func(t *rapid.T) {
				if read[0] < len(audiences) {
					m := audiences[read[0]]
					read[0]++
					w.audience(candidate{seq: m.seq, place: uint64(read[0]), due: m.due, users: roaring.BitmapOf(m.users...)})
				}
			},
			"read a receipt": func(t *rapid.T) {
				if read[1] < len(receipts) {
					m := receipts[read[1]]
					read[1]++
					w.receipt(m.seq, uint64(read[1]), roaring.BitmapOf(m.users...), now)
				}
			},
			"time": func(*rapid.T) { now = now.Add(time.Second) },
			"cut": func(t *rapid.T) {
				c, ok, then := w.next(now)
				if !ok {
					if !then.IsZero() && !then.After(now) {
						t.Fatalf("the next is due at %v, and it is %v", then, now)
					}
					return
				}
				if c.due.After(now) {
					t.Fatalf("push %d is cut at %v, before %v", c.seq, now, c.due)
				}
				want := roaring.BitmapOf(audiences[c.place-1].users...)
				for _, m := range receipts[:read[1]] {
					if m.seq == c.seq {
						for _, u := range m.users {
							want.Remove(u)
						}
					}
				}
				if !c.users.Equals(want) {
					t.Fatalf("push %d goes to %v, want %v", c.seq, c.users, want)
				}
				cut[c.seq] = true
				w.cut(c.place)
			},
			"restart": func(*rapid.T) {
				restart(w.position())
			},
			"": func(t *rapid.T) {
				// What is not cut waits, or is still to be read.
				for i, m := range audiences[:read[0]] {
					waits := false
					for _, c := range w.pushes {
						waits = waits || c.seq == m.seq
					}
					if !cut[m.seq] && !waits {
						t.Fatalf("push %d, audience %d, is neither cut nor waits", m.seq, i+1)
					}
				}
			},
		})
	})
}

// A receipt without an audience is not kept for ever.
func TestReceiptsOfCutPushesAreForgotten(t *testing.T) {
	t.Parallel()
	w, now := newWaiting(wire.Position{Audiences: 5, Receipts: 5}), time.Unix(1e9, 0)
	w.receipt(3, 6, users(1), now)
	if at := w.position(); at.Receipts != 5 {
		t.Errorf("the position is %v while a receipt waits for its audience", at)
	}
	w.next(now.Add(earlyWait + time.Second))
	if len(w.early) > 0 || w.position().Receipts != 6 {
		t.Errorf("the receipt still waits, at %v", w.position())
	}
}

// Which channels reach whom, against a plain map.
func TestReachAgainstMap(t *testing.T) {
	t.Parallel()
	names := []string{"apns", "fcm", "webpush"}
	rapid.Check(t, func(t *rapid.T) {
		var r reach
		plain := map[uint32][]wire.Device{}
		for range rapid.IntRange(0, 40).Draw(t, "changes") {
			u := rapid.Uint32Range(0, 7).Draw(t, "user")
			var devices []wire.Device
			for _, n := range rapid.SliceOfN(rapid.SampledFrom(names), 0, 3).Draw(t, "channels") {
				devices = append(devices, wire.Device{Channel: n})
			}
			plain[u] = devices
			r.set(u, devices)
		}
		matched := roaring.BitmapOf(rapid.SliceOf(rapid.Uint32Range(0, 7)).Draw(t, "matched")...)
		for _, name := range names {
			want := roaring.New()
			for u, devices := range plain {
				for _, d := range devices {
					if d.Channel == name && matched.Contains(u) {
						want.Add(u)
					}
				}
			}
			if got := r.of(name, matched); !got.Equals(want) {
				t.Fatalf("%s reaches %v, want %v", name, got, want)
			}
		}
	})
}
