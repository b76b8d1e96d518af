package broker

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// What the broker says of the consumer of a fold that waits for nothing, and gets nothing, is held against where it stands.
func TestFollowerIsHeldAgainstTheBroker(t *testing.T) {
	t.Parallel()
	now := time.Now()
	f := follower{name: "f", stream: "S"}
	f.broke(errors.New("no leader"))
	if why := f.stuck(time.Minute, now.Add(2*time.Minute)); why == "" {
		t.Error("it cannot follow, and is not stuck")
	}
	f.follows("c")
	info := func(pending, delivered uint64) *jetstream.ConsumerInfo {
		return &jetstream.ConsumerInfo{Name: "c", NumPending: pending, Delivered: jetstream.SequenceInfo{Consumer: delivered}}
	}
	at := func(after time.Duration, lag uint64, stuck bool) {
		t.Helper()
		n, _ := f.lag(now.Add(after))
		if why := f.stuck(time.Minute, now.Add(after)); n != lag || (why != "") != stuck {
			t.Errorf("after %v: %d behind, want %d; %q", after, n, lag, why)
		}
	}
	f.note(info(0, 0), now)
	at(time.Hour, 0, false) // idle
	f.note(info(5, 0), now)
	at(30*time.Second, 5, false)
	at(2*time.Minute, 5, true) // nothing comes, although there is something
	f.begin(1, 0)
	f.end(1)
	at(2*time.Minute, 5, false) // it has moved since the broker was asked
	f.note(info(3, 3), now.Add(2*time.Minute))
	at(150*time.Second, 5, false) // 3 there and 2 on their way here
	at(4*time.Minute, 5, true)
	f.note(&jetstream.ConsumerInfo{Name: "another"}, now)
	at(4*time.Minute, 5, true)
	f.follows("c2")
	at(5*time.Minute, 0, false)
}

// Of a worker the tasks that are done count, and the broker is asked by the first only.
func TestWorkerIsHeldAgainstTheBroker(t *testing.T) {
	t.Parallel()
	now := time.Now()
	f := follower{name: "w", stream: "S", first: func() bool { return true }}
	f.follows("d")
	info := func(pending uint64, given int, done uint64) *jetstream.ConsumerInfo {
		return &jetstream.ConsumerInfo{Name: "d", NumPending: pending, NumAckPending: given, AckFloor: jetstream.SequenceInfo{Stream: done}}
	}
	f.note(info(1, 1, 7), now)
	f.note(info(2, 1, 7), now.Add(2*time.Minute))
	if f.stuck(time.Minute, now.Add(2*time.Minute)) == "" {
		t.Error("no task is done, and it is not stuck")
	}
	f.note(info(2, 1, 8), now.Add(3*time.Minute))
	if why := f.stuck(time.Minute, now.Add(3*time.Minute)); why != "" {
		t.Errorf("tasks are done: %s", why)
	}
}
