package matcher

import (
	"fmt"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// Records change and pushes come in any order, before the matcher starts and while it works, and every audience is right.
func TestAudiencesAgainstTheOracle(t *testing.T) {
	t.Parallel()
	h := newBench(t, 0, 1, 5)
	happen := func(steps int) {
		for range steps {
			h.change(h.shards[h.rand.IntN(3)], 1+h.rand.IntN(150)) // more than go into the index at once
			if h.rand.IntN(2) == 0 {
				h.push(h.node(3))
			}
		}
	}
	happen(12)
	m, _ := h.run(h.b)
	h.push(predicate.All{})
	h.audiences()
	happen(16)
	h.push(predicate.Not{Kid: predicate.None{}})
	h.audiences()
	if err := m.Ready(); err != nil {
		t.Errorf("it matches, and says %v", err)
	}
}

// Two matchers share the work, and one goes: nothing is missed, nothing comes twice.
func TestTwoMatchers(t *testing.T) {
	t.Parallel()
	h := newBench(t, 0, 1)
	_, stop := h.run(h.b)
	h.run(h.b)
	for range 6 {
		h.change(h.shards[h.rand.IntN(2)], 20)
		h.push(h.node(2))
	}
	h.audiences()
	for range 3 {
		h.push(h.node(2))
	}
	stop()
	for range 3 {
		h.change(h.shards[h.rand.IntN(2)], 20)
		h.push(h.node(2))
	}
	h.audiences()
}

// A matcher that dies before or after publishing an audience, or before or after it says that a push is done, leaves the
// push to the next one, which neither misses nor repeats it.
func TestCrashAtEveryStep(t *testing.T) {
	t.Parallel()
	const steps = 8 // of two pushes
	for n := range steps {
		t.Run(fmt.Sprint("step ", n), func(t *testing.T) {
			t.Parallel()
			h := newBench(t, 0)
			h.change(0, 100)
			h.push(h.node(2))
			h.push(h.node(2))
			died, step := make(chan struct{}), 0
			var mu sync.Mutex
			_, stop := h.run(h.b.Faulty(func(string) error {
				mu.Lock()
				defer mu.Unlock()
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
			h.change(0, 100)
			h.run(h.b)
			h.push(predicate.All{}) // is matched when those before it are done, and no sooner
			h.audiences()
			if last, err := h.b.LastSeq(t.Context(), wire.AudiencesStream); err != nil || last != 3 {
				t.Errorf("%d audiences were published of three pushes, %v", last, err)
			}
		})
	}
}

// A push that cannot be read is nobody's, a record that cannot be read changes nothing, and both hold nothing up.
func TestCorruptMessagesStopNothing(t *testing.T) {
	t.Parallel()
	h := newBench(t, 0)
	h.change(0, 50)
	m, _ := h.run(h.b)
	h.raw([]byte{99})
	h.push(h.node(1))
	for _, condition := range []string{"", "(and", `(tag "t1") x`} {
		p := &push.Push{App: app, At: time.Now(), Condition: condition}
		data, err := wire.EncodePush(p)
		if err != nil {
			t.Fatal(err)
		}
		h.raw(data)
	}
	h.push(predicate.All{})
	h.audiences() // so that the records that can be read have been
	for o := range h.versions {
		if _, err := h.b.Write(wire.UsersStream(app, 0), broker.Message{Subject: wire.UserSubject(app, 0, o), Data: []byte{99}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.b.Write(wire.UsersStream(app, 0), broker.Message{Subject: "user.7.0.x"}); err != nil {
		t.Fatal(err)
	}
	h.push(predicate.All{})
	h.audiences()
	var c dto.Metric
	if err := m.metrics.evaluations.WithLabelValues(resultCorrupt).Write(&c); err != nil || c.Counter.GetValue() != 4 {
		t.Errorf("%v pushes counted as corrupt, %v: want 4", c.Counter.GetValue(), err)
	}
}

func TestShardThatAppearsLater(t *testing.T) {
	t.Parallel()
	h := newBench(t)
	m, _ := h.run(h.b)
	h.shard(3)
	h.change(3, 40)
	h.push(predicate.All{})
	h.audiences()
	h.shard(1)
	h.change(1, 40)
	h.push(predicate.All{})
	h.audiences()
	if err := m.Ready(); err != nil {
		t.Error(err)
	}
}
