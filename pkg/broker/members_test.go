package broker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// awaitMembers waits until a member's view has n members.
func awaitMembers(t *testing.T, m *broker.Member, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		ids, changed := m.Members()
		if len(ids) == n && slices.Contains(ids, m.ID()) {
			return
		}
		select { // another view wakes it, ctx ends it
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("members %v, want %d", ids, n)
		}
	}
}

func running(t *testing.T, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("it ended with %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func TestMembersComeAndGo(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	a, c, other := broker.NewMember(b, "role"), broker.NewMember(b, "role"), broker.NewMember(b, "another")
	running(t, a.Run)
	running(t, other.Run)
	awaitMembers(t, a, 1)
	stop := running(t, c.Run)
	awaitMembers(t, a, 2)
	awaitMembers(t, c, 2)
	if x, _ := a.Rank(7, 3); x < 0 || x > 1 {
		t.Errorf("rank %d of two", x)
	} else if y, _ := c.Rank(7, 3); x+y != 1 {
		t.Errorf("ranks %d and %d of two", x, y)
	}
	stop()
	awaitMembers(t, a, 1)
	awaitMembers(t, other, 1)
}

// divided is the holders of shards by what they say of it, as the test's workers tell.
type divided struct {
	mu    sync.Mutex
	held  map[push.Shard][]string
	more  chan struct{}
	moved int // how often work on a shard was begun
}

func (d *divided) note(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
	close(d.more)
	d.more = make(chan struct{})
}

const dividedShards = 12

func (d *divided) runner(b *broker.Broker, name string, standby int, gate <-chan struct{}) *broker.ShardRunner {
	cfg := broker.ShardConfig{Role: "role", Apps: []push.AppID{7}, Standby: standby}
	return broker.NewShardRunner(b, cfg, func(ctx context.Context, h *broker.Hold) error {
		d.note(func() { d.moved++ })
		select { // the test wakes it, ctx ends it
		case <-gate:
		case <-ctx.Done():
			return ctx.Err()
		}
		h.Ready()
		d.note(func() { d.held[h.Shard] = append(d.held[h.Shard], name) })
		<-ctx.Done()
		d.note(func() {
			d.held[h.Shard] = slices.DeleteFunc(d.held[h.Shard], func(n string) bool { return n == name })
		})
		return ctx.Err()
	})
}

// await waits until every shard is held by n, and gives how many each holds.
func (d *divided) await(t *testing.T, n int) map[string]int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		d.mu.Lock()
		whole, shares, more := len(d.held) == dividedShards, map[string]int{}, d.more
		for _, who := range d.held {
			whole = whole && len(who) == n
			for _, w := range who {
				shares[w]++
			}
		}
		state := fmt.Sprint(d.held)
		d.mu.Unlock()
		if whole {
			return shares
		}
		select { // a change wakes it, ctx ends it
		case <-more:
		case <-ctx.Done():
			t.Fatalf("held by %s, want %d each", state, n)
		}
	}
}

// Shards are divided among those that are there. One that joins takes its share and no more, those that had it let go only
// when it does the work; one that leaves gives its share back.
func TestShardsAreDivided(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, func(c *broker.Config) { c.Sharding = 4 })
	for s := range push.Shard(dividedShards) {
		if err := b.EnsureShard(t.Context(), 7, s); err != nil {
			t.Fatal(err)
		}
	}
	d := &divided{held: map[push.Shard][]string{}, more: make(chan struct{})}
	open := make(chan struct{})
	close(open)
	a := d.runner(b, "a", 0, open)
	running(t, a.Run)
	if n := d.await(t, 1)["a"]; n != dividedShards {
		t.Fatalf("one that is alone holds %d shards", n)
	}
	gate := make(chan struct{})
	c := d.runner(b, "c", 0, gate)
	stop := running(t, c.Run)
	awaitMembers(t, a.Member(), 2)
	awaitMembers(t, c.Member(), 2)
	share := 0
	for s := range push.Shard(dividedShards) {
		if r, _ := c.Member().Rank(7, s); r == 0 {
			share++
		}
	}
	if n := d.await(t, 1)["a"]; n != dividedShards {
		t.Errorf("it let go of %d shards before another did the work", dividedShards-n)
	}
	if err := c.Ready(); share > 0 && err == nil {
		t.Error("ready before its share was")
	}
	close(gate)
	for more := d.change(); d.await(t, 1)["c"] != share; more = d.change() {
		<-more
	}
	if err := c.Ready(); err != nil {
		t.Error(err)
	}
	d.mu.Lock()
	if want := dividedShards + share; d.moved != want {
		t.Errorf("work was begun %d times, want %d: once each, and the share again", d.moved, want)
	}
	d.mu.Unlock()
	stop()
	for more := d.change(); d.await(t, 1)["a"] != dividedShards; more = d.change() {
		<-more
	}
	awaitMembers(t, a.Member(), 1)
}

func (d *divided) change() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.more
}

// With a standby each, two hold everything, and when one leaves the other begins nothing anew.
func TestStandbysHoldTheSame(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, func(c *broker.Config) { c.Sharding = 4 })
	for s := range push.Shard(dividedShards) {
		if err := b.EnsureShard(t.Context(), 7, s); err != nil {
			t.Fatal(err)
		}
	}
	d := &divided{held: map[push.Shard][]string{}, more: make(chan struct{})}
	open := make(chan struct{})
	close(open)
	running(t, d.runner(b, "a", 1, open).Run)
	stop := running(t, d.runner(b, "c", 1, open).Run)
	d.await(t, 2)
	stop()
	d.await(t, 1)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.moved != 2*dividedShards {
		t.Errorf("work was begun %d times, want twice each", d.moved)
	}
}

// A member that died counts until it is missed, beside itself where it has come back. Who stands by behind both holds on.
func TestStandbysOutlastTheDead(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, func(c *broker.Config) { c.Sharding, c.Listen = 4, "127.0.0.1:0" })
	for s := range push.Shard(dividedShards) {
		if err := b.EnsureShard(t.Context(), 7, s); err != nil {
			t.Fatal(err)
		}
	}
	d := &divided{held: map[push.Shard][]string{}, more: make(chan struct{})}
	open := make(chan struct{})
	close(open)
	a, c := d.runner(b, "a", 1, open), d.runner(b, "c", 1, open)
	running(t, a.Run)
	running(t, c.Run)
	d.await(t, 2)
	awaitMembers(t, a.Member(), 2)
	awaitMembers(t, c.Member(), 2)
	nc, _ := client(t, b.ListenURL())
	if err := nc.Publish(wire.MemberSubject("role"), wire.EncodeJSON(wire.MemberNews{ID: "dead"})); err != nil {
		t.Fatal(err)
	}
	awaitMembers(t, a.Member(), 3)
	awaitMembers(t, c.Member(), 3)
	awaitMembers(t, a.Member(), 2)
	awaitMembers(t, c.Member(), 2)
	d.await(t, 2)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.moved != 2*dividedShards {
		t.Errorf("work was begun %d times, want twice each", d.moved)
	}
}

// Tasks go to the first in rank, and to the next when the ranks are others, each once.
func TestTasksFollowTheRank(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	if err := b.EnsureShard(t.Context(), 7, 0); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	ranks, changed := map[string]int{"a": 0, "b": 1}, make(chan struct{})
	done := make(chan string, 100)
	begin := func(name string) {
		running(t, func(ctx context.Context) error {
			return b.Work(ctx, broker.WorkConfig{
				Stream: wire.UsersStream(7, 0), Durable: wire.MatcherConsumer, Filter: wire.PushFilter(7),
				Rank: func() (int, <-chan struct{}) {
					mu.Lock()
					defer mu.Unlock()
					return ranks[name], changed
				},
				Handle: func(_ context.Context, m *broker.Message) error {
					done <- name + string(m.Data)
					return nil
				},
			})
		})
	}
	begin("a")
	begin("b")
	n := 0
	one := func() string {
		n++
		if _, _, err := b.Publish(t.Context(), broker.Message{Subject: wire.PushSubject(7, fmt.Sprint(n)), Data: fmt.Append(nil, n)}); err != nil {
			t.Fatal(err)
		}
		who := <-done
		if who[1:] != fmt.Sprint(n) {
			t.Fatalf("task %s was done, want %d", who[1:], n)
		}
		return who[:1]
	}
	for range 4 {
		for range 5 { // whoever asks first has it, until the broker knows of both
			one()
		}
		mu.Lock()
		ranks["a"], ranks["b"] = ranks["b"], ranks["a"]
		close(changed)
		changed = make(chan struct{})
		first := "a"
		if ranks["b"] == 0 {
			first = "b"
		}
		mu.Unlock()
		for tries := 0; one() != first; tries++ {
			if tries == 50 {
				t.Fatalf("%s is first and gets no task", first)
			}
		}
	}
	select {
	case again := <-done:
		t.Errorf("task %s was done again", again)
	default:
	}
}
