package matcher

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// about publishes a push that is about an earlier one.
func (h *bench) about(p push.Push) push.Seq {
	h.Helper()
	p.App, p.At = app, time.Now()
	data, err := wire.EncodePush(&p)
	if err != nil {
		h.Fatal(err)
	}
	return h.raw(data)
}

// usersOf waits for a shard's audience of a push.
func (h *bench) usersOf(s push.Shard, seq push.Seq) (users *roaring.Bitmap) {
	h.Helper()
	there := errors.New("it is there")
	err := h.b.Fold(h.Context(), broker.FoldConfig{Stream: wire.AudiencesStream, Filter: wire.AudienceSubject(app, s, seq), Handle: func(m *broker.Message) (err error) {
		if users, err = wire.DecodeBitmap(m.Data, h.b.Sharding().Width()); err != nil {
			return err
		}
		if got, want := m.Header[wire.HeaderCardinality], fmt.Sprint(users.GetCardinality()); got != want {
			h.Errorf("%s: cardinality %s, want %s", m.Subject, got, want)
		}
		return there
	}})
	if !errors.Is(err, there) {
		h.Fatal(err)
	}
	return users
}

// receive publishes receipts of a push by every third user of an audience, of each kind in turn, and gives who has
// acknowledged or opened it.
func (h *bench) receive(s push.Shard, seq push.Seq, audience *roaring.Bitmap) *roaring.Bitmap {
	h.Helper()
	had := roaring.New()
	for i, local := range audience.ToArray() {
		one := roaring.BitmapOf(local)
		r := [...]wire.Receipt{{Received: one}, {Opened: one}, {Sent: one}, {}, {}, {}, {}, {}, {}}[i%9]
		if i%9 < 2 {
			had.Add(local)
		}
		data, err := wire.EncodeReceipt(r)
		if err != nil {
			h.Fatal(err)
		}
		if _, err := h.b.Write(wire.ReceiptsStream, broker.Message{Subject: wire.ReceiptSubject(app, s, seq), Data: data}); err != nil {
			h.Fatal(err)
		}
	}
	return had
}

// today is who of a shard has a record that is not deleted.
func (h *bench) today(s push.Shard) *roaring.Bitmap {
	users := roaring.New()
	for o, versions := range h.versions {
		if h.b.Sharding().Shard(o) == s && !versions[len(versions)-1].Deleted {
			users.Add(h.b.Sharding().Local(o))
		}
	}
	return users
}

// A replay is for whom the push was for, without those who have acknowledged or opened it and those who are gone; its
// condition chooses nobody. A replay of a replay goes on from there.
func TestReplays(t *testing.T) {
	t.Parallel()
	h := newBench(t, 0, 1)
	h.change(0, 200)
	h.change(1, 200)
	_, stop := h.run(h.b)
	first := h.push(predicate.Not{Kid: predicate.Tag{Name: "t1"}})
	h.audiences()
	of := [2]*roaring.Bitmap{h.usersOf(0, first), h.usersOf(1, first)}
	if of[0].GetCardinality() < 30 {
		t.Fatalf("%d users are too few to tell", of[0].GetCardinality())
	}
	for again := range 3 {
		seq := first
		for s := range push.Shard(2) {
			of[s].AndNot(h.receive(s, seq, of[s]))
		}
		h.change(0, 60)
		h.change(1, 60) // comes before the replay, and takes some away; who comes back is new to nobody
		if again == 1 {
			stop()
			h.run(h.b)
		}
		next := h.about(push.Push{Again: seq, Lifetime: time.Hour, Condition: "none", Body: []byte("[]")})
		for s := range push.Shard(2) {
			of[s].And(h.today(s))
			if got := h.usersOf(s, next); !got.Equals(of[s]) {
				t.Errorf("replay %d, shard %d: %v, want %v", again, s, got, of[s])
			}
		}
		first = next
	}
	if got := h.usersOf(0, h.about(push.Push{Revokes: first})); !got.Equals(of[0]) {
		t.Errorf("the revocation of a replay is for %v, want %v", got, of[0])
	}
	// A push whose audience nobody has is nobody's again.
	if got := h.usersOf(1, h.about(push.Push{Again: h.about(push.Push{Condition: "(and"})})); !got.IsEmpty() {
		t.Errorf("a replay of nothing is for %v", got)
	}
}

// Receipts and audiences that cannot be read do not stop a shard.
func TestReplaysOfWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	h := newBench(t, 0)
	h.change(0, 100)
	h.run(h.b)
	first := h.push(predicate.All{})
	users := h.usersOf(0, first)
	if _, err := h.b.Write(wire.ReceiptsStream, broker.Message{Subject: wire.ReceiptSubject(app, 0, first), Data: []byte{99}}); err != nil {
		t.Fatal(err)
	}
	users.AndNot(h.receive(0, first, users))
	if got := h.usersOf(0, h.about(push.Push{Again: first})); !got.Equals(users) {
		t.Errorf("%v, want %v", got, users)
	}
	lost := h.raw([]byte{99})
	if _, _, err := h.b.Publish(t.Context(), broker.Message{Subject: wire.AudienceSubject(app, 0, lost), Data: []byte{99}}); err != nil {
		t.Fatal(err)
	}
	if got := h.usersOf(0, h.about(push.Push{Again: lost})); !got.IsEmpty() {
		t.Errorf("a replay of what cannot be read is for %v", got)
	}
}

// A matcher that dies at any step of a replay leaves it to the next, and receipts that come between change nothing of an
// audience that stands.
func TestReplayCrashAtEveryStep(t *testing.T) {
	t.Parallel()
	const steps = 4 // before and after publishing, before and after it is done
	for n := range steps {
		t.Run(fmt.Sprint("step ", n), func(t *testing.T) {
			t.Parallel()
			h := newBench(t, 0)
			h.change(0, 100)
			_, stop := h.run(h.b)
			first := h.push(predicate.All{})
			users := h.usersOf(0, first)
			stop()
			had := h.receive(0, first, users)
			again := h.about(push.Push{Again: first})
			died, step := make(chan struct{}), 0
			begin := "before publish " + wire.AudienceSubject(app, 0, again)
			var mu sync.Mutex
			_, stop = h.run(h.b.Faulty(func(operation string) error {
				mu.Lock()
				defer mu.Unlock()
				if step == 0 && operation != begin { // the first matcher may have ended before the first push was done
					return nil
				}
				if step++; step <= n {
					return nil
				}
				if step == n+1 {
					close(died)
				}
				return brokertest.ErrCrash
			}))
			<-died
			stop()
			before := roaring.AndNot(users, had)
			late := roaring.BitmapOf(before.Maximum())
			data, err := wire.EncodeReceipt(wire.Receipt{Received: late})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := h.b.Write(wire.ReceiptsStream, broker.Message{Subject: wire.ReceiptSubject(app, 0, first), Data: data}); err != nil {
				t.Fatal(err)
			}
			_, stop = h.run(h.b)
			h.run(h.b)
			after := roaring.AndNot(before, late)
			if got := h.usersOf(0, again); n == 0 && !got.Equals(after) || n > 0 && !got.Equals(before) {
				t.Errorf("%v, want %v, or %v without the receipt that came late", got, before, after)
			}
			h.usersOf(0, h.push(predicate.All{})) // is matched when those before it are done, and no sooner
			if last, err := h.b.LastSeq(t.Context(), wire.AudiencesStream); err != nil || last != 3 {
				t.Errorf("%d audiences were published of three pushes, %v", last, err)
			}
			stop()
		})
	}
}
