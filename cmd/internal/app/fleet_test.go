package app_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/cmd/internal/app"
	"github.com/carillon-push/carillon/cmd/internal/app/apptest"
	"github.com/carillon-push/carillon/cmd/internal/config"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// The fleet of this test: 100 shards of 16 users each. A NATS server as it comes allows a stream 1,000 consumers, of which each
// shard that an offline worker begins with takes several.
const (
	fleetShards = 100
	fleetUsers  = 16*fleetShards - 1 // ordinals begin with 1
	fleetTags   = 7                  // user i has the tag of i modulo this
)

// wires are what connects one process with the broker, so that they can be cut.
type wires struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
	wg    sync.WaitGroup
}

// newWires leads to a NATS server, and gives the URL that goes through them.
func newWires(t *testing.T, to string) (w *wires, through string) {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w = &wires{Listener: l}
	w.wg.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", u.Host)
			if err != nil {
				_ = near.Close()
				return
			}
			w.mu.Lock()
			w.conns = append(w.conns, near, far)
			w.mu.Unlock()
			w.wg.Go(func() { _, _ = io.Copy(far, near); _ = far.Close() })
			w.wg.Go(func() { _, _ = io.Copy(near, far); _ = near.Close() })
		}
	})
	t.Cleanup(w.cut)
	return w, "nats://" + l.Addr().String()
}

// cut is what the broker sees of a process that is killed.
func (w *wires) cut() {
	_ = w.Close()
	w.mu.Lock()
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.mu.Unlock()
	w.wg.Wait()
}

// ledger is what the broker's log of audiences holds, by push.
type ledger struct {
	t    *testing.T
	mu   sync.Mutex
	has  map[push.Seq]map[push.Shard]*roaring.Bitmap
	last map[push.Shard]uint64      // place of each shard's newest audience
	done map[push.Seq]chan struct{} // closed when every shard has its audience
}

func (l *ledger) whole(seq push.Seq) chan struct{} {
	if l.done[seq] == nil {
		l.done[seq], l.has[seq] = make(chan struct{}), map[push.Shard]*roaring.Bitmap{}
	}
	return l.done[seq]
}

func (l *ledger) fold(m *broker.Message) error {
	place, err := wire.ParsePushPlace(m.Subject)
	if err != nil {
		return err
	}
	users, err := wire.DecodeBitmap(m.Data, 16)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	whole := l.whole(place.Seq)
	if l.has[place.Seq][place.Shard] != nil {
		l.t.Errorf("%s stands there twice", m.Subject)
	}
	l.has[place.Seq][place.Shard], l.last[place.Shard] = users, m.Seq
	if len(l.has[place.Seq]) == fleetShards {
		close(whole)
	}
	return nil
}

// await waits until every shard has the push's audience.
func (l *ledger) await(ctx context.Context, seq push.Seq) error {
	l.mu.Lock()
	whole := l.whole(seq)
	l.mu.Unlock()
	select { // the last audience wakes it, ctx ends it
	case <-whole:
		return nil
	case <-ctx.Done():
		l.mu.Lock()
		defer l.mu.Unlock()
		return fmt.Errorf("push %d has its audience on %d of %d shards: %w", seq, len(l.has[seq]), fleetShards, ctx.Err())
	}
}

// missing is which shards are without the audience of a push that others have.
func (l *ledger) missing() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var missing []string
	for seq, has := range l.has {
		for s := range push.Shard(fleetShards) {
			if has[s] == nil {
				missing = append(missing, fmt.Sprintf("push %d on shard %d", seq, s))
			}
		}
	}
	return fmt.Sprint(missing)
}

// Matchers and offline workers join, leave and are killed while pushes go on. Every user is in the audiences and the inbox
// of those pushes that were for them and of no others, each once; and who comes or goes moves its share of the shards alone.
func TestShardsFollowTheFleet(t *testing.T) {
	t.Parallel()
	base := apptest.Config(t)
	narrow(base)
	nats := apptest.StartNATS(t)
	begin := func(at string, roles ...app.Role) *apptest.System {
		cfg := *base
		cfg.NATS = config.NATS{URL: at, Replicas: 1}
		return apptest.StartRoles(t, &cfg, roles...)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 6*apptest.Wait)
	defer cancel()
	front := begin(nats, app.Ingest, app.Deliver)
	number := enrol(t, front)

	m0, o0 := begin(nats, app.Matcher), begin(nats, app.Offline)
	cut, through := newWires(t, nats)
	m1, o1 := begin(through, app.Matcher), begin(through, app.Offline)

	l := &ledger{t: t, has: map[push.Seq]map[push.Shard]*roaring.Bitmap{}, last: map[push.Shard]uint64{}, done: map[push.Seq]chan struct{}{}}
	pushes := map[push.Seq]int{} // the tag of each, or -1: all
	var g errgroup.Group
	folding, folded := context.WithCancel(ctx)
	defer folded()
	g.Go(func() error {
		err := front.Broker().Fold(folding, broker.FoldConfig{Stream: wire.AudiencesStream, Handle: l.fold})
		if errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	})
	var whole atomic.Int64 // pushes that have all their audiences
	var slowest atomic.Int64
	enough := make(chan struct{})
	g.Go(func() error {
		for n := 0; ; n++ {
			tag, condition := n%(fleetTags+1)-1, map[string]any(nil)
			if tag >= 0 {
				condition = map[string]any{"TagsOr": []string{fmt.Sprint("t", tag)}}
			}
			start := time.Now()
			id, err := front.REST.Push(ctx, apptest.Text(fmt.Sprint("m", n), 3600, condition))
			if err != nil {
				t.Errorf("push %d: %v", n, err)
				return err
			}
			_, seq, err := id.Parse()
			if err != nil {
				return err
			}
			pushes[seq] = tag
			if err := l.await(ctx, seq); err != nil {
				return err
			}
			slowest.Store(max(slowest.Load(), int64(time.Since(start))))
			whole.Add(1)
			select { // never waits
			case <-enough:
				return nil
			default:
			}
		}
	})
	// further waits until so many more pushes have all their audiences.
	further := func(n int64) {
		t.Helper()
		want := whole.Load() + n
		eventually(t, func() bool { return whole.Load() >= want || t.Failed() }, func() string {
			return fmt.Sprintf("pushes have stopped: %d of %d; %s", whole.Load(), want, l.missing())
		})
	}
	settled := func(role string, systems ...*apptest.System) {
		t.Helper()
		var got []float64
		eventually(t, func() bool {
			first, standby, leaving := 0., 0., 0.
			got = got[:0]
			for _, s := range systems {
				a, b, c := held(t, s, role, "first"), held(t, s, role, "standby"), held(t, s, role, "leaving")
				first, standby, leaving = first+a, standby+b, leaving+c
				got = append(got, a, b, c)
			}
			return first == fleetShards && standby == fleetShards*float64(min(1, len(systems)-1)) && leaving == 0
		}, func() string { return fmt.Sprintf("%ss hold %v (first, standby, leaving)", role, got) })
	}

	settled("matcher", m0, m1)
	settled("offline", o0, o1)
	further(3)
	slowest.Store(0)
	m2, o2 := begin(nats, app.Matcher), begin(nats, app.Offline)
	settled("matcher", m0, m1, m2)
	settled("offline", o0, o1, o2)
	further(3)
	shares := []float64{}
	for _, m := range []*apptest.System{m0, m1, m2} {
		shares = append(shares, held(t, m, "matcher", "first")+held(t, m, "matcher", "standby"))
	}
	t.Logf("after one has joined, matchers hold %v of %d shards; slowest push %v", shares, fleetShards, time.Duration(slowest.Swap(0)))
	joined := begun(t, m2) // its share, and more only if it looked too early and believed for a moment to be alone
	if b0, b1 := begun(t, m0), begun(t, m1); b0 != fleetShards || b1 != fleetShards || joined < shares[2] {
		t.Errorf("matchers began work on %v, %v and %v shards, want %d, %d and %v: who joins moves its share alone", b0, b1, joined, fleetShards, fleetShards, shares[2])
	}

	m0.Stop()
	o0.Stop()
	settled("matcher", m1, m2)
	settled("offline", o1, o2)
	further(3)
	t.Logf("while one left in an orderly way, the slowest push took %v", time.Duration(slowest.Swap(0)))
	if b1, b2 := begun(t, m1), begun(t, m2); b1 != 2*fleetShards-shares[1] || b2 != joined+fleetShards-shares[2] {
		t.Errorf("matchers began work on %v and %v shards, want %v and %v: who leaves moves its share alone", b1, b2, 2*fleetShards-shares[1], joined+fleetShards-shares[2])
	}

	killed := time.Now()
	cut.cut()
	var stopping sync.WaitGroup
	stopping.Go(m1.Stop)
	stopping.Go(o1.Stop)
	further(1)
	t.Logf("the push during a kill took %v; the next was matched everywhere %v after it", time.Duration(slowest.Swap(0)), time.Since(killed))
	settled("matcher", m2)
	settled("offline", o2)
	further(3)
	t.Logf("the one that is left is first of all %v after it", time.Since(killed))
	close(enough)
	stopping.Wait()
	eventually(t, func() bool { return whole.Load() == int64(len(l.has)) || t.Failed() }, func() string { return "a push is without audiences" })
	folded()
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	audit(t, front, l, pushes, number)
	t.Logf("%d pushes to %d users on %d shards: %d pairs", len(pushes), fleetUsers, fleetShards, len(pushes)*fleetUsers)
}

func held(t *testing.T, s *apptest.System, role, place string) float64 {
	return measured(t, s, fmt.Sprintf("carillon_%s_shards_held{place=%q}", role, place))
}

// begun is how often a matcher has begun to work on a shard.
func begun(t *testing.T, s *apptest.System) (n float64) {
	for _, result := range []string{"loaded", "absent", "stale", "corrupt", "version", "failed"} {
		n += measured(t, s, fmt.Sprintf("carillon_matcher_snapshots_total{result=%q}", result))
	}
	return n
}

// enrol registers the users with their tags, and gives the number of each by ordinal.
func enrol(t *testing.T, front *apptest.System) map[push.Ordinal]int {
	t.Helper()
	var g errgroup.Group
	g.SetLimit(3)
	for from := 0; from < fleetUsers; from += 100 {
		g.Go(func() error {
			var names, tags []any
			for i := from; i < min(from+100, fleetUsers); i++ {
				names = append(names, strconv.Itoa(i))
				tags = append(tags, map[string]any{"To_Account": strconv.Itoa(i), "Tags": []string{fmt.Sprint("t", i%fleetTags)}})
			}
			var err error
			for range 5 { // a broker that makes a hundred logs at a time may say: try again
				if err = errors.Join(
					front.REST.Call(t.Context(), "im_open_login_svc/multiaccount_import", map[string]any{"Accounts": names}, nil),
					front.REST.Call(t.Context(), "all_member_push/im_add_tag", map[string]any{"UserTags": tags}, nil)); err == nil {
					break
				}
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	number := map[push.Ordinal]int{}
	err := front.Broker().Fold(t.Context(), broker.FoldConfig{
		Stream: wire.AccountsStream(apptest.AppID), StopWhenRead: true,
		Handle: func(m *broker.Message) error {
			name, err := wire.ParseAccountSubject(m.Subject)
			if err == nil {
				number[push.Ordinal(m.Seq)], err = strconv.Atoi(name)
			}
			return err
		},
	})
	if err != nil || len(number) != fleetUsers {
		t.Fatalf("%d accounts, want %d: %v", len(number), fleetUsers, err)
	}
	return number
}

// audit compares every audience, and every user's inbox, with whom the pushes were for.
func audit(t *testing.T, front *apptest.System, l *ledger, pushes map[push.Seq]int, number map[push.Ordinal]int) {
	t.Helper()
	b := front.Broker()
	var g errgroup.Group
	g.SetLimit(8)
	for ordinal, n := range number {
		shard, local := b.Sharding().Shard(ordinal), b.Sharding().Local(ordinal)
		var want []push.Seq
		for seq, tag := range pushes {
			due := tag < 0 || tag == n%fleetTags
			if due {
				want = append(want, seq)
			}
			if l.has[seq][shard].Contains(local) != due {
				t.Errorf("user %d in the audience of push %d: %v", n, seq, !due)
			}
		}
		slices.Sort(want)
		g.Go(func() error {
			for {
				raw, err := b.Request(t.Context(), wire.InboxSubject(apptest.AppID, shard), wire.EncodeInboxRequest(wire.InboxRequest{Locals: []uint32{local}, Audiences: l.last[shard]}))
				if errors.Is(err, broker.ErrUnavailable) && t.Context().Err() == nil {
					continue
				}
				if err != nil {
					return err
				}
				got, err := wire.DecodeInboxes(raw)
				if len(got) != 1 || !slices.Equal(got[0], want) {
					return fmt.Errorf("user %d has %v in the inbox, want %v; %w", n, got, want, err)
				}
				return err
			}
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}
