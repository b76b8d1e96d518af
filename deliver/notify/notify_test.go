package notify

import (
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/deliver/channel"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// Whoever matched, has a device and has not acknowledged is notified once, over each of their channels, whichever of two
// workers has the shard and the task; nobody else is.
func TestWhoIsNotified(t *testing.T) {
	t.Parallel()
	h := newBench(t, 0, 2)
	a, f := newVendor(), newVendor()
	channels := map[string]Sender{"apns": a, "fcm": f}
	matched := span(1, 2500)
	h.phone(0, "apns", span(100, 2300).ToArray()...)
	h.phone(0, "fcm", 200, 201, 3000)
	h.phone(2, "fcm", 5, 6)
	h.run(h.b, channels)
	h.run(h.b, channels)

	seq := h.push()
	h.receipt(0, seq, span(2000, 2300))
	h.audience(0, seq, 0, matched)
	h.audience(2, seq, 0, users(5))
	want := map[string]int{}
	for u := uint32(100); u < 2000; u++ {
		want[token(0, u)] = 1
	}
	of := h.settled(seq, "apns", 0, 2)
	if got := a.got(seq); !maps.Equal(got, want) {
		t.Errorf("%d were notified by apns, want %d", len(got), len(want))
	}
	for u := uint32(100); u < 2000; u++ {
		if of[u] != "sent" {
			t.Errorf("user %d: %q", u, of[u])
		}
	}
	h.settled(seq, "fcm", 0, 1)
	h.settled(seq, "fcm", 2, 1)
	if got, want := f.got(seq), map[string]int{token(0, 200): 1, token(0, 201): 1, token(2, 5): 1}; !maps.Equal(got, want) {
		t.Errorf("fcm notified %v, want %v", got, want)
	}
	h.empty()
}

// What vendors answer: one that is gone is forgotten, one that is refused is not asked again, one that is to be tried later
// comes again, with nobody else.
func TestResults(t *testing.T) {
	t.Parallel()
	h := newBench(t, 0)
	v := newVendor()
	v.answer = func(_ push.Seq, who string, times int) channel.Result {
		switch {
		case who == token(0, 1):
			return channel.Result{Outcome: channel.Gone, Reason: "Unregistered"}
		case who == token(0, 2):
			return channel.Result{Outcome: channel.Refused, Reason: "PayloadTooLarge"}
		case who == token(0, 3) && times < 3:
			return channel.Result{Outcome: channel.Later, After: time.Millisecond}
		case who == token(0, 4) && times < 2:
			return channel.Result{Outcome: channel.Denied, After: time.Millisecond}
		}
		return channel.Result{Outcome: channel.Sent}
	}
	h.phone(0, "apns", 1, 2, 3, 4, 5)
	h.run(h.b, map[string]Sender{"apns": v})
	seq := h.push()
	h.audience(0, seq, 0, span(1, 10))
	got := h.settled(seq, "apns", 0, 1)
	want := map[uint32]string{1: "gone Unregistered", 2: "refused PayloadTooLarge", 3: "sent", 4: "sent", 5: "sent"}
	if !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got, want := v.got(seq), map[string]int{token(0, 1): 1, token(0, 2): 1, token(0, 3): 3, token(0, 4): 2, token(0, 5): 1}; !maps.Equal(got, want) {
		t.Errorf("they were tried %v times, want %v", got, want)
	}
	lists, err := h.dir.Devices(t.Context(), app, 1, 2)
	if err != nil || len(lists[1]) != 0 || len(lists[2]) != 1 {
		t.Errorf("devices after: %v, %v; only that of user 2 is to be left", lists, err)
	}
}

// A worker that is told to stop while a vendor has its task writes down who was notified: nobody is a second time.
func TestStoppingNotifiesNobodyTwice(t *testing.T) {
	t.Parallel()
	h := newBench(t, 0)
	v := newVendor()
	asked, stopped := make(chan struct{}), make(chan struct{})
	v.answer = func(_ push.Seq, _ string, times int) channel.Result {
		if times == 1 {
			close(asked)
			<-stopped
		}
		return channel.Result{Outcome: channel.Sent}
	}
	h.phone(0, "apns", 1)
	stop := h.run(h.b, map[string]Sender{"apns": v})
	seq := h.push()
	h.audience(0, seq, 0, users(1))
	<-asked
	ended := make(chan struct{})
	go func() { stop(); close(ended) }()
	h.leaving()
	close(stopped)
	<-ended
	h.run(h.b, map[string]Sender{"apns": v})
	h.settled(seq, "apns", 0, 1)
	h.empty()
	if got := v.got(seq)[token(0, 1)]; got != 1 {
		t.Errorf("notified %d times", got)
	}
}

// A vendor that calls everybody gone is not believed: credentials of another app would empty the directory.
func TestAllGoneForgetsNobody(t *testing.T) {
	t.Parallel()
	h := newBench(t, 0)
	v := newVendor()
	v.answer = func(push.Seq, string, int) channel.Result { return channel.Result{Outcome: channel.Gone} }
	h.phone(0, "huawei", span(1, 1+massGone).ToArray()...)
	h.run(h.b, map[string]Sender{"huawei": v})
	seq := h.push()
	h.audience(0, seq, 0, span(1, 100))
	h.settled(seq, "huawei", 0, 1)
	lists, err := h.dir.Devices(t.Context(), app, 1, massGone)
	if err != nil || len(lists) != 2 {
		t.Errorf("%d of 2 users have their devices, %v", len(lists), err)
	}
}

// A push that is for phones no more by the time that a task is done goes to none.
func TestTooLate(t *testing.T) {
	t.Parallel()
	h := newBench(t, 0)
	revoked, over, silent := h.push(), h.push(func(p *push.Push) { p.At = time.Now().Add(-2 * time.Hour) }), h.push(func(p *push.Push) { p.Lifetime = 0 })
	h.push(func(p *push.Push) { p.Revokes = revoked })
	h.phone(0, "apns", 1, 2)
	for _, seq := range []push.Seq{revoked, over, silent} {
		h.audience(0, seq, 0, users(1, 2))
	}
	v := newVendor()
	h.run(h.b, map[string]Sender{"apns": v})
	if got := h.settled(revoked, "apns", 0, 1); got[1] != wire.ResultRevoked || got[2] != wire.ResultRevoked {
		t.Errorf("of a revoked push: %v", got)
	}
	if got := h.settled(over, "apns", 0, 1); got[1] != wire.ResultExpired || got[2] != wire.ResultExpired {
		t.Errorf("of one whose lifetime has ended: %v", got)
	}
	last := h.push()
	h.audience(0, last, 0, users(1))
	h.settled(last, "apns", 0, 1)
	if len(v.got(revoked))+len(v.got(over))+len(v.got(silent)) > 0 {
		t.Errorf("phones were notified: %v", v.sent)
	}
}

// A task that has waited asks who has acknowledged meanwhile.
func TestWhoAcknowledgedMeanwhileIsLeftOut(t *testing.T) {
	t.Parallel()
	h := newBench(t, 0)
	v := newVendor()
	v.answer = func(_ push.Seq, _ string, times int) channel.Result {
		if times == 1 {
			return channel.Result{Outcome: channel.Later, After: taskFresh + 100*time.Millisecond}
		}
		return channel.Result{Outcome: channel.Sent}
	}
	h.phone(0, "apns", 1, 2)
	h.run(h.b, map[string]Sender{"apns": v})
	seq := h.push()
	h.audience(0, seq, 0, users(1, 2))
	<-v.news
	data, err := wire.EncodePending(wire.Pending{Expire: time.Now().Add(time.Hour).Unix(), Users: users(2)})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.b.Publish(t.Context(), broker.Message{Subject: wire.PendingSubject(app, 0, seq), Data: data}); err != nil {
		t.Fatal(err)
	}
	got := h.settled(seq, "apns", 0, 1)
	if got[1] != wire.ResultReceived || got[2] != "sent" {
		t.Errorf("%v", got)
	}
}

// A revocation takes back what was sent, by the vendor's names for it.
func TestRevocation(t *testing.T) {
	t.Parallel()
	h := newBench(t, 0)
	v, mute := newVendor(), newVendor()
	v.revokes = true
	v.answer = func(_ push.Seq, who string, _ int) channel.Result {
		if who == token(0, 3) {
			return channel.Result{Outcome: channel.Refused, Reason: "no"}
		}
		return channel.Result{Outcome: channel.Sent, ID: "id of " + who}
	}
	h.phone(0, "huawei", 1, 2, 3)
	h.phone(0, "apns", 1)
	h.run(h.b, map[string]Sender{"huawei": v, "apns": mute})
	seq := h.push()
	h.audience(0, seq, 0, span(1, 5))
	h.settled(seq, "huawei", 0, 1)
	h.settled(seq, "apns", 0, 1)
	revocation := h.push(func(p *push.Push) { p.Revokes = seq })
	h.audience(0, revocation, seq, span(1, 5))
	h.settled(revocation, "huawei", 0, 1)
	want := map[string]string{token(0, 1): "id of " + token(0, 1), token(0, 2): "id of " + token(0, 2)}
	if !maps.Equal(v.revoked, want) || len(mute.revoked) > 0 {
		t.Errorf("revoked are %v and %v, want %v and none", v.revoked, mute.revoked, want)
	}
}

// A worker that dies at any step leaves what the next one goes on from: everybody is notified, and twice at most those of
// the task that it had.
func TestCrashAtEveryStep(t *testing.T) {
	t.Parallel()
	h := newBench(t, 0)
	h.phone(0, "apns", span(1, 1501).ToArray()...)
	for n, came := 0, false; !came; n++ {
		v := newVendor()
		died := make(chan struct{})
		var mu sync.Mutex
		step := 0
		view := h.b.Faulty(func(string) error {
			mu.Lock()
			defer mu.Unlock()
			if step++; step <= n {
				return nil
			}
			if step == n+1 {
				close(died)
			}
			return brokertest.ErrCrash
		})
		stop := h.run(view, map[string]Sender{"apns": v}, func(c *Config) { c.Concurrency = 1 })
		seq := h.push()
		place := h.audience(0, seq, 0, span(0, 2000))
		finished := make(chan struct{})
		go func() {
			defer close(finished)
			h.settled(seq, "apns", 0, 2)
		}()
		select {
		case <-died:
		case <-finished:
			came = true
		}
		stop()
		stop = h.run(h.b, map[string]Sender{"apns": v})
		<-finished
		h.cut(0, place) // or the next one would begin with this push
		h.empty()
		stop()
		got, twice := v.got(seq), 0
		for u := uint32(1); u <= 1500; u++ {
			switch got[token(0, u)] {
			case 1:
			case 2:
				twice++
			default:
				t.Fatalf("dead at step %d: user %d was notified %d times", n, u, got[token(0, u)])
			}
		}
		if len(got) != 1500 || twice > wire.NotifySize {
			t.Fatalf("dead at step %d: %d were notified, %d of them twice", n, len(got), twice)
		}
	}
}

// Devices that nobody has heard of for long are forgotten, and no others.
func TestIdleDevicesAreForgotten(t *testing.T) {
	t.Parallel()
	h := newBench(t, 0)
	now := time.Now().Unix()
	for u, seen := range map[push.Ordinal]int64{1: now - 100, 2: now, 3: now - 50} {
		err := h.dir.RegisterDevice(t.Context(), app, u, wire.Device{ID: "phone", Channel: "apns", Token: fmt.Sprint(u), Seen: seen})
		if err != nil {
			t.Fatal(err)
		}
	}
	h.run(h.b, map[string]Sender{"apns": newVendor()}, func(c *Config) { c.Idle = 75 * time.Second })
	for {
		lists, err := h.dir.Devices(t.Context(), app, 1, 2, 3)
		if err != nil {
			t.Fatal(err)
		}
		if len(lists[2]) == 0 || len(lists[3]) == 0 {
			t.Fatalf("a device that is in use is forgotten: %v", lists)
		}
		if len(lists[1]) == 0 {
			return
		}
	}
}

func TestPart(t *testing.T) {
	t.Parallel()
	all, seen := span(3, 2503), roaring.New()
	all.AddRange(1<<17, 1<<17+7)
	for task := range 4 {
		p := part(all, task)
		if task < 2 && p.GetCardinality() != wire.NotifySize || p.Intersects(seen) {
			t.Errorf("task %d has %d users", task, p.GetCardinality())
		}
		seen.Or(p)
	}
	if !seen.Equals(all) {
		t.Errorf("the tasks together have %d users, want %d", seen.GetCardinality(), all.GetCardinality())
	}
}
