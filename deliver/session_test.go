package deliver

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/gobwas/ws"
	"pgregory.net/rapid"

	"github.com/carillon-push/carillon/deliver/socket"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// sockets makes adopted connections without a gateway around them.
type sockets struct {
	poller *socket.Poller
	l      net.Listener
}

func newSockets(t testing.TB) *sockets {
	t.Helper()
	p, err := socket.New(socket.Default())
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, l.Close()); err != nil {
			t.Error(err)
		}
	})
	return &sockets{p, l}
}

// pair gives a session's connection and the client's end of it.
func (s *sockets) pair(owner socket.Owner) (*socket.Conn, net.Conn, error) {
	far, err := net.Dial("tcp4", s.l.Addr().String())
	if err != nil {
		return nil, nil, err
	}
	near, err := s.l.Accept()
	if err != nil {
		return nil, nil, errors.Join(err, far.Close())
	}
	conn, err := s.poller.Adopt(near, nil, socket.WebSocket, owner)
	return conn, far, errors.Join(err, far.SetDeadline(time.Now().Add(wait)))
}

// frameOf is a frame whose one byte names the push.
func frameOf(seq push.Seq) *socket.Frame {
	return socket.NewFrame("push", uint64(seq), []byte{byte(seq)})
}

// knownOf is a push to online users with that frame.
func knownOf(seq push.Seq) *known { return &known{app: testApp, seq: seq, frame: frameOf(seq)} }

// noHello is for tests that want nothing before the pushes: a frame of no bytes.
func noHello(int) *socket.Frame { return new(socket.Frame) }

// dispatchNow sends audiences to a shard's sessions, as a dispatcher does.
func dispatchNow(s *shard, batch ...live) error {
	for _, t := range s.audiences(batch, nil) {
		if err := t.se.deliverNow(batch, t.mask); err != nil && !errors.Is(err, errHeld) {
			return err
		}
	}
	return nil
}

// deliverNow is deliver to one session alone.
func (s *session) deliverNow(batch []live, mask uint64) (err error) {
	var w socket.Writer // without io_uring
	x := dispatcher{batch: batch}
	s.deliver(&w, batch, mask, x.framesOf(mask), &err)
	w.Flush()
	return err
}

// drained reads the pushes that a client has got, up to the close frame that the test sends behind them.
func drained(far io.Reader) (got []push.Seq, code ws.StatusCode, err error) {
	for {
		f, err := readFrame(far)
		if err != nil {
			return nil, 0, err
		}
		if f.Header.OpCode == ws.OpClose {
			code, _ := ws.ParseCloseFrameData(f.Payload)
			return got, code, nil
		}
		got = append(got, push.Seq(f.Payload[0]))
	}
}

func testDeliver() *Deliver {
	d := &Deliver{}
	d.apps.Store(&map[push.AppID]App{})
	d.hub = newHub(d)
	return d
}

// A log of pushes, of which some revoke others, is cut by three moments of a login: it joins, the offline worker answers,
// it goes live. Wherever they fall, and however the live ones are batched, the client gets each push once, in the order of
// their sequences: what was kept for it of those before it joined, and all that came after. A push whose revocation came
// before the client was live is not sent any more.
func TestHandOver(t *testing.T) {
	t.Parallel()
	net := newSockets(t)
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 8).Draw(t, "pushes")
		kept := rapid.SliceOfN(rapid.Bool(), n, n).Draw(t, "kept")
		acked := rapid.SliceOfN(rapid.Bool(), n, n).Draw(t, "acknowledged elsewhere")
		joins := rapid.IntRange(0, n).Draw(t, "dispatched before it joins")
		folded := rapid.IntRange(joins, n).Draw(t, "folded when the inbox is asked")
		lives := rapid.IntRange(joins, n).Draw(t, "dispatched before it goes live")
		log := make([]*known, n)
		for i := range log {
			log[i] = knownOf(push.Seq(i + 1))
			if i > 0 && rapid.IntRange(0, 3).Draw(t, "revokes") == 0 {
				log[i].revokes = push.Seq(rapid.IntRange(1, i).Draw(t, "what"))
			}
		}

		s := newShard(testDeliver(), testApp, 0)
		se := &session{shard: s, local: 7}
		conn, far, err := net.pair(se)
		if err != nil {
			t.Fatal(err)
		}
		defer far.Close()
		dispatch := func(from, to int) {
			for from < to {
				size := rapid.IntRange(1, to-from).Draw(t, "batch")
				var batch []live
				for _, p := range log[from : from+size] {
					batch = append(batch, live{place: uint64(p.seq), seq: p.seq, push: p, users: roaring.BitmapOf(7)})
				}
				if err := dispatchNow(s, batch...); err != nil {
					t.Fatal(err)
				}
				from += size
			}
		}
		dispatch(0, joins)
		if last, _ := s.join(se, "", 1); last != uint64(joins) {
			t.Fatalf("joined behind %d, want %d", last, joins)
		}
		var inbox []*known
		for i, p := range log[:folded] {
			if kept[i] && !acked[i] {
				inbox = append(inbox, p)
			}
		}
		dispatch(joins, lives)
		var want []push.Seq
		for i, p := range log {
			revoked := slices.ContainsFunc(log[joins:lives], func(r *known) bool { return r.revokes == p.seq })
			if i >= joins && (i >= lives || !revoked) || i < joins && slices.Contains(inbox, p) && !revoked {
				want = append(want, p.seq)
			}
		}
		sent, fromInbox, err := se.goLive(conn, noHello, inbox)
		if err != nil {
			t.Fatal(err)
		}
		dispatch(lives, n)
		for i, p := range sent {
			if p.seq != want[i] || (i < fromInbox) != (p.seq <= push.Seq(joins)) {
				t.Fatalf("going live sent %v, of which %d from the inbox; want %v", sent, fromInbox, want)
			}
		}
		if err := conn.Start(); err != nil {
			t.Fatal(err)
		}
		se.close(wire.CloseNormal)
		if got, _, err := drained(far); err != nil || !slices.Equal(got, want) {
			t.Fatalf("got %v, %v; want %v", got, err, want)
		}
	})
}

// The same with everything at once: one dispatcher, and sessions that join and go live while it works.
func TestHandOverAtOnce(t *testing.T) {
	t.Parallel()
	const sessions, pushes = 60, 120
	net, s := newSockets(t), newShard(testDeliver(), testApp, 0)
	var log struct { // what an offline worker has folded
		sync.Mutex
		at push.Seq
	}
	all := roaring.New()
	all.AddRange(0, sessions)
	joined := make(chan struct{}, sessions)
	dispatched := make(chan struct{})
	go func() {
		defer close(dispatched)
		for seq := push.Seq(1); seq <= pushes; seq++ {
			log.Lock()
			log.at = seq // ahead of the dispatcher
			log.Unlock()
			if err := dispatchNow(s, batchOf(uint64(seq), all.Clone())...); err != nil {
				t.Error(err)
			}
			if seq%2 == 0 {
				select { // sessions join all along, or have all joined
				case <-joined:
				case <-time.After(wait):
				}
			}
		}
	}()
	var wg sync.WaitGroup
	for i := range sessions {
		wg.Go(func() {
			se := &session{shard: s, local: uint32(i)}
			conn, far, err := net.pair(se)
			if err != nil {
				t.Error(err)
				return
			}
			defer far.Close()
			s.join(se, "", 1)
			log.Lock()
			folded := log.at
			log.Unlock()
			var inbox []*known
			for seq := push.Seq(1); seq <= folded; seq++ {
				inbox = append(inbox, knownOf(seq))
			}
			joined <- struct{}{}
			if _, _, err := se.goLive(conn, noHello, inbox); err != nil {
				t.Error(err)
			}
			if err := conn.Start(); err != nil {
				t.Error(err)
			}
			<-dispatched
			se.close(wire.CloseNormal)
			got, _, err := drained(far)
			if len(got) != pushes || err != nil {
				t.Errorf("session %d got %d pushes, %v", i, len(got), err)
			}
			for j, seq := range got {
				if seq != push.Seq(j+1) {
					t.Errorf("session %d: push %d came as number %d", i, seq, j+1)
					break
				}
			}
		})
	}
	wg.Wait()
}

// What waits for a login is bounded; the session ends with 4003 when there is a client to tell.
func TestHoldingIsBounded(t *testing.T) {
	t.Parallel()
	d := testDeliver()
	d.taken.Add(1)
	s := newShard(d, testApp, 0)
	se := &session{shard: s}
	s.join(se, "", 1)
	one := batchOf(1, roaring.BitmapOf(0))
	for i := range maxHeld {
		if err := se.deliverNow(one, 1); !errors.Is(err, errHeld) {
			t.Fatalf("push %d: %v", i, err)
		}
	}
	if err := se.deliverNow(one, 1); !errors.Is(err, socket.ErrTooSlow) {
		t.Errorf("one more than may be held: %v", err)
	}
	if err := se.deliverNow(one, 1); !errors.Is(err, socket.ErrClosed) {
		t.Errorf("behind the end: %v", err)
	}
	if se.login.held != nil {
		t.Error("what was held is kept")
	}
	conn, far, err := newSockets(t).pair(se)
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	if _, _, err := se.goLive(conn, noHello, nil); !errors.Is(err, socket.ErrClosed) {
		t.Errorf("going live: %v", err)
	}
	if err := conn.Start(); err != nil {
		t.Error(err)
	}
	if got, code, err := drained(far); len(got) != 0 || code != ws.StatusCode(wire.CloseTooSlow) || err != nil {
		t.Errorf("the client got %v and %d, %v", got, code, err)
	}
}
